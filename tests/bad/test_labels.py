"""Annotations: Darknet's text, VOC, COCO, lists with boxes, and classes by folder."""

import json
import shutil
from dataclasses import replace

import pytest

from bad.catalogue import Accepted, Refused, check
from darkconv.dataset.reading import CHANGES

pytest.importorskip("PIL.Image")

CAT = (
    "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>12</ymax>"
    "</bndbox></object>"
)
HEAD = "<annotation><size><width>30</width><height>20</height></size>"
BOMB = "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 20))


def told(*lines, source):
    """What stderr holds of some problems."""
    count = f"{len(lines)} problem{'s' if len(lines) > 1 else ''} in pictures and labels"
    return "".join(f"warning: {line}\n" for line in (*lines, f"{source}: {count}"))


def changed(kind, first, *, source, count=1):
    """What stderr holds of boxes that were changed or left out."""
    return f"warning: {source}: {CHANGES[kind]}: {count}, the first is {first}\n"


def darknet(name, text, *problems, **changes):
    """A label file of which some lines are skipped, or changed."""
    data = text if isinstance(text, bytes) else text.encode()
    lines = [changed(kind, first, source="net.data") for kind, first in changes.items()]
    return Accepted(
        f"Darknet: {name}",
        "anchors --data net.data -n 1",
        "".join(lines) + (told(*problems, source="net.data") if problems else ""),
        lambda folder: (folder / "pics/0.txt").write_bytes(data),
        stdout="boxes",
    )


def write_voc(folder, text, *, alone=False):
    """A folder of VOC with one good annotation, unless alone, and one of this text."""
    for name in ("Annotations", "JPEGImages"):
        (folder / "voc" / name).mkdir(parents=True)
    for number in (0, 1):
        shutil.copy(folder / f"pics/{number}.png", folder / "voc/JPEGImages")
    if not alone:
        (folder / "voc/Annotations/0.xml").write_text(f"{HEAD}{CAT}</annotation>")
    data = text if isinstance(text, bytes) else text.encode()
    (folder / "voc/Annotations/1.xml").write_bytes(data)


def voc(name, text, *problems, **changes):
    """An annotation that is skipped, or some objects of it."""
    lines = [f"voc/Annotations/1.xml{problem}" for problem in problems]
    changed_lines = [
        changed(kind, f"voc/Annotations/1.xml{first}", source="voc")
        for kind, first in changes.items()
    ]
    return Accepted(
        f"VOC: {name}",
        "anchors --data voc -n 1",
        "".join(changed_lines) + (told(*lines, source="voc") if lines else ""),
        lambda folder: write_voc(folder, text),
        stdout="boxes",
    )


def voc_refused(name, text, problem):
    """The same annotation where there is no other one."""
    return Refused(
        f"VOC: {name}",
        "anchors --data voc/Annotations/1.xml -n 1",
        f"voc/Annotations/1.xml: no picture can be used\n  hint: voc/Annotations/1.xml{problem}",
        lambda folder: write_voc(folder, text, alone=True),
    )


def thing(name="cat", box=(1, 2, 9, 12)):
    keys = ("xmin", "ymin", "xmax", "ymax")
    numbers = "".join(f"<{key}>{value}</{key}>" for key, value in zip(keys, box, strict=True))
    return f"<object><name>{name}</name><bndbox>{numbers}</bndbox></object>"


PICTURE = {"id": 1, "file_name": "0.png", "width": 30, "height": 20}
CLASS = {"id": 1, "name": "cat"}
BOX = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 5, 6]}


def coco_text(**parts):
    whole = {"images": [PICTURE], "categories": [CLASS], "annotations": [BOX], **parts}
    return json.dumps(whole)


def coco_refused(name, text, error):
    data = text if isinstance(text, bytes) else text.encode()
    return Refused(
        f"COCO: {name}",
        "anchors --data pics/c.json -n 1",
        f"pics/c.json: {error}",
        lambda folder: (folder / "pics/c.json").write_bytes(data),
    )


def coco(name, text, *problems, **changes):
    lines = [f"pics/c.json: {one}" for one in problems]
    changed_lines = [
        changed(kind, f"pics/c.json: {first}", source="pics/c.json")
        for kind, first in changes.items()
    ]
    return Accepted(
        f"COCO: {name}",
        "anchors --data pics/c.json -n 1",
        "".join(changed_lines) + (told(*lines, source="pics/c.json") if lines else ""),
        lambda folder: (folder / "pics/c.json").write_text(text),
        stdout="boxes",
    )


def added(**parts):
    """A good annotation and a bad one."""
    return coco_text(annotations=[BOX, {**BOX, **parts}])


def listed(name, text, *problems):
    """A list with boxes in it."""
    return Accepted(
        f"list: {name}",
        "anchors --data boxes.txt -n 1",
        told(*(f"boxes.txt:{one}" for one in problems), source="boxes.txt"),
        lambda folder: (folder / "boxes.txt").write_text(text),
        stdout="boxes",
    )


GOOD = "0 0.5 0.5 0.2 0.4\n"
SIX = "expected a class and four numbers, found"

DARKNET = [
    darknet("a box beside the picture", f"{GOOD}1 1.5 0.5 0.2 0.2\n",
            beyond="pics/0.txt:2: expected a box inside 30x20, found dog 42,8,48,12"),
    darknet("a box that leaves the picture", "0 0.9 0.5 0.6 0.2\n",
            outside="pics/0.txt:1: expected a box inside 30x20, found cat 18,8,36,12"),
    darknet("pixels in place of shares", "0 15 10 6 8\n",
            beyond="pics/0.txt:1: expected a box inside 30x20, found cat 360,120,540,280"),
    darknet("a polygon", f"{GOOD}1 0.1 0.2 0.5 0.2 0.5 0.8\n", polygons="pics/0.txt:2"),
    darknet("a negative width", f"{GOOD}1 0.5 0.5 -0.2 0.2\n",
            "pics/0.txt:2: expected a width and a height above 0, found -0.2 0.2"),
    darknet("no area", f"1 0.5 0.5 0 0.2\n{GOOD}",
            "pics/0.txt:1: expected a width and a height above 0, found 0 0.2"),
    darknet("a class out of range", f"{GOOD}3 0.5 0.5 0.2 0.4\n",
            "pics/0.txt:2: expected a class from 0 to 2, found 3"),
    darknet("a negative class", "-1 0.5 0.5 0.2 0.4\n",
            "pics/0.txt:1: expected a class from 0 to 2, found -1"),
    darknet("a fraction of a class", "1.5 0.5 0.5 0.2 0.4\n",
            "pics/0.txt:1: expected a class from 0 to 2, found 1.5"),
    darknet("a huge class", f"{'9' * 23} 0.5 0.5 0.2 0.4\n",
            "pics/0.txt:1: expected a class from 0 to 2, found 1e+23"),
    darknet("NaN and infinity", "0 nan 0.5 0.2 0.4\n0 0.5 0.5 inf 0.1\n",
            "pics/0.txt:1: expected finite numbers, found 0 nan 0.5 0.2 0.4",
            "pics/0.txt:2: expected finite numbers, found 0 0.5 0.5 inf 0.1"),
    darknet("huge sides", "0 0.5 0.5 1e308 1e308\n",
            outside="pics/0.txt:1: expected a box inside 30x20, found cat -inf,-inf,inf,inf"),
    darknet("too few and too many columns", "0 0.5 0.5 0.2\n0 0.5 0.5 0.2 0.3 0.9\n",
            f"pics/0.txt:1: {SIX} 0 0.5 0.5 0.2", f"pics/0.txt:2: {SIX} 0 0.5 0.5 0.2 0.3 0.9"),
    darknet("a name in place of an index", "cat 0.5 0.5 0.2 0.3\n",
            f"pics/0.txt:1: {SIX} cat 0.5 0.5 0.2 0.3"),
    darknet("decimal commas", "0 0,5 0,5 0,2 0,3\n", f"pics/0.txt:1: {SIX} 0 0,5 0,5 0,2 0,3"),
    darknet("no labels", ""),
    darknet("line ends of Windows and blank lines at the end", "0 0.5 0.5 0.2 0.4\r\n\r\n\r\n"),
    darknet("a blank line between", f"{GOOD}\n{GOOD}", f"pics/0.txt:2: {SIX} an empty line"),
    darknet("UTF-16", "0 0.5".encode("utf-16-le"),
            rf"pics/0.txt:1: {SIX} 0\x00 \x000\x00.\x005\x00"),
    darknet("bytes of no text", b"\x89\xff\x00\x01",
            rf"pics/0.txt:1: {SIX} \x89\xff\x00\x01"),
    Accepted("Darknet: more than ten bad lines", "anchors --data net.data -n 1",
             "".join(f"warning: pics/0.txt:{n}: {SIX} x\n" for n in range(1, 11))
             + "warning: net.data: 12 problems in pictures and labels, the first 10 are shown\n",
             lambda folder: (folder / "pics/0.txt").write_text("x\n" * 12)),
]  # fmt: skip

ENTITY = ": is refused: annotations with <!DOCTYPE may do harm"
EXTERNAL = "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
VOC = [
    voc("cut", "<annotation><object>",
        ": is not well-formed XML: no element found: line 1, column 20"),
    voc("empty", "", ": is not well-formed XML: no element found: line 1, column 0"),
    voc("another document", "<html/>", ": expected <annotation>, found <html>"),
    voc("an entity of a file", f"{EXTERNAL}{HEAD}&x;</annotation>", ENTITY),
    voc("an external document type",
        "<!DOCTYPE annotation SYSTEM 'http://localhost/a.dtd'><annotation/>", ENTITY),
    voc("a bomb of entities",
        f"<!DOCTYPE a [<!ENTITY l0 'ha'>{BOMB}]><annotation>&l19;</annotation>", ENTITY),
    voc("entities in UTF-16", f"{EXTERNAL}<annotation/>".encode("utf-16"), ENTITY),
    voc("an encoding that nobody knows", f"<?xml version='1.0' encoding='klingon'?>{HEAD}",
        ": expected a known encoding, found klingon"),
    voc("an unknown entity", f"{HEAD}&x;</annotation>",
        ": is not well-formed XML: undefined entity: line 1, column 61"),
    voc("deep nesting", "<annotation>" * 100_000,
        ": is not well-formed XML: no element found: line 1, column 1200000"),
    voc("bytes of no text", b"\xff\xfe\x00\x01",
        ": is not well-formed XML: syntax error: line 1, column 0"),
    voc("a reversed box", f"{HEAD}{thing(box=(9, 2, 1, 12))}</annotation>",
        ":1: cat: expected a box of some width and height, found 9,2,1,12"),
    voc("a box beside the picture", f"{HEAD}\n{thing(box=(40, 2, 50, 12))}</annotation>",
        beyond=":2: expected a box inside 30x20, found cat 40,2,50,12"),
    voc("NaN", f"{HEAD}{thing(box=(1, 'nan', 9, 12))}</annotation>",
        ":1: cat: expected finite numbers, found 1,nan,9,12"),
    voc("no box", f"{HEAD}<object><name>cat</name></object></annotation>",
        ":1: cat: expected xmin, ymin, xmax and ymax, found nothing,nothing,nothing,nothing"),
    voc("no name", f"{HEAD}{thing(name='')}</annotation>",
        ":1: expected a class name, found nothing"),
    voc("a size that is no number",
        f"<annotation><size><width>wide</width></size>{CAT}</annotation>"),
    voc_refused("nothing but an entity of a file", f"{EXTERNAL}<annotation/>", ENTITY),
    voc_refused("nothing but broken XML", "<annotation",
                ": is not well-formed XML: unclosed token: line 1, column 0"),
]  # fmt: skip

FORM = "expected a COCO file: images, annotations, categories, found"
COCO = [
    coco_refused("cut", "{", "is not well-formed JSON: Expecting property name enclosed in double "
                 "quotes: line 1 column 2 (char 1)"),
    coco_refused("empty", "", "is not well-formed JSON: Expecting value: line 1 column 1 (char 0)"),
    coco_refused("bytes of no text", b"\xff\x00",
                 "is not well-formed JSON: Expecting value: line 1 column 1 (char 0)"),
    coco_refused("a list", "[]", f"{FORM} list"),
    coco_refused("a number", "1", f"{FORM} int"),
    coco_refused("other keys", '{"a": 1, "b": 2}', f"{FORM} ['a', 'b']"),
    coco_refused("images of another type", coco_text(images=5),
                 "images: expected a list, found int"),
    coco_refused("annotations of another type", coco_text(annotations={}),
                 "annotations: expected a list, found dict"),
    coco_refused("lists in lists", "[" * 100_000, "is JSON that is nested too deeply"),
    coco_refused("objects in objects", '{"a":' * 100_000, "is JSON that is nested too deeply"),
    coco_refused("a number of 5000 digits", coco_text().replace("30", "9" * 5000),
                 "is JSON with a number of too many digits"),
    coco_refused("no entry that is one", coco_text(images=[3], annotations=[]),
                 "no picture can be used\n"
                 "  hint: pics/c.json: images[0]: expected an object, found 3"),
    coco("a picture that is not there",
         coco_text(images=[PICTURE, {"id": 2, "file_name": "none.png"}]),
         "no such picture: none.png"),
    coco("the same picture's id twice", coco_text(images=[PICTURE, PICTURE]),
         "images[1]: expected an id of its own, found 1"),
    coco("the same class's id twice", coco_text(categories=[CLASS, CLASS]),
         "categories[1]: expected an id of its own, found 1"),
    coco("a picture without a name", coco_text(images=[PICTURE, {"id": 2}]),
         "images[1]: expected a file_name, found None"),
    coco("a picture without an id", coco_text(images=[PICTURE, {"file_name": "1.png"}]),
         "images[1]: expected id as a number or a text, found None"),
    coco("an unknown picture", added(image_id=2),
         "annotations[1]: expected an image_id of images, found 2"),
    coco("an unknown class", added(category_id=9),
         "annotations[1]: expected a category_id of categories, found 9"),
    coco("three numbers", added(bbox=[1, 2, 3]),
         "annotations[1]: expected a bbox of four numbers, found [1, 2, 3]"),
    coco("no numbers", added(bbox="abcd"),
         "annotations[1]: expected a bbox of four numbers, found abcd"),
    coco("a negative width", added(bbox=[9, 2, -5, 6]),
         "annotations[1]: expected a box of some width and height, found [9, 2, -5, 6]"),
    coco("NaN", added(bbox=[float("nan"), 2, 5, 6]),
         "annotations[1]: expected finite numbers, found [nan, 2, 5, 6]"),
    coco("a number beyond all floats", added(bbox=[1, 2, 10**400, 6]),
         f"annotations[1]: expected a bbox of four numbers, found [1, 2, 1{'0' * 49}..."),
    coco("a box beside the picture", added(bbox=[100, 100, 5, 5]),
         beyond="annotations[1]: expected a box inside 30x20, found cat 100,100,105,105"),
]  # fmt: skip

FORM_OF_BOX = "expected xmin,ymin,xmax,ymax,label, found"
LISTS = [
    listed("a box of four numbers", "pics/0.png 1,2,9,12,cat 1,2,9,12\n",
           f"1: {FORM_OF_BOX} 1,2,9,12"),
    listed("a reversed box", "pics/0.png 9,2,1,12,cat 1,2,9,12,cat\n",
           "1: expected a box of some width and height, found 9,2,1,12"),
    listed("NaN", "pics/0.png 1,2,9,12,cat\npics/1.png nan,2,9,12,cat\n",
           "2: expected finite numbers, found nan,2,9,12"),
    listed("a picture that is not there", "pics/0.png 1,2,9,12,cat\nnone.png 1,2,9,12,cat\n",
           "2: no such picture: none.png"),
]  # fmt: skip


@pytest.mark.parametrize("case", [*DARKNET, *VOC, *COCO, *LISTS], ids=str)
def test_case(case, folder):
    check(case, folder)


def test_no_entity_is_resolved(folder):
    """Neither a file nor an address of an entity reaches the result."""
    (folder / "secret").write_text("fox")
    entity = f"<!DOCTYPE a [<!ENTITY x SYSTEM 'file://{folder}/secret'>]>"
    case = voc("", f"{entity}{HEAD}{thing(name='&x;')}</annotation>", ENTITY)
    check(replace(case, stdout="over 1 boxes"), folder)


# paths that lead out of the data set

LIMIT = "which needs --outside (in Python outside=True)"


def write_set(folder, kind, name):
    """A data set in `sets/one` that names a picture, and a picture that no data set holds."""
    from PIL import Image

    Image.new("RGB", (30, 20)).save(folder / "secret.png")
    root = folder / "sets/one"
    root.mkdir(parents=True)
    shutil.copy(folder / "pics/0.png", root / "a.png")
    if kind == "coco":
        second = {"id": 2, "file_name": name}
        text = coco_text(images=[{**PICTURE, "file_name": "a.png"}, second])
        (root / "set.json").write_text(text)
    elif kind == "list":
        (root / "set.txt").write_text(f"a.png 1,2,9,12,cat\n{name} 1,2,9,12,cat\n")
    else:
        for place in ("Annotations", "JPEGImages"):
            (root / place).mkdir()
        (root / "a.png").rename(root / "JPEGImages/a.png")
        (root / "Annotations/a.xml").write_text(f"{HEAD}{CAT}</annotation>")
        (root / "Annotations/b.xml").write_text(
            f"<annotation><filename>{name}</filename></annotation>"
        )


SOURCES = {
    "coco": ("sets/one/set.json", "sets/one/set.json", "sets"),
    "list": ("sets/one/set.txt", "sets/one/set.txt:2", "sets"),
    "voc": ("sets/one", "sets/one/Annotations/b.xml", "sets/one"),
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("spelling", ["relative", "absolute", "link"])
@pytest.mark.parametrize("command", ["anchors -n 1 --data", "profile net.cfg net.weights -o p.npz"])
def test_paths_lead_outside_only_if_the_user_says_so(folder, kind, spelling, command):
    source, where, limit = SOURCES[kind]
    up = "../../../secret.png" if kind == "voc" else "../../secret.png"
    names = {"relative": up, "absolute": f"{folder}/secret.png", "link": "link.png"}
    write_set(folder, kind, names[spelling])
    if spelling == "link":
        place = "Annotations/link.png" if kind == "voc" else "link.png"
        (folder / "sets/one" / place).symlink_to(folder / "secret.png")
    problem = f"{where}: {shortened(names[spelling])} leads outside {folder}/{limit}, {LIMIT}"
    case = Accepted("", f"{command} {source}", told(problem, source=source))
    if command.startswith("anchors"):
        check(case, folder)
        check(replace(case, command=f"{command} {source} --outside", stderr=""), folder)
    else:
        from bad.catalogue import run

        assert case.stderr in run(case.command.split(), folder).stderr
        assert "2 pictures" in run([*case.command.split(), "--outside"], folder).stdout


def shortened(text):
    return text if len(text) <= 60 else f"{text[:57]}..."

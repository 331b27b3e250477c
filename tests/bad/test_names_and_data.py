"""Names files, .data files, lists of pictures, and the files that a cfg names."""

import pytest

from bad.catalogue import Accepted, Refused, check, run
from darkconv.errors import DarkconvError
from darkconv.loading import load

pytest.importorskip("PIL.Image")

DETECT = "detect net.cfg net.weights pics/0.png --threshold 0.9"
ANCHORS = "anchors --data net.data -n 1"
PAGE = "<!DOCTYPE html>\n<html><title>404</title></html>\n"
HTML_HINT = "\n  hint: the download failed: the server sent a page instead of the file"
KINDS = (
    "\n  hint: a source is a picture, a folder, a pattern such as 'photos/*.jpg', or a file that "
    "ends in .yaml, .data, .txt, .list, .xml or .json"
)
ELSEWHERE = "\n  --data-images DIR (in Python images=) says where the pictures lie"
DATA_NAMES = "\n  hint: --data-names FILE (in Python names=) names the classes of the labels"
OUTSIDE = "which needs --outside (in Python outside=True)"


def file(name, content):
    """A rule that writes a file."""
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(data)


def told(*lines, source="net.data"):
    """What stderr holds of some problems."""
    count = f"{len(lines)} problem{'s' if len(lines) > 1 else ''} in pictures and labels"
    return "".join(f"warning: {line}\n" for line in (*lines, f"{source}: {count}"))


NAMES_REFUSED = [
    Refused("no names", DETECT, "net.names: holds no class names", file("net.names", "")),
    Refused("blank lines", "reclass net.cfg net.weights --keep 0 -o o.cfg o.weights",
            "net.names: holds no class names", file("net.names", "\n\n \n")),
    Refused("binary names", DETECT, "net.names: is a binary file, not text",
            file("net.names", bytes(range(9)) * 9)),
    Refused("a page in place of names", DETECT, f"net.names: is an HTML page{HTML_HINT}",
            file("net.names", PAGE)),
    Refused("a very long name", "info net.cfg net.weights",
            "net.names:2: the name has 100,000 characters, more than 1,000",
            file("net.names", f"cat\n{'x' * 100_000}\nfox\n")),
    Refused("no such names", f"{DETECT} --names none.names",
            "none.names: cannot read: No such file or directory"),
    Refused("a folder in place of names", f"{DETECT} --names pics",
            "pics: cannot read: Is a directory"),
    Refused("no such names of labels",
            "profile net.cfg net.weights pics -o p.npz --only-classes=cat --data-names x",
            "x: cannot read: No such file or directory"),
]  # fmt: skip
NAMES_ACCEPTED = [
    Accepted("names in UTF-16", "info net.cfg net.weights --json", "",
             file("net.names", "cat\ndog\nfox\n".encode("utf-16")), stdout='"fox"'),
    Accepted("too few names", DETECT,
             "warning: net.names: has 2 names, but net.cfg predicts 3 classes\n",
             file("net.names", "cat\ndog\n")),
    Accepted("too many names", DETECT,
             "warning: net.names: has 4 names, but net.cfg predicts 3 classes\n",
             file("net.names", "cat\ndog\nfox\nowl\n")),
    Accepted("a name twice", DETECT, "warning: net.names: gives several classes the name cat\n",
             file("net.names", "cat\ndog\ncat\n")),
    Accepted("blank lines at the end", DETECT, "", file("net.names", "cat\r\ndog\r\nfox\r\n\r\n")),
]  # fmt: skip

DATA_REFUSED = [
    Refused("an empty .data file", ANCHORS, "net.data: expected valid or train =, found neither",
            file("net.data", "")),
    Refused("no list", ANCHORS, "net.data: expected valid or train =, found neither",
            file("net.data", "classes=3\nnames=net.names\n")),
    Refused("another list than the one asked for", f"{ANCHORS} --split test",
            "net.data: expected one of the splits train, valid, found test"),
    Refused("a binary .data file", ANCHORS, "net.data: is a binary file, not text",
            file("net.data", bytes(99))),
    Refused("a page in place of a .data file", ANCHORS, f"net.data: is an HTML page{HTML_HINT}",
            file("net.data", PAGE)),
    Refused("a list that is not there", ANCHORS, "net.data: valid: no such list: none.txt",
            file("net.data", "valid=none.txt\n")),
    Refused("a folder in place of a list", ANCHORS, "net.data: valid: no such list: pics",
            file("net.data", "valid=pics\n")),
    Refused("a list without a name", ANCHORS,
            "net.data: valid: expected a list of pictures, found nothing",
            file("net.data", "valid=\n")),
    Refused("no such .data file",
            "finetune net.cfg net.weights --data /none/x.data -o o.cfg o.weights",
            "/none/x.data: no such file or folder"),
    Refused("a cfg in place of a .data file", "eval net.cfg net.weights --data net.cfg",
            f"net.cfg: is no data set{KINDS}"),
    Refused("an empty list", "data check net.data", f"net.data: holds no pictures{KINDS}",
            file("valid.txt", "\n\n")),
    Refused("a list of nothing that is there", ANCHORS,
            "net.data: no picture can be used\n"
            f"  hint: 3 problems: valid.txt:1: no such picture: none.png ...{ELSEWHERE}",
            file("valid.txt", "none.png\n" * 3)),
    Refused("a folder in a list", "profile net.cfg net.weights valid.txt -o p.npz",
            "valid.txt: no picture can be used\n"
            f"  hint: valid.txt:1: no such picture: pics{ELSEWHERE}",
            file("valid.txt", "pics\n")),
    Refused("a binary list", ANCHORS,
            "net.data: no picture can be used\n"
            rf"  hint: 2 problems: valid.txt:1: no such picture: \x00\xff ...{ELSEWHERE}",
            file("valid.txt", b"\x00\xff\n" * 2)),
]  # fmt: skip
DATA_REFUSED += [
    Refused("names that are not there", ANCHORS,
            f"net.data: names: no such file: none.names{DATA_NAMES}",
            file("net.data", "classes=3\nvalid=valid.txt\nnames=none.names\n")),
    Refused("empty names of labels", ANCHORS, "empty.names: holds no class names",
            lambda folder: (file("net.data", "valid=valid.txt\nnames=empty.names\n")(folder),
                            file("empty.names", "")(folder))),
]  # fmt: skip
DATA_ACCEPTED = [
    Accepted("classes that are no number", ANCHORS,
             told("net.data: classes: expected a whole number above 0, found three"),
             file("net.data", "classes=three\nvalid=valid.txt\nnames=net.names\n")),
    Accepted("no classes", ANCHORS,
             told("net.data: classes: expected a whole number above 0, found 0"),
             file("net.data", "classes=0\nvalid=valid.txt\nnames=net.names\n")),
    Accepted("another number of classes than names", ANCHORS,
             told("net.data: classes: expected 3, as many as there are names, found 5"),
             file("net.data", "classes=5\nvalid=valid.txt\nnames=net.names\n")),
    Accepted("a key twice", ANCHORS,
             "warning: net.data:2: valid: none.txt is its second value: valid.txt counts, as in "
             "C\n",
             file("net.data", "valid=valid.txt\nvalid=none.txt\n")),
    Accepted("a key twice with one value", ANCHORS, "",
             file("net.data", "valid=valid.txt\nvalid = valid.txt\n")),
    Accepted("a picture that is not there", ANCHORS,
             told("valid.txt:2: no such picture: none.png"),
             file("valid.txt", "pics/0.png\nnone.png\npics/1.png\n")),
    Accepted("what is no picture", ANCHORS,
             told("pics/1.txt: is a text file, not a picture"),
             file("valid.txt", "pics/0.png\npics/1.txt\n")),
]  # fmt: skip


@pytest.mark.parametrize(
    "case", [*NAMES_REFUSED, *NAMES_ACCEPTED, *DATA_REFUSED, *DATA_ACCEPTED], ids=str
)
def test_case(case, folder):
    check(case, folder)


# paths that lead out


@pytest.fixture
def inner(folder):
    """`sets/one` with a .data file; names and pictures lie outside of `sets`."""
    root = folder / "sets/one"
    root.mkdir(parents=True)
    (root / "list.txt").write_text("pic.png\n")
    (folder / "pics/0.png").rename(root / "pic.png")
    (folder / "pics/0.txt").rename(root / "pic.txt")
    return folder


def spellings(folder, name):
    """A file outside of `sets`: by `..`, by its whole path, and by a link."""
    (folder / "sets/one/link").symlink_to(folder / name)
    return {"relative": f"../../{name}", "absolute": f"{folder}/{name}", "link": "link"}


def shown(text):
    return text if len(text) <= 60 else f"{text[:57]}..."


@pytest.mark.parametrize("spelling", ["relative", "absolute", "link"])
@pytest.mark.parametrize("key", ["valid", "names", "picture"])
def test_paths_of_data_lead_outside_only_if_the_user_says_so(inner, key, spelling):
    target = {"valid": "valid.txt", "names": "net.names", "picture": "pics/1.png"}[key]
    path = spellings(inner, target)[spelling]
    data = {"valid": "list.txt"} | ({key: path} if key != "picture" else {})
    (inner / "sets/one/x.data").write_text("".join(f"{k}={v}\n" for k, v in data.items()))
    if key == "picture":
        (inner / "sets/one/list.txt").write_text(f"pic.png\n{path}\n")
    place = "sets/one/list.txt:2" if key == "picture" else f"sets/one/x.data: {key}"
    problem = f"{place}: {shown(path)} leads outside {inner}/sets, {OUTSIDE}"
    command = "anchors --data sets/one/x.data -n 1"
    if key in ("valid", "names"):
        hint = DATA_NAMES if key == "names" else ""
        check(Refused("", command, f"{problem}{hint}"), inner)
    else:
        check(Accepted("", command, told(problem, source="sets/one/x.data")), inner)
    outcome = run([*command.split(), "--outside"], inner)
    assert outcome.status == 0
    assert "leads outside" not in outcome.stderr


CFG = (
    "[net]\nwidth=16\nheight=16\nchannels=3\n[convolutional]\nfilters=9\nsize=1\n"
    "activation=linear\n[region]\nclasses=4\nnum=1\nanchors=1,1\ncoords=4\n"
)


@pytest.mark.parametrize("spelling", ["relative", "absolute", "link"])
def test_class_trees_are_read_only_beside_the_cfg_above_it_or_below_the_working_folder(
    folder, spelling, monkeypatch
):
    root = folder / "sets/one"
    root.mkdir(parents=True)
    monkeypatch.chdir(root)
    (folder / "t.tree").write_text("a -1\nb -1\nc -1\nd -1\n")
    tree = spellings(folder, "t.tree")[spelling]
    (root / "net.cfg").write_text(f"{CFG}softmax=1\ntree={tree}\n")
    assert load(root / "net.cfg").network.layers[1].tree is None
    (root.parent / "t.tree").write_text("a -1\nb -1\nc -1\nd -1\n")
    (root / "net.cfg").write_text(f"{CFG}softmax=1\ntree=../t.tree\n")
    assert load(root / "net.cfg").network.layers[1].tree is not None


@pytest.mark.parametrize("spelling", ["relative", "absolute", "link"])
def test_a_map_that_leads_out_is_not_found(folder, spelling):
    root = folder / "sets/one"
    root.mkdir(parents=True)
    (folder / "x.map").write_text("0\n1\n")
    (root / "x.tree").write_text("a -1\nb -1\nc -1\nd -1\n")
    name = spellings(folder, "x.map")[spelling]
    (root / "net.cfg").write_text(f"{CFG}softmax=1\ntree=x.tree\nmap={name}\n")
    import darkconv as dc
    from networks import random_model

    model = random_model(load(root / "net.cfg").network)
    with pytest.raises(DarkconvError, match="was not found beside the cfg, above it or in the"):
        dc.detect(model, folder / "pics/0.png")

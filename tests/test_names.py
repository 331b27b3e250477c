"""Class names: what is written is read back as it was, through every door and every format."""

import dataclasses
import json
import os
import pickle
from pathlib import Path

import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.backends import spoke
from darkconv.cli import main
from darkconv.core.names import Names, distinct_names, find_name, split_names
from darkconv.darknet.data import read_names
from darkconv.encodings import likely_encodings
from darkconv.errors import DarkconvError, DatasetError
from networks import network, random_model

CASES = Path(__file__).parent / "data" / "cases" / "names"
BODY = "[convolutional]\nfilters=21\nactivation=linear\n[yolo]\nclasses=2\nnum=3\nmask=0,1,2\n"
ANCHORS = "anchors=2,3,4,4,6,5\n"
NFC, NFD = "caf\u00e9", "cafe\u0301"

BAD = {
    "line break": "a\nb",
    "carriage return": "a\rb",
    "zero byte": "a\0b",
    "nothing": "",
    "blanks": " \t",
    "blanks around": " a",
    "mark": "dont_show a",
    "too long": "n" * 5000,
    "half a surrogate pair": "a\ud800",
    "bytes that are UTF-8": "\udcc3\udca4",
    "byte order mark": "\ufeffa",
    "no text": 3,
}
FILES = ("cfg", "weights")
GOOD = ("a b", "каша", "\udcff\udce4", "汽车", "x" * 1000, "a\u202eb", "a\x1b[1m", "<b>", "#1", NFD)


def two(names=("a", "b")):
    return random_model(network(BODY + ANCHORS, (3, 16, 16)), names=names)


def described(model, path, names):
    """A safetensors file whose metadata hold a list of names."""
    torch = pytest.importorskip("torch") and spoke("torch")
    torch.write_safetensors(torch.to_torch(model), path)
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"]["names"] = json.dumps(names)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
    return torch.read_safetensors(path)


def in_model(name, tmp_path):
    return dataclasses.replace(two(), names=("a", name))


def in_metadata(name, tmp_path):
    return described(two(), tmp_path / "x.safetensors", ["a", name])


def added(name, tmp_path):
    return dc.reclass(two(), add=[name])


def merged(name, tmp_path):
    return dc.reclass(two(), [f"{name}=a+b"])


def transferred(name, tmp_path):
    from darkconv.surgery.classes import transfer

    return transfer(two(), ["a", name])


DOORS = (in_model, in_metadata, added, merged, transferred)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", BAD)
def test_a_name_that_would_not_come_back_is_refused(kind, door, tmp_path):
    name = BAD[kind]
    if door is merged and (name == 3 or not name.strip() or name != name.strip()):
        return  # blanks around the parts of a recipe are left out
    with pytest.raises(DarkconvError):
        door(name, tmp_path)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", GOOD, ids=ascii)
def test_any_other_name_is_written_so_that_it_comes_back(name, door, tmp_path):
    model = door(name, tmp_path)
    assert name in model.names
    dc.save(model, tmp_path / "o.cfg", tmp_path / "o.weights", names=tmp_path / "o.names")
    assert dc.load(tmp_path / "o.cfg", tmp_path / "o.weights").names == model.names


@pytest.mark.parametrize("name", ["a\nb", " ", "n" * 5000])
def test_reclass_refuses_such_a_name_in_one_line(name, tmp_path):
    dc.save(two(), tmp_path / "n.cfg", tmp_path / "n.weights", names=tmp_path / "n.names")
    args = ["reclass", *(str(tmp_path / f"n.{end}") for end in FILES)]
    out = ["-o", str(tmp_path / "o.cfg"), str(tmp_path / "o.weights")]
    result = CliRunner().invoke(main, [*args, "--keep", f"{name}=a+b", *out])
    assert result.exit_code == 1
    assert "error:" in result.output
    assert not (tmp_path / "o.cfg").exists()


def test_names_that_a_file_cannot_begin_with_are_refused(tmp_path):
    model = dataclasses.replace(two(), names=("\udcff\udcfea", "b"))  # UTF-16's mark
    with pytest.raises(DatasetError, match="would not be read back"):
        dc.save(model, tmp_path / "o.cfg", tmp_path / "o.weights", names=tmp_path / "o.names")
    assert not list(tmp_path.iterdir())


def test_a_model_without_names_writes_no_names_file(tmp_path):
    with pytest.raises(DatasetError, match="no class names"):
        dc.save(two(()), tmp_path / "o.cfg", tmp_path / "o.weights", names=tmp_path / "o.names")


def test_names_keep_their_marks_when_they_are_pickled():
    names = Names(("a", "b"), hidden=[1])
    again = pickle.loads(pickle.dumps(names))
    assert (again, again.hidden, again.text) == (names, {1}, "a\ndont_show b\n")


CONTENTS = {
    "latin1": (CASES / "latin1.names").read_bytes(),
    "gbk": (CASES / "gbk.names").read_bytes(),
    "dont_show": (CASES / "dont_show.names").read_bytes(),
    "cp1251": "машина человек ".replace(" ", "\n").encode("cp1251"),
    "blank lines": b"a\r\n\r\n\r\n",
    "no last line end": b"a\ndont_show\tb",
}


def loaded(content, folder):
    dc.save(two(()), folder / "n.cfg", folder / "n.weights")
    (folder / "n.names").write_bytes(content)
    return dc.load(folder / "n.cfg", folder / "n.weights")


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("way", ["cfg", "safetensors", "keras", "torch", "keras model", "onnx"])
def test_a_names_file_is_written_back_byte_for_byte(kind, way, tmp_path):
    model = loaded(CONTENTS[kind], tmp_path)
    if way == "safetensors":
        torch = spoke("torch")
        torch.write_safetensors(torch.to_torch(model), tmp_path / "m.safetensors")
        model = torch.read_safetensors(tmp_path / "m.safetensors")
    elif way == "torch":
        model = dc.from_torch(dc.to_torch(model))
    elif way == "keras model":
        model = dc.from_keras(dc.to_keras(model))
    elif way == "keras":
        keras = spoke("keras")
        keras.write_keras(keras.to_keras(model), tmp_path / "m.keras")
        model = keras.from_keras(keras.read_keras(tmp_path / "m.keras"))
    elif way == "onnx":
        onnx = spoke("onnx")
        onnx.write_onnx(model, tmp_path / "m.onnx")
        model = dataclasses.replace(model, names=onnx.read_onnx(tmp_path / "m.onnx").names)
    dc.save(model, tmp_path / "o.cfg", tmp_path / "o.weights", names=tmp_path / "o.names")
    assert (tmp_path / "o.names").read_bytes() == CONTENTS[kind]


def test_surgery_keeps_the_mark_of_a_class():
    model = dataclasses.replace(two(), names=Names(("a", "b"), hidden=[0]))
    assert dc.reclass(model, ["b", "a"]).hidden == {1}
    assert dc.reclass(model, ["c=a"]).hidden == {0}
    assert dc.reclass(model, ["c=a+b"]).hidden == set()
    assert dc.reclass(model, add=["c"]).hidden == {0}
    assert dc.replace_arrays(model, {}).hidden == {0}


@pytest.mark.parametrize(
    ("kind", "encoding", "names"),
    [
        ("gbk", "gbk", ("汽车", "行人")),
        ("latin1", "latin-1", ("Käse", "Müll")),
        ("cp1251", "cp1251", ("машина", "человек")),
    ],
)
def test_the_encoding_is_named_once_and_reads_the_names(kind, encoding, names, tmp_path, caplog):
    with caplog.at_level("WARNING", logger="darkconv"):
        model = loaded(CONTENTS[kind], tmp_path)
        dc.load(tmp_path / "n.cfg", tmp_path / "n.weights")
    assert caplog.text.count("not UTF-8") == 1
    assert f"--names-encoding {encoding}" in caplog.text
    assert len(set(model.names)) == 2
    model = dc.load(tmp_path / "n.cfg", tmp_path / "n.weights", names_encoding=encoding)
    assert model.names == names
    dc.save(model, tmp_path / "o.cfg", tmp_path / "o.weights", names=tmp_path / "o.names")
    assert (tmp_path / "o.names").read_text("utf-8").split() == list(names)


def test_an_encoding_reads_the_bytes_that_a_file_has_kept(tmp_path):
    model = loaded(CONTENTS["gbk"], tmp_path)
    torch = spoke("torch")
    torch.write_safetensors(torch.to_torch(model), tmp_path / "m.safetensors")
    file, out = (
        str(tmp_path / "m.safetensors"),
        [str(tmp_path / f"o.{e}") for e in FILES],
    )
    result = CliRunner().invoke(main, ["convert", file, "--names-encoding", "gbk", "-o", *out])
    assert result.exit_code == 0, result.output
    assert read_names(tmp_path / "o.names") == ("汽车", "行人")


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        (b"a\nb\n", "nonsense", "unknown encoding"),
        (b"a\nb\n", "hex", "unknown encoding"),
        (b"\xff\n", "gbk", "is no text in gbk"),
        (None, "gbk", "there is no names file"),
    ],
)
def test_an_encoding_that_reads_nothing_is_refused(content, encoding, message, tmp_path):
    dc.save(two(()), tmp_path / "n.cfg", tmp_path / "n.weights")
    if content is not None:
        (tmp_path / "n.names").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        dc.load(tmp_path / "n.cfg", tmp_path / "n.weights", names_encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(encoding, tmp_path):
    (tmp_path / "x.names").write_bytes("汽车\r\ncaf\u00e9\r\n".encode(encoding))
    assert read_names(tmp_path / "x.names") == ("汽车", "caf\u00e9")


WORDS = {
    "gbk": "人 自行车 汽车 摩托车 公交车 卡车 红绿灯",
    "cp1251": "Машина Человек дорожный знак",
    "latin-1": "café vélo fenêtre Öl",
    "euc-kr": "사람 자동차 자전거",
    "shift_jis": "自転車 人 バイク",
}


@pytest.mark.parametrize("encoding", WORDS)
def test_the_likely_encoding_is_that_of_the_words(encoding):
    assert likely_encodings("\n".join(WORDS[encoding].split()).encode(encoding))[0] == encoding


@pytest.mark.parametrize(("own", "asked"), [(NFC, NFD), (NFD, NFC)])
def test_both_forms_of_a_name_are_the_same_class(own, asked):
    model = two((own, "b"))
    assert find_name(model.names, asked) == 0
    assert dc.reclass(model, [asked]).names == (own,)
    assert dc.reclass(model, [f"{asked}+b".join(("x=", ""))]).names == ("x",)
    assert dc.reclass(model, add=["c"], init=f"like:{asked}").names == (own, "b", "c")
    with pytest.raises(DarkconvError, match="two classes would have the name"):
        dc.reclass(model, add=[asked])


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ((), ()),
        (("a", "b"), ("a", "b")),
        (("a", "b", "a"), ("a:0", "b", "a:2")),
        (("a", "a", "a:1"), ("a:0", "a:1:1", "a:1")),
        (("a:1", "a:1", "a", "a"), ("a:1:0", "a:1:1", "a:2", "a:3")),
        ((NFC, NFD), (f"{NFC}:0", f"{NFD}:1")),
    ],
)
def test_classes_that_share_a_name_are_told_apart_by_their_numbers(names, found):
    assert distinct_names(names) == found
    assert distinct_names(found) == found
    assert [find_name(names, name) for name in found] == [*range(len(names))]


@pytest.mark.parametrize(
    ("text", "known", "words"),
    [
        ("", (), []),
        (" a, ,b ,", (), ["a", "b"]),
        ("a,b", ("a,b", "c"), ["a,b"]),
        ("a,b,c,a", ("a,b", "c", "b,c"), ["a,b", "c", "a"]),
        ("a, b,c", ("a, b,c", "a, b"), ["a, b,c"]),
        ("a,b", ("a, b",), ["a", "b"]),
    ],
)
def test_a_known_name_with_commas_is_one_word_of_a_list(text, known, words):
    assert split_names(text, known) == words


def test_names_with_signs_of_lists_are_quoted_and_have_indices():
    model = two(("a,b", "c+d"))
    with pytest.raises(DarkconvError) as caught:
        dc.reclass(model, ["x=zebra"])
    assert str(caught.value) == (
        "unknown class 'zebra'\n  hint: known are 'a,b', 'c+d'; say 0 for 'a,b', 1 for 'c+d'"
    )
    assert dc.reclass(model, ["x=1"]).names == ("x",)


def test_a_name_of_several_classes_names_none_of_them():
    model = two(("a", "a"))
    message = "2 classes are called 'a': 0, 1"
    for call in (
        lambda: find_name(model.names, "a"),
        lambda: dc.reclass(model, ["a"]),
        lambda: dc.reclass(model, ["x=a", "y=1"]),
        lambda: dc.reclass(model, ["x=0", "y=1"], add=["c"], init="like:a"),
    ):
        with pytest.raises(DarkconvError, match=message):
            call()
    assert dc.reclass(model, ["a:1"]).names == ("a",)
    with pytest.raises(DarkconvError, match="OTHER=0 gives one another name"):
        dc.reclass(model)
    assert dc.reclass(model, ["x=1", "a:0"], add=["c"], init="like:a:0").names == ("x", "a", "c")


def test_bytes_in_lists_and_their_labels_are_kept(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    from darkconv.dataset import open_dataset

    pillow.new("RGB", (20, 20)).save(os.fsdecode(os.fsencode(tmp_path) + b"/\xc6\xfb.png"))
    (tmp_path / "l.txt").write_bytes(b"\xc6\xfb.png 1,1,9,9,\xc8\xcb\n")
    (found,) = open_dataset(tmp_path / "l.txt").samples
    assert os.fsencode(found.image.name) == b"\xc6\xfb.png"
    assert [os.fsencode(name) for name in found.names] == [b"\xc8\xcb"]
    (found,) = open_dataset(tmp_path / "l.txt", names_encoding="gbk").samples
    assert found.names == ("人",)
    with pytest.raises(DatasetError, match="names_encoding: is no text in ascii"):
        open_dataset(tmp_path / "l.txt", names_encoding="ascii")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_lists_and_data_files_may_have_a_byte_order_mark(encoding, tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    from darkconv.dataset import open_dataset

    pillow.new("RGB", (20, 20)).save(tmp_path / "汽车.png")
    (tmp_path / "汽车.txt").write_bytes("0 0.5 0.5 0.5 0.5\r\n".encode(encoding))
    (tmp_path / "n.names").write_bytes("人\r\n".encode(encoding))
    (tmp_path / "l.txt").write_bytes("汽车.png\r\n".encode(encoding))
    (tmp_path / "d.data").write_bytes("valid = l.txt\r\nnames = n.names\r\n".encode(encoding))
    (found,) = open_dataset(tmp_path / "d.data").samples
    assert (found.image.name, found.names) == ("汽车.png", ("人",))


def test_a_data_file_keeps_its_bytes_when_it_is_written_anew(tmp_path):
    pytest.importorskip("PIL.Image").new("RGB", (16, 16)).save(tmp_path / "p.png")
    (tmp_path / "t.txt").write_text("p.png\n")
    dc.save(two(), tmp_path / "n.cfg", tmp_path / "n.weights", names=tmp_path / "n.names")
    (tmp_path / "d.data").write_bytes(
        b"train = t.txt\r\nbackup = \xc6\xfb\xa1\xa1/\r\nclasses = 2\r\n"
    )
    args = [str(tmp_path / name) for name in ("n.cfg", "n.weights")]
    out = [str(tmp_path / f"o.{end}") for end in FILES]
    data = ["--data", str(tmp_path / "d.data")]
    result = CliRunner().invoke(main, ["reclass", *args, "--keep", "a", *data, "-o", *out])
    assert result.exit_code == 0, result.output
    written = (tmp_path / "o.data").read_bytes()
    assert written == (
        b"train = o_data/train.txt\r\nbackup = \xc6\xfb\xa1\xa1/\r\nclasses = 1\r\n"
        b"names = o.names\n"
    )


def labelled(folder, name):
    pillow = pytest.importorskip("PIL.Image")
    from darkconv.dataset import open_dataset

    pillow.new("RGB", (16, 16)).save(folder / "p.png")
    (folder / "p.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    return open_dataset(folder / "p.png", names=[name])


@pytest.mark.parametrize(("own", "asked"), [(NFC, NFD), (NFD, NFC)])
def test_labels_in_the_other_form_are_of_the_class(own, asked, tmp_path):
    from darkconv.evaluation.comparison import Comparison, rule_of

    dataset = labelled(tmp_path, asked)
    kept = dataset.keep_classes([own])
    assert (kept.names, kept.samples[0].names) == ((own,), (own,))
    assert len(dataset.only([own])) == 1
    assert dataset.renamed({own: "x"}).samples[0].names == ("x",)
    found = dc.detect(two((own, "b")), tmp_path / "p.png", 0.01)
    comparison = Comparison.of([found], dataset, [own], rule_of("continuous", 0.5))
    (result,), _ = comparison.figures(0.25)
    assert result.boxes == 1


@pytest.mark.parametrize(("own", "asked"), [(NFC, NFD), (NFD, NFC)])
def test_training_counts_labels_in_the_other_form(own, asked, tmp_path):
    pytest.importorskip("lightning")
    from darkconv.augmentation.box_rows import numbers_of, sample_rows
    from darkconv.training.tasks import task_of

    dataset = labelled(tmp_path, asked)
    (row,) = sample_rows(dataset.samples[0], numbers_of([own]), (16, 16))
    assert row[0] == 0
    assert task_of(two((own, "b")), dataset, letterbox=False, seed=0).counts() == [1, 0]


@pytest.mark.parametrize(("own", "asked"), [(NFC, NFD), (NFD, NFC)])
def test_a_folder_in_the_other_form_is_the_class(own, asked, tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    from darkconv.dataset import open_classified

    for name in (asked, "b"):
        (tmp_path / name).mkdir()
        pillow.new("RGB", (4, 4)).save(tmp_path / name / "p.png")
    found = open_classified(tmp_path, [own, "b"])
    assert sorted(number for _, number in found.samples) == [0, 1]


def test_labels_are_read_in_the_encoding_of_the_models_names(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    dc.save(two(()), tmp_path / "n.cfg", tmp_path / "n.weights")
    (tmp_path / "n.names").write_bytes(CONTENTS["gbk"])
    (tmp_path / "d").mkdir()
    pillow.new("RGB", (16, 16)).save(tmp_path / "d" / "p.png")
    (tmp_path / "d" / "l.txt").write_bytes(b"p.png 1,1,9,9," + CONTENTS["gbk"].split()[1] + b"\n")
    args = [str(tmp_path / f"n.{end}") for end in FILES]
    data = ["--data", str(tmp_path / "d" / "l.txt"), "--names-encoding", "gbk", "--json"]
    result = CliRunner().invoke(main, ["eval", *args, *data])
    assert result.exit_code == 0, result.output
    assert [one["name"] for one in json.loads(result.stdout)["classes"]] == ["行人"]


def test_messages_of_the_log_are_printable(tmp_path, caplog):
    (tmp_path / "a.cfg").write_text("[net]\nwidth=8\nheight=8\nchannels=3\n[softmax]\n")
    (tmp_path / "a\udcff.names").write_bytes(b"caf\xe9\n\x1b[31mred\n")
    dc.load(tmp_path / "a.cfg", names=tmp_path / "a\udcff.names")
    assert caplog.messages
    assert all(text.isprintable() for text in caplog.messages)
    assert any("a\\xff.names" in text for text in caplog.messages)

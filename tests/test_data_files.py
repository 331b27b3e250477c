"""Names, data, tree and map files."""

import numpy as np
import pytest

import darkconv as dc
from darkconv.darknet.data import (
    find_beside,
    format_names,
    format_tree,
    read_data,
    read_map,
    read_names,
    read_tree,
)
from darkconv.errors import DatasetError
from networks import cfg_text

HEAD = "[convolutional]\nfilters=7\nactivation=linear\n[yolo]\nclasses=2\nanchors=1,1\n"
TREE = "animal -1\nplant -1\ncat 0\ndog 0\nrose 1\n"


@pytest.fixture
def write(tmp_path):
    def write_file(name, text):
        (tmp_path / name).write_bytes(text.encode())
        return tmp_path / name

    return write_file


def test_names_are_lines_without_what_blank_lines_follow(write):
    path = write("a.names", "\ufeffcat\r\n dining table \r\n\r\n")
    assert read_names(path).names == ("cat", "dining table")


def test_hidden_names_lose_their_mark(write):
    names = read_names(write("a.names", "cat\ndont_show dog\ndont_show\nhorse\n"))
    assert names.names == ("cat", "dog", "2", "horse")
    assert names.hidden == {1, 2}
    assert names.shown == (0, 3)


def test_names_are_written_as_they_are_read(write):
    assert read_names(write("a.names", format_names(("a", "b c")))).names == ("a", "b c")


def test_file_without_names_is_refused(write):
    with pytest.raises(DatasetError, match="a.names: holds no class names"):
        read_names(write("a.names", "\n\n"))


def test_names_are_found_beside_the_cfg_or_the_weights(write, tmp_path):
    cfg = write("net.cfg", cfg_text(HEAD))
    assert dc.load(cfg).names == ()
    write("net.names", "a\nb\n")
    assert dc.load(cfg).names == ("a", "b")
    assert dc.load(cfg, names=write("other.names", "c\nd\n")).names == ("c", "d")


def test_wrong_number_of_names_is_told(write, caplog):
    cfg = write("net.cfg", cfg_text(HEAD))
    with caplog.at_level("WARNING", logger="darkconv"):
        model = dc.load(cfg, names=write("x.names", "a\nb\nc\n"))
    assert "has 3 names, but" in caplog.text
    assert "predicts 2 classes" in caplog.text
    assert model.class_name(5) == "5"


def test_data_file_is_read_as_darknet_reads_it(write):
    path = write("a.data", "# set\nclasses = 20\ntrain=/a b/train.txt\nclasses=3\nnothing\n")
    assert read_data(path) == {"classes": "20", "train": "/ab/train.txt"}


def test_tree_groups_brothers_and_sisters(write):
    tree = read_tree(write("a.tree", TREE))
    assert tree.parents == (-1, -1, 0, 0, 1)
    assert tree.groups == ((0, 2), (2, 2), (4, 1))
    assert tree.child_group(0) == 1
    assert tree.child_group(2) is None
    assert format_tree(tree) == TREE


def test_tree_gives_absolute_probabilities(write):
    tree = read_tree(write("a.tree", TREE))
    found = tree.hierarchical(np.array([[0.5, 0.5, 0.25, 0.75, 1.0]], np.float32))
    np.testing.assert_allclose(found, [[0.5, 0.5, 0.125, 0.375, 0.5]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n", r"a.tree:1: expected a name and the number of its parent, found a"),
        ("a -1\nb 5\n", r"a.tree:2: expected a parent from -1 to 0, above its child, found 5"),
        ("\n", "holds no classes"),
    ],
)
def test_broken_tree_is_refused(write, text, message):
    with pytest.raises(DatasetError, match=message):
        read_tree(write("a.tree", text))


def test_map_is_a_list_of_numbers(write):
    assert read_map(write("a.map", "3\n1\n\n")) == (3, 1)
    with pytest.raises(DatasetError, match="a.map:2: expected a class index, found x"):
        read_map(write("a.map", "3\nx\n"))


def test_files_are_looked_up_beside_the_cfg_and_above(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cfg").mkdir()
    cfg = str(tmp_path / "cfg" / "net.cfg")
    assert find_beside("a.tree", cfg) is None
    above = write("a.tree", TREE)
    assert find_beside("a.tree", cfg) == above
    beside = write("cfg/a.tree", TREE)
    assert find_beside("a.tree", cfg) == beside


def test_missing_tree_is_no_matter_until_the_network_runs(write):
    pytest.importorskip("torch")
    body = "[connected]\noutput=5\n[softmax]\ntree=none.tree\n"
    model = dc.load(write("net.cfg", cfg_text(body)))
    assert model.network.shapes[1] == (5, 1, 1)
    with pytest.raises(dc.DarkconvError, match="none.tree was not found beside the cfg"):
        dc.to_torch(model)

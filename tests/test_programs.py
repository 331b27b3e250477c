"""Exported programs, .pt2 files: of every small network, for batches of any size, by themselves."""

import json
import pickle
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.cli import main
from networks import MICRO, network, random_model
from reference.collection import Case

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

BATCHES = (1, 2, 3)
REGIONS = [folder for folder in MICRO if "region" in folder.name or "yolov2" in folder.name]
BUNDLED = (
    "yolov1-tiny", "yolov2-tiny", "yolov2-voc", "yolov3-tiny", "yolov4-tiny", "yolov7-tiny",
    "Gaussian_yolov3", "enet-coco", "darknet19",
)  # fmt: skip
SIZE = 64
"""Of pictures for the bundled networks, where they take it."""


def inputs(model, count):
    shape = model.network.input_shape
    size = tuple(shape) if shape.is_map else (shape.size,)
    return np.random.default_rng(count).random((count, *size), np.float32)


def assert_exported(model, path):
    """The program gives what the module gives, of any number of pictures."""
    module = dc.to_torch(model)
    for head in ("raw", "logits") if model.network.heads else ("raw",):
        dc.export(model, path, head=head)
        program = torch.export.load(path).module()
        for count in BATCHES:
            x = torch.from_numpy(inputs(model, count))
            module.reset_state()
            with torch.no_grad():
                found, values = program(x), module.trace(x)
            wanted = model.network.outputs
            if head == "logits":
                wanted = [layer.sources[0] for layer in model.network.heads]
            expected = [values[index] for index in wanted]
            for one, other in zip(found, expected, strict=True):
                assert len(one) == count
                torch.testing.assert_close(one, other, equal_nan=True)


@pytest.mark.parametrize("folder", REGIONS, ids=lambda folder: folder.name)
def test_programs_of_region_heads_take_any_batch(folder, tmp_path):
    assert_exported(Case(folder, folder / "net.weights").model, tmp_path / "net.pt2")


@pytest.mark.slow
@pytest.mark.parametrize("folder", MICRO, ids=lambda folder: folder.name)
def test_programs_of_small_networks_take_any_batch(folder, tmp_path):
    assert_exported(Case(folder, folder / "net.weights").model, tmp_path / "net.pt2")


@pytest.mark.slow
@pytest.mark.parametrize("name", BUNDLED)
def test_programs_of_bundled_networks_take_any_batch(name, tmp_path):
    model = dc.load(name)
    if name != "yolov1-tiny":  # its [connected] layer has one size
        model = model.with_input_size(SIZE, SIZE)
    assert_exported(random_model(model.network), tmp_path / "net.pt2")


def test_a_program_has_no_paths_of_the_machine_that_wrote_it(tmp_path):
    body = "[convolutional]\nfilters=4\nbatch_normalize=1\nactivation=leaky\n"
    dc.export(random_model(network(body)), tmp_path / "net.pt2")
    with zipfile.ZipFile(tmp_path / "net.pt2") as archive:
        contents = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    assert json.loads(contents["models/model.json"])["graph_module"]["graph"]["nodes"]
    for content in contents.values():
        assert b"stack_trace" not in content
        assert b"site-packages" not in content


# --- Read back, to be compared


BODY = (
    "[convolutional]\nfilters=6\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
    "[convolutional]\nfilters=16\n[yolo]\nclasses=3\nnum=2\nanchors=2,3,4,1\n"
)


@pytest.fixture
def model():
    return random_model(network(BODY))


@pytest.mark.parametrize("head", ["raw", "logits"])
def test_verify_compares_a_program(model, tmp_path, head):
    dc.export(model, tmp_path / "net.pt2", head=head)
    check = dc.verify(model, tmp_path / "net.pt2", batch=3)
    assert check.ok
    assert [row.name for row in check.rows] == ["002_yolo" + ("_logits" if head != "raw" else "")]
    assert check.compared == 4 * 16 * 8 * 8  # four inputs of noise
    other = dc.verify(random_model(model.network, seed=1), tmp_path / "net.pt2")
    assert not other.ok
    with pytest.raises(dc.DarkconvError, match="input size: expected 3x8x8, which is fixed in the"):
        dc.verify(model, tmp_path / "net.pt2", input_size=(9, 9))


@pytest.mark.slow
@pytest.mark.parametrize("folder", MICRO, ids=lambda folder: folder.name)
def test_verify_compares_programs_of_small_networks(folder, tmp_path):
    """So each operator that is in one is known to the reader."""
    model = Case(folder, folder / "net.weights").model
    dc.export(model, tmp_path / "net.pt2")
    assert dc.verify(model, tmp_path / "net.pt2").ok


def test_the_command_line_compares_a_program(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dc.save(model, "net.cfg", "net.weights")
    dc.export(model, "net.pt2")
    words = ["verify", "net.cfg", "net.weights", "net.pt2"]
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["ok"]
    dc.export(random_model(model.network, seed=1), "net.pt2")
    assert CliRunner().invoke(main, words).exit_code == 1


GRAPH, DESCRIPTION = "models/model.json", "extra/darkconv.json"
WEIGHTS = "data/weights/model_weights_config.json"
RUNS = "open('ran', 'w')"
"""Python that leaves a trace if it is run."""


class Pickled:
    def __reduce__(self):
        return open, ("ran", "w")


def change(path, name, edit):
    """Change a member of a program: JSON that `edit` changes in place, or bytes."""
    with zipfile.ZipFile(path) as archive:
        members = {one: archive.read(one) for one in archive.namelist()}
    folder = next(iter(members)).partition("/")[0]
    if callable(edit):
        value = json.loads(members[f"{folder}/{name}"])
        edit(value)
        edit = json.dumps(value).encode()
    members[f"{folder}/{name}"] = edit
    with zipfile.ZipFile(path, "w") as archive:
        for one, content in members.items():
            archive.writestr(one, content)


def nodes(graph):
    return graph["graph_module"]["graph"]["nodes"]


def first_array(config):
    return next(iter(config["config"].values()))


def call(target):
    return lambda graph: nodes(graph)[0].update(target=target)


def rename_input(graph):
    text = json.dumps(graph["graph_module"]).replace('"x"', f'"x={RUNS}"')
    graph["graph_module"] = json.loads(text)


def nest(graph):
    kind = {"default_factory_module": "os", "default_factory_name": "getcwd", "dict_context": []}
    spec = {"type": "collections.defaultdict", "context": json.dumps(kind), "children_spec": []}
    graph["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps([1, spec])


def lengthen(graph):
    text = json.dumps(graph).replace("Symbol('s", f"Symbol({RUNS} or 's")
    graph.update(json.loads(text))


HOSTILE = {
    "a function of the system": (GRAPH, call("torch.serialization.os.system"), "graph calls torch"),
    "an operator that writes": (GRAPH, call("torch.ops.aten.save.default"), "its graph calls"),
    "an extension": (GRAPH, call("#hop:x"), "its graph calls #hop:x"),
    "a name that is code": (GRAPH, rename_input, "its graph has a text x=open"),
    "a length that is code": (GRAPH, lengthen, "its graph has a length"),
    "a class": (GRAPH, nest, "its inputs or outputs are a collections.defaultdict"),
    "an object": (
        GRAPH,
        lambda graph: nodes(graph)[0]["inputs"][0].update(arg={"as_custom_obj": {"name": "x"}}),
        "its graph has an argument as_custom_obj",
    ),
    "no graph": (GRAPH, lambda graph: graph.clear(), "is no exported program of darkconv"),
    "a pickled array": (
        WEIGHTS,
        lambda config: first_array(config).update(use_pickle=True),
        "is a pickle",
    ),
    "a large array": (
        WEIGHTS,
        lambda config: first_array(config)["tensor_meta"].update(sizes=[{"as_int": 1 << 40}]),
        "cannot hold",
    ),
    "arrays of old": (
        "data/weights/model.pt",
        pickle.dumps(Pickled()),
        "has a member data/weights",
    ),
    "a library": ("data/aotinductor/model/m.so", b"\x7fELF", "has a member data/aotinductor"),
    "no cfg": (DESCRIPTION, b"{}", "has no cfg in it"),
    "no head": (DESCRIPTION, lambda told: told.pop("head"), "the metadata have no head"),
    "another version": (
        GRAPH,
        lambda graph: graph["schema_version"].update(major=99),
        "PyTorch .* cannot read it as an exported program",
    ),
}
"""What is changed in a program, and what is said of it."""


@pytest.mark.parametrize("case", HOSTILE)
def test_a_program_that_could_run_code_is_refused(model, tmp_path, monkeypatch, capfd, case):
    monkeypatch.chdir(tmp_path)
    dc.export(model, "net.pt2")
    name, edit, message = HOSTILE[case]
    if case == "a length that is code":
        body = "[convolutional]\nfilters=4\n[reorg]\nstride=2\n"
        dc.export(random_model(network(body)), "net.pt2")
    change("net.pt2", name, edit)
    with pytest.raises(dc.DarkconvError, match=message) as told:
        dc.verify(model, "net.pt2")
    assert "net.pt2: " in str(told.value)
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt2"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("data/sample_inputs/model.pt", pickle.dumps(Pickled())),
        (GRAPH, lambda graph: graph.update(guards_code=[f"{RUNS} or True"])),
        (GRAPH, lambda graph: nodes(graph)[0]["metadata"].update(torch_fn=f"{RUNS};{RUNS}")),
    ],
    ids=["inputs", "guards", "notes"],
)
def test_what_a_program_does_not_need_is_not_read(model, tmp_path, monkeypatch, name, edit):
    monkeypatch.chdir(tmp_path)
    dc.export(model, "net.pt2")
    change("net.pt2", name, edit)
    assert dc.verify(model, "net.pt2").ok
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "net.pt2: no such file"),
        (b"", "net.pt2: is no exported program of darkconv: is empty"),
        (b"no archive", "net.pt2: is no exported program of darkconv"),
        ("cut", "net.pt2: is no exported program of darkconv"),
    ],
)
def test_a_damaged_program_is_told(model, tmp_path, content, message):
    path = tmp_path / "net.pt2"
    dc.export(model, path)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-100] if content == "cut" else content)
    with pytest.raises(dc.DarkconvError, match=message):
        dc.verify(model, path)


def test_programs_of_others_are_not_darkconvs(model, tmp_path):
    program = torch.export.export(torch.nn.Conv2d(3, 4, 1), (torch.zeros(1, 3, 8, 8),))
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(dc.DarkconvError, match="net.pt2: has no cfg in it: darkconv did not write"):
        dc.verify(model, tmp_path / "net.pt2")

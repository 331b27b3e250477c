"""Python's functions refuse what the command line would: a clear error before anything runs."""

import inspect
import io
from types import SimpleNamespace

import numpy as np
import pytest

import darkconv as dc
from darkconv.arguments import checked, fits
from networks import cfg_text, network, random_model

torch = pytest.importorskip("torch")
image_module = pytest.importorskip("PIL.Image")

BODY = (
    "[convolutional]\nfilters=16\nsize=3\nstride=2\npad=1\nbatch_normalize=1\nactivation=leaky\n"
    "[convolutional]\nfilters=16\nsize=1\nactivation=linear\n"
    "[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\n"
)
SHAPE = (3, 16, 16)
LEVELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """net.cfg, net.weights, net.names and pictures, one of them a.png."""
    folder = tmp_path_factory.mktemp("arguments")
    model = random_model(network(BODY, SHAPE), names=("cat", "dog", "fox"))
    dc.save(model, folder / "net.cfg", folder / "net.weights", names=folder / "net.names")
    (folder / "net.cfg").write_text(cfg_text(BODY, SHAPE))
    (folder / "pics").mkdir()
    for number in range(2):
        image_module.fromarray(LEVELS).save(folder / f"pics/{number}.png")
        (folder / f"pics/{number}.txt").write_text("0 0.5 0.5 0.25 0.5\n")
    image_module.fromarray(LEVELS).save(folder / "a.png")
    torch.save(dc.to_torch(model).state_dict(), folder / "net.pth")
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return dc.load(folder / "net.cfg", folder / "net.weights")


@pytest.fixture(scope="module")
def good(folder, model, tmp_path_factory):
    """Arguments with which each function works, by its name."""
    out = tmp_path_factory.mktemp("out")
    plan = dc.plan(model, score="l1", keep=0.5)
    small = dc.prune(model, plan)
    x = np.zeros(SHAPE, np.float32)
    cfg, weights = folder / "net.cfg", folder / "net.weights"
    return {
        "Detector": {"model": model},
        "detect": {"model": model, "image": LEVELS},
        "export": {"model": model, "path": out / "o.onnx"},
        "load": {"cfg": cfg, "weights": weights},
        "open_dataset": {"source": folder / "pics"},
        "measure_losses": {
            "model": model,
            "profile": dc.profile(model, [LEVELS], device="cpu"),
            "images": [LEVELS],
        },
        "measure_times": {"model": model},
        "plan": {"model": model, "score": "l1", "keep": 0.5},
        "profile": {"model": model, "images": [LEVELS]},
        "prune": {"model": model, "plan": plan},
        "reclass": {"model": model, "keep": ["cat"]},
        "reconstruct": {"pruned": small, "original": model, "plan": plan, "images": [LEVELS]},
        "replace_arrays": {"model": model, "arrays": {"1.biases": model.arrays["1.biases"]}},
        "save": {"model": model, "cfg": out / "o.cfg", "weights": out / "o.weights"},
        "to_onnx": {"model": model},
        "to_torch": {"model": model},
        "to_keras": {"model": model},
        "from_torch": {"module": dc.to_torch(model)},
        "from_keras": None,
        "trace": {"model": model, "x": x},
        "verify": {"model": model},
        "anchors": {"dataset": folder / "pics", "count": 1},
        "evaluate": {"model": model, "dataset": folder / "pics"},
        "finetune": {
            "model": model,
            "dataset": folder / "pics",
            "recipe": dc.Recipe(steps=1, batch=1, workers=0),
            "device": "cpu",
        },
        "graft": {"source": model, "target": model},
        "dissect": {"model": model, "keep": ["cat"], "images": [LEVELS], "score": "l1"},
        "import_weights": {"cfg": cfg, "checkpoint": folder / "net.pth"},
    }


CLASSES = {name for name in dc.__all__ if not inspect.isfunction(getattr(dc, name))} - {"Detector"}
FUNCTIONS = sorted(set(dc.__all__) - CLASSES - {"from_keras"})
STRANGE = {
    "None": None,
    "a text": "strange",
    "an empty text": "",
    "a NUL": "a\0b",
    "bytes": b"strange",
    "a number": 3.5,
    "NaN": float("nan"),
    "a negative number": -1,
    "a huge number": 10**30,
    "True": True,
    "an empty list": [],
    "a list of None": [None],
    "a list of numbers": [1.5, 2],
    "a dictionary": {"a": 1},
    "an object": object(),
    "no pixels": np.zeros((0, 5, 3), np.uint8),
    "floats": np.zeros((5, 5, 3), np.float32),
    "a vector": np.zeros(4, np.uint8),
    "objects": np.array([None, {}], object),
    "texts": np.array(["a", "b"]),
}


def parameters(name):
    found = inspect.signature(getattr(dc, name)).parameters.values()
    return [one.name for one in found if one.name not in ("progress", "compile")]


CASES = [
    pytest.param(name, parameter, id=f"{name}-{parameter}")
    for name in FUNCTIONS
    if name != "to_keras"
    for parameter in parameters(name)
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "parameter"), CASES)
def test_a_strange_value_is_refused_or_acts(name, parameter, good, monkeypatch, tmp_path):
    """Nothing but a DarkconvError comes out, whatever is put in."""
    monkeypatch.chdir(tmp_path)
    texts = []
    for what, value in STRANGE.items():
        try:
            getattr(dc, name)(**{**good[name], parameter: value})
        except dc.DarkconvError as error:
            texts.append(str(error))
        except Exception as error:
            error.add_note(f"{name}({parameter}={what})")
            raise
    assert texts, "every strange value is taken"
    assert all(len(text) < 600 and text.replace("\n", "").isprintable() for text in texts)


def test_every_function_is_walked_over(good):
    assert set(good) == set(dc.__all__) - CLASSES


METHODS = {
    "Model.with_input_size-width": lambda good, value: good.model.with_input_size(value, 32),
    "Model.with_input_size-height": lambda good, value: good.model.with_input_size(32, value),
    "Profile.load": lambda good, value: dc.Profile.load(value),
    "Profile.save": lambda good, value: good.profile.save(value),
    "Profile.merge": lambda good, value: good.profile.merge(value),
    "Profile.report-model": lambda good, value: good.profile.report("p.html", value),
    "PrunePlan.load": lambda good, value: dc.PrunePlan.load(value),
    "PrunePlan.save-path": lambda good, value: good.plan.save(value),
}


UNCHECKED = {
    "Model.class_name": "for each box that is found",
    "Model.layer_arrays": "takes a layer of the model, for each layer",
    "Profile.check_fits": "is a check of its own",
    "Profile.check_is_of": "is a check of its own",
    "Profile.says_the_same": "takes another profile",
    "Recipe.for_overfitting": "is called by finetune, which checks",
    "Where.inside": "makes places of messages",
}
"""Methods of public classes whose arguments are not held to their types, and why."""


def public_methods():
    for name in dc.__all__:
        kind = getattr(dc, name)
        if not inspect.isclass(kind) or issubclass(kind, Exception):
            continue
        for method, value in vars(kind).items():
            function = getattr(value, "__func__", value)
            is_public = method == "__call__" or not method.startswith("_")
            if not (is_public and inspect.isfunction(function)):
                continue
            if set(inspect.signature(function).parameters) - {"self", "cls"}:
                yield f"{name}.{method}", function


def test_methods_of_public_classes_check_their_arguments():
    unchecked = {name for name, one in public_methods() if not hasattr(one, "__wrapped__")}
    assert unchecked == set(UNCHECKED)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"from_torch"}))
def test_functions_check_their_arguments(name):
    function = getattr(dc, name)
    assert hasattr(function.__init__ if inspect.isclass(function) else function, "__wrapped__")


def test_numbers_of_numpy_reach_a_function_as_pythons_own():
    @checked
    def kinds(a, *, b, c):
        return [type(one) for one in (a, b, *c)]

    assert kinds(np.int64(3), b=np.float32(0.5), c=(np.uint8(4), 5)) == [int, float, int, int]


def test_numbers_of_numpy_are_taken_where_pythons_are(good):
    recipe = dc.Recipe(steps=np.int64(2), rate=np.float32(0.001))
    assert (type(recipe.steps), type(recipe.rate)) == (int, float)
    refitted = dc.reconstruct(**{**good["reconstruct"], "batch": np.int64(1)})
    assert refitted.network.layers
    assert dc.profile(good["detect"]["model"], [LEVELS], batch=np.int32(2)).pictures == 1


def test_an_array_of_levels_is_one_picture(model):
    several = np.stack([LEVELS, LEVELS])
    assert dc.profile(model, LEVELS).pictures == 1
    assert dc.profile(model, several).pictures == 2
    done = dc.dissect(model, ["cat"], images=LEVELS, score="l1", reconstruct=False)
    assert len(done.pictures.found) == 1


@pytest.fixture(scope="module")
def records(good):
    model = good["detect"]["model"]
    profile = dc.profile(model, [LEVELS])
    return SimpleNamespace(model=model, profile=profile, plan=good["prune"]["plan"])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", STRANGE.values(), ids=STRANGE)
def test_methods_take_nothing_strange_either(method, value, records, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    if (
        isinstance(value, str)
        and value == "strange"
        and method in ("Profile.save", "PrunePlan.save-path")
    ):
        METHODS[method](records, value)
        return
    with pytest.raises(dc.DarkconvError):
        METHODS[method](records, value)


# --- What a text means, and what a list


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("reclass", {"keep": "cat"}, "reclass: keep: expected a list of texts or whole numbers"),
        ("reclass", {"add": "boat"}, "hint: add=['boat']"),
        ("plan", {"lock": "*_conv"}, "hint: lock=['*_conv']"),
        ("load", {"input_size": "416x416"}, "load: input_size: expected 2 values or None"),
        ("load", {"cfg": 3}, "load: cfg: expected a path, found 3"),
        ("load", {"cfg": "a\0b.cfg"}, "load: cfg: expected a path"),
        ("detect", {"threshold": "high"}, "detect: threshold: expected a number, found the text"),
        ("detect", {"nms_kind": "best"}, "nms_kind: expected obj, sort"),
        ("detect", {"model": "net.cfg"}, "detect: model: expected Model, found the text 'net.cfg'"),
        ("to_onnx", {"threshold": "x"}, "threshold: expected a number"),
    ],
)  # fmt: skip
def test_messages_say_what_was_expected(name, changes, message, good):
    with pytest.raises(dc.DarkconvError) as caught:
        getattr(dc, name)(**{**good[name], **changes})
    assert message in str(caught.value)


def test_where_pictures_are_wanted_a_text_is_one_source(folder, model):
    whole = dc.profile(model, str(folder / "pics"))
    assert whole.pictures == 2
    assert dc.profile(model, dc.open_dataset(folder / "pics")).pictures == 2
    assert dc.profile(model, str(folder / "a.png")).pictures == 1
    assert dc.profile(model, [str(folder / "a.png")]).pictures == 1
    with pytest.raises(dc.DarkconvError, match="no such file or folder"):
        dc.profile(model, "photos")
    with pytest.raises(dc.DarkconvError, match="there is no picture among them"):
        dc.profile(model, [])


# --- Pictures in every form


def png(levels):
    buffer = io.BytesIO()
    image_module.fromarray(levels).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_picture_in_any_form_gives_the_same(folder, model):
    expected = dc.detect(model, LEVELS)
    assert expected
    data = png(LEVELS)
    forms = [
        folder / "a.png", str(folder / "a.png"), data, bytearray(data), io.BytesIO(data),
        image_module.fromarray(LEVELS), image_module.open(folder / "a.png"), LEVELS[::1],
    ]  # fmt: skip
    for form in forms:
        assert dc.detect(model, form) == expected
    forms[4].seek(0)
    assert dc.detect(model, forms) == [expected] * len(forms)
    assert dc.detect(model, []) == []


def test_grey_levels_are_grey_in_all_channels(model):
    grey = LEVELS[:, :, 0]
    expected = dc.detect(model, np.repeat(grey[:, :, None], 3, axis=2))
    assert dc.detect(model, grey) == dc.detect(model, grey[:, :, None]) == expected


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((0, 5, 3), np.uint8), "found an array uint8 (0, 5, 3)"),
        (np.zeros((5, 5, 4), np.uint8), "found an array uint8 (5, 5, 4)"),
        (np.zeros((1, 5, 5, 3), np.uint8), "found an array uint8 (1, 5, 5, 3)"),
        (np.zeros((5, 5, 3), np.float32), "hint: levels from 0 to 1 become (255 * x)"),
        (np.zeros((5, 5, 3), np.int64), "found an array int64 (5, 5, 3)"),
        (b"", "picture: is empty"),
        (b"%PDF-1.7 and more", "picture: is a PDF document, not a picture"),
        (io.StringIO("text"), "found a text"),
        (None, "expected a file, or 8-bit levels of shape (H, W, 3) or (H, W), uint8, found None"),
        (5, "found int"),
        ([[0, 0, 0]], "found list"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused(image, message, model):
    with pytest.raises(dc.DarkconvError) as caught:
        dc.detect(model, image)
    assert message in str(caught.value)


def test_a_folder_is_no_picture(folder, model):
    with pytest.raises(dc.DarkconvError, match="is a folder, not a picture"):
        dc.detect(model, folder / "pics")


# --- The mechanism


def test_types_are_told_apart():
    assert fits(np.float32(1), float)
    assert fits(np.int64(1), int)
    assert not fits(np.bool_(True), int)
    assert not fits(1.0, int)
    assert not fits("person", list[str] | None)


def test_names_of_arguments_stay_pythons_own_error(model):
    with pytest.raises(TypeError, match="unexpected keyword argument 'treshold'"):
        dc.detect(model, LEVELS, treshold=0.5)


def test_a_checked_function_keeps_its_name_and_its_defaults():
    @checked
    def add(a: int, b: int = 2) -> int:
        """Add."""
        return a + b

    assert (add(1), add.__name__, add.__doc__) == (3, "add", "Add.")
    assert inspect.signature(add).parameters["b"].default == 2


def test_an_array_of_a_model_is_real_and_within_float32():
    model = dc.load("yolov3-tiny")
    with pytest.raises(dc.DarkconvError, match="0.biases: expected numbers within float32, found"):
        dc.replace_arrays(model, {"0.biases": np.full(16, 1e300)})
    with pytest.raises(dc.DarkconvError, match="0.biases: expected real numbers, found complex"):
        dc.replace_arrays(model, {"0.biases": np.full(16, 1j)})

"""mypy --strict on a user's script that calls every public function."""

import ast
import inspect
import os
import textwrap
from pathlib import Path

import pytest

import darkconv as dc

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """
import numpy as np

import darkconv as dc

model: dc.Model = dc.load("net.cfg", "net.weights", names="net.names", dialect="auto")
model = dc.load("yolov3", input_size=(416, 416), names_encoding="gbk", allow_nonfinite=True)
dc.save(model, "out.cfg", "out.weights", names="out.names")
dc.save(model, "out.cfg", None)
model = dc.replace_arrays(model, {"0.biases": model.arrays["0.biases"]})
written: dc.Exported = dc.export(model, "net.onnx", head="boxes", dynamic="batch")
print(written.files, written.size, written.checked, written.to_dict())

proto = dc.to_onnx(model, head="nms", threshold=0.3, dynamic=["batch", "size"])
print(proto.graph.node, proto.SerializeToString())
module = dc.to_torch(model)
print(module.training, module.names)
model = dc.from_torch(module)
kmodel = dc.to_keras(model, head="boxes", fold_bn=True)
model = dc.from_keras(kmodel, "net.cfg", dialect="auto")
x = np.zeros((3, 416, 416), np.float32)
print(dc.trace(model, x, backend="onnx")[0].shape)
print(dc.trace(model, [x, x], device="cpu")[0][0].shape)

check: dc.Verification = dc.verify(
    model, "net.onnx", image=["a.jpg", "b.jpg"], device="auto", batch=2
)
if check.ok and check.compared > 0:
    check.report("page.html")
print([row.error for row in check.rows], check.to_dict())
model = dc.import_weights("net.cfg", "checkpoint.pth", bn_epsilon=0.001)

try:
    dc.load("no.cfg")
except (dc.CfgError, dc.WeightsError) as error:
    where: dc.Where = error.where
    print(where.file, error.hint)

for found in dc.detect(model, "dog.jpg", 0.25, 0.45, nms_kind="sort"):
    print(found.name, found.score, found.box)
from PIL import Image
one: list[dc.Detection] = dc.detect(model, Image.new("RGB", (64, 64)))
each: list[list[dc.Detection]] = dc.detect(model, dc.open_dataset("data.yaml"))
some: list[dc.Detections] = dc.Detector(model)(path for path in ("dog.jpg", b"..."))
for many in dc.detect(model, ["dog.jpg", "cat.jpg"], batch=2):
    print(len(many))
dataset: dc.Dataset = dc.open_dataset("data.yaml", split="val", rename={"couch": "sofa"})
print(dc.anchors(dataset, count=9).to_dict())
result: dc.Evaluation = dc.evaluate("net.onnx", dataset, rule="voc", iou=0.5, batch=8)
print(result.mean.ap, result.to_dict())
images = [sample.image for sample in dataset.samples]
small = dc.reclass(model, ["person", "vehicle=car+bus"])
profile: dc.Profile = dc.profile(small, images, device="auto")
plan: dc.PrunePlan = dc.plan(small, profile, score="nll0", keep=0.5)
losses, times = dc.measure_losses(small, profile, images, score="nll0"), dc.measure_times(small)
cheapest = dc.plan(small, profile, params=0.5, latency=0.6, losses=losses, times=times)
pruned = dc.prune(small, plan, compensate=True)
done: dc.Dissection = dc.dissect(model, keep=["person"], images=dataset, params=0.5, macs=0.6)
done = dc.dissect(model, images="photos", recover=True, recipe=dc.Recipe(steps=9), labels=True)
done = dc.dissect(model, images="photos", max_loss=1.0, valid=dataset, folder="run", resume=True)
print(done.is_recovered, done.quality["uncut"].recall, done.search and done.search.chosen.macs)
print(done.model, done.plan.explain(small, 3), done.to_dict(), done.seconds["profile"])
run = dc.finetune(small, dataset, teacher=model, valid="val.txt", device="auto", overwrite=True)
print(run.model, run.history, run.folder)
grafted: dc.GraftResult = dc.graft(model, small, layers=10)
refitted = dc.reconstruct(pruned, small, plan, images)
recipe = dc.Recipe(steps=300, optimizer="sgd", class_weights={"person": 2.0})
other: dc.Finetuned = dc.finetune(refitted, "photos", teacher=small, recipe=recipe, device="cuda:1")
print(other.model, other.history[-1]["loss"], other.folder, other.to_dict())
"""
"""Every function of `dc.__all__` is called in it."""

WRONG = {
    'dc.to_onnx(model, heads="nms")': "Unexpected keyword argument",
    'dc.to_onnx(model, head="box")': "incompatible type",
    'dc.to_keras(model, head="nms")': "incompatible type",
    "dc.to_keras(model, bn=True)": "Unexpected keyword argument",
    'dc.verify(model, backend="torch")': "incompatible type",
    'dc.export(model, "a.onnx", heads="nms")': "Unexpected keyword argument",
    'dc.load("a.cfg", size=3)': "Unexpected keyword argument",
    'dc.dissect(model, images="photos", recovered=True)': "Unexpected keyword argument",
    'dc.plan(model, keep="half")': "incompatible type",
    "dc.verify(model).rows.no_such_field": "has no attribute",
    'dc.finetune(model, "photos", steps=300)': "Unexpected keyword argument",
    'dc.Recipe(optimizer="lamb")': "incompatible type",
}
"""Mistakes, and what an editor says of them."""
STRICT = """[mypy]
strict = True
follow_imports = silent
ignore_missing_imports = True

[mypy-torch.*,onnx.*,PIL.*]
follow_imports = skip
"""
"""Without the types of these, which take most of a minute to read."""


def public_functions():
    return {name for name in dc.__all__ if inspect.isfunction(getattr(dc, name))}


def called():
    calls = (node.func for node in ast.walk(ast.parse(SCRIPT)) if isinstance(node, ast.Call))
    return {
        func.attr
        for func in calls
        if isinstance(func, ast.Attribute) and ast.unparse(func.value) == "dc"
    }


def test_every_public_function_is_called_in_the_script():
    assert public_functions() - called() == set()


@pytest.mark.parametrize("name", sorted(public_functions()))
def test_options_have_names_and_types(name):
    signature = inspect.signature(getattr(dc, name))
    for one in signature.parameters.values():
        assert one.kind is not one.VAR_KEYWORD, f"{name} takes any keyword"
        assert one.annotation is not one.empty, f"{name}: {one.name} has no type"
    assert signature.return_annotation not in (signature.empty, "Any")


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """What mypy --strict says of the script and, line by line, of the mistakes behind it."""
    api = pytest.importorskip("mypy.api")
    folder = tmp_path_factory.mktemp("types")
    script = folder / "script.py"
    mistakes = "\n".join(WRONG)
    script.write_text(f"{textwrap.dedent(SCRIPT)}{mistakes}\n")
    (folder / "strict.cfg").write_text(STRICT)
    before = os.environ.get("MYPYPATH")
    os.environ["MYPYPATH"] = str(ROOT)
    try:
        lines, errors, _ = api.run(
            [
                str(script),
                f"--config-file={folder / 'strict.cfg'}",
                "--cache-dir=/dev/null",
            ]
        )
    finally:
        os.environ.pop("MYPYPATH")
        if before is not None:
            os.environ["MYPYPATH"] = before
    assert not errors
    found = {}
    for line in lines.splitlines():
        if ": error: " in line:
            place, _, text = line.partition(": error: ")
            found.setdefault(int(place.rpartition(":")[2]), []).append(text)
    return script.read_text().splitlines(), found


def test_a_users_script_passes_mypy_strict(checked):
    lines, found = checked
    assert {lines[number - 1]: text for number, text in found.items()
            if lines[number - 1] not in WRONG} == {}  # fmt: skip


@pytest.mark.parametrize("line", WRONG)
def test_an_editor_sees_a_mistake(checked, line):
    lines, found = checked
    assert WRONG[line] in " ".join(found.get(lines.index(line) + 1, []))

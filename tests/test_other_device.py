"""Networks, losses and training where tensors are not on the CPU: see `other_device`."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

import lightning.pytorch as pl
import torch
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy

import darkconv as dc
from darkconv.assets import digits10_folder, digits10_pictures, load_digits10
from darkconv.backends.torch import to_torch
from darkconv.training import job
from darkconv.training.darknet_norm import use_darknet_norms
from darkconv.training.objective import LabelObjective
from darkconv.training.validation import evaluate_module
from effort import few
from networks import MICRO, initial_model, micro_model, network
from other_device import DEVICE, OtherTensor, moved, other_device
from test_overfit import HEADS, TRUNK
from trainings import assert_same_weights, beginning, train

DENSE = "[connected]\noutput=5\nactivation=linear\n\n"
CLASSIFIERS = {
    "softmax": ("alexeyab", f"{DENSE}[softmax]\n\n[cost]\n"),
    "pjreddie softmax": ("pjreddie", f"{DENSE}[softmax]\n"),
    "logistic": ("pjreddie", f"{DENSE}[logistic]\n\n[cost]\n"),
    "cost sse": ("pjreddie", f"{DENSE}[cost]\ntype=sse\n"),
    "cost L1": ("pjreddie", f"{DENSE}[cost]\ntype=L1\n"),
    "cost smooth": ("alexeyab", f"{DENSE}[cost]\ntype=smooth\n"),
}
LOSSES = {**HEADS, **CLASSIFIERS}


def test_the_device_refuses_what_a_gpu_refuses():
    here, there = torch.ones(2), OtherTensor(torch.ones(2))
    with other_device():
        with pytest.raises(AssertionError, match=r"aten\.add\.Tensor on the other device"):
            here + there
        with pytest.raises(AssertionError, match=r"aten\.index\.Tensor on the other device"):
            here[there.long()]
        assert torch.equal(
            (there * torch.tensor(2.0) + there.new_tensor([1, 2])).cpu(),
            here + 2 + torch.tensor([0, 1]),
        )
        assert torch.zeros(2, device=there.device).values.shape == (2,)


@pytest.mark.parametrize("folder", MICRO, ids=lambda folder: folder.name)
@pytest.mark.parametrize("mode", few(["inference", "training", "darknet norms"], 1))
def test_every_layer_gives_the_same_values(folder, mode):
    model, _ = micro_model(folder)
    plain, other = to_torch(model), to_torch(model)
    for module in (plain, other):
        module.train(mode != "inference")
        if mode == "darknet norms":
            use_darknet_norms(module)
    torch.manual_seed(0)
    x = torch.rand(2, *model.network.input_shape)
    with torch.set_grad_enabled(mode != "inference"):
        torch.manual_seed(1)
        expected = plain(x)
        torch.manual_seed(1)
        with other_device():
            found = moved(other)(OtherTensor(x))
            total = sum(value.sum() for value in found)
            if total.requires_grad:
                total.backward()
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours.detach().values, theirs.detach(), 1e-4, 1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_every_loss_gives_the_same_costs_and_gradients(name, rule):
    dialect, head = LOSSES[name]
    net = network(TRUNK + head, shape=(3, 96, 96), dialect=dialect)
    model = initial_model(net)
    torch.manual_seed(0)
    x, truths = torch.rand(2, 3, 96, 96), torch.eye(5)[[1, 4]]
    if name in HEADS:
        truths = 0.3 + 0.4 * torch.rand(2, 6, 5)
        truths[..., 0] = torch.randint(0, 10, (2, 6))
        truths[1, 3:] = torch.tensor([-1.0, 0, 0, 0, 0])
    objective = LabelObjective(net, rule)
    plain, other = to_torch(model).train(), moved(to_torch(model).train())
    expected = objective.costs(plain.select(x, objective.layers), x, truths, 64_000)
    expected["loss"].backward()
    with other_device():
        x, truths = OtherTensor(x), OtherTensor(truths)
        found = objective.costs(other.select(x, objective.layers), x, truths, 64_000)
        found["loss"].backward()
    for part, cost in expected.items():
        assert torch.allclose(found[part].detach().values, cost.detach(), 1e-4), part
    for ours, theirs in zip(other.parameters(), plain.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None)
        if theirs.grad is not None:
            most = float(theirs.grad.abs().max())
            assert float((ours.grad.values - theirs.grad).abs().max()) <= 1e-4 * most


@pytest.mark.parametrize("batch", [1, 3])
def test_detection_meets_no_tensor_of_the_cpu(batch):
    model, pictures = load_digits10(), digits10_pictures()[:4]
    expected = dc.Detector(model, device="cpu", batch=batch)(pictures)
    with other_device():
        found = dc.Detector(model, device=DEVICE.type, batch=batch)(pictures)
        with pytest.raises(AssertionError, match="with tensors of the CPU"):
            moved(dc.to_torch(model))(torch.zeros(1, *model.network.input_shape))
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours) > 0
        assert ours.names == theirs.names
        assert ours.scores == pytest.approx(theirs.scores, abs=1e-4)


@pytest.mark.parametrize("taylor", [False, True], ids=["statistics", "gradients"])
def test_profiling_meets_no_tensor_of_the_cpu(taylor):
    model, pictures = load_digits10(), digits10_pictures()[:5]
    expected = dc.profile(model, pictures, batch=2, taylor=taylor, device="cpu")
    with other_device():
        found = dc.profile(model, pictures, batch=2, taylor=taylor, device=DEVICE.type)
    for index, layer in expected.layers.items():
        assert found.mean[index] == pytest.approx(layer.mean, abs=1e-5)
        assert found.variance[index] == pytest.approx(layer.variance, rel=1e-3)
        if taylor:
            assert found.layers[index].effect == pytest.approx(layer.effect, rel=1e-3)


def test_dissection_meets_no_tensor_of_the_cpu():
    model, pictures = load_digits10(), digits10_pictures()[:5]
    options = {"keep": ["one", "two"], "images": pictures, "batch": 2, "all_pictures": True}
    expected = dc.dissect(model, **options, device="cpu")
    with other_device():
        found = dc.dissect(model, **options, device=DEVICE.type)
    assert found.plan.to_dict()["layers"] == expected.plan.to_dict()["layers"]
    for key, array in expected.model.arrays.items():
        assert found.model.arrays[key] == pytest.approx(array, abs=1e-3)


class Accelerator(CPUAccelerator):
    """Takes any device."""

    def setup_device(self, device):
        """Nothing to do."""


class Strategy(SingleDeviceStrategy):
    """Trains on the other device."""

    def __init__(self):
        super().__init__(device=DEVICE, accelerator=Accelerator())

    def model_to_device(self):
        moved(self.model)

    def teardown(self):
        """Nothing is moved back."""


class Trainer(pl.Trainer):
    """Lightning's, on the other device."""

    def __init__(self, **options):
        super().__init__(**{**options, "accelerator": "auto", "strategy": Strategy()})


@pytest.mark.slow
@pytest.mark.parametrize("taught", [False, True], ids=["labels", "teacher"])
def test_a_whole_training_comes_to_the_same_weights(tmp_path, monkeypatch, taught):
    start, teacher = beginning(taught=taught)
    rows = {"here": [], "there": []}

    def trained(place):
        report = rows[place].append
        return train(tmp_path / place, start, teacher, report=report, valid=True)

    plain = trained("here")
    monkeypatch.setattr(job.pl, "Trainer", Trainer)
    with other_device():
        ours = trained("there")
    assert rows["there"][-1]["AP"] == pytest.approx(rows["here"][-1]["AP"], abs=0.02)
    assert_same_weights(ours, plain, start)


def test_evaluation_meets_no_tensor_of_the_cpu():
    pytest.importorskip("faster_coco_eval")
    model = load_digits10()
    data = dc.open_dataset(digits10_folder() / "digits10.data")
    plain = dc.evaluate(model, data, device="cpu")
    with other_device():
        found = dc.evaluate(load_digits10(), data, device=DEVICE.type)
        trained = evaluate_module(moved(to_torch(model)), model, data, letterbox=False)
    assert found.mean == trained.mean == plain.mean

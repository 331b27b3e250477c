"""Training through torch.compile."""

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

import torch

import darkconv as dc
from darkconv.assets import digits10_folder
from darkconv.backends.torch import to_torch
from darkconv.errors import DarkconvError
from darkconv.training import device
from darkconv.training.device import CompiledSelect, Machine, telling_of_failures
from networks import MICRO, micro_model, network, random_model
from trainings import assert_same_weights, beginning, train

ROOT = Path(dc.__file__).parents[1]
QUICK = (
    "alexeyab-conv-lstm",
    "alexeyab-crnn",
    "alexeyab-dropout",
    "alexeyab-gru",
    "alexeyab-lstm",
    "alexeyab-mini-yolov4-tiny",
    "pjreddie-deconv-2x2-stride2",
    "pjreddie-rnn",
)
BODY = "[convolutional]\nbatch_normalize=1\nfilters=4\nsize=3\nstride=2\npad=1\nactivation=mish\n"

needs_compiler = pytest.mark.skipif(
    not shutil.which("g++"), reason="PyTorch compiles for the CPU with g++, which is not installed"
)


@pytest.fixture(autouse=True)
def fresh():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def close(ours, theirs, share):
    """Whether tensors agree within a share of the largest value."""
    ours, theirs = ours.detach(), theirs.detach()
    return float((ours - theirs).abs().max()) <= share * max(float(theirs.abs().max()), 1e-6)


def trained(select, module, x, wanted):
    """Values, gradients and the state after one pass in training."""
    torch.manual_seed(0)
    values = select(module, x, wanted)
    with_gradient = [value for value in values.values() if value.requires_grad]
    if with_gradient:
        sum(value.square().sum() for value in with_gradient).backward()
    gradients = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    return values, gradients, module.state_dict()


@pytest.mark.parametrize(
    "folder",
    [pytest.param(f, id=f.name, marks=() if f.name in QUICK else pytest.mark.slow) for f in MICRO],
)
def test_every_layer_is_compiled_into_one_graph_of_the_same_numbers(folder, monkeypatch):
    monkeypatch.setattr(device, "compiled", one_graph)
    model, wanted = micro_model(folder)
    module = to_torch(model).train()
    x = torch.rand(2, *model.network.input_shape)
    plain = trained(type(module).select, copy.deepcopy(module), x, wanted)
    ours = trained(CompiledSelect(), module, x, wanted)
    for one, other, share in zip(ours, plain, (1e-5, 1e-4, 1e-5), strict=True):
        assert one.keys() == other.keys()
        assert all(close(one[key], other[key], share) for key in other)


def one_graph(run):
    """Everything but the making of machine code, which takes seconds."""
    return torch.compile(run, backend="aot_eager", fullgraph=True, dynamic=False)


def test_names_of_the_quick_networks_exist():
    assert set(QUICK) <= {folder.name for folder in MICRO}


def test_every_size_is_compiled_once_and_none_is_left_out(monkeypatch):
    graphs = []

    def count(graph, inputs):
        graphs.append(tuple(inputs[0].shape))
        return graph.forward

    real = torch.compile

    def counted(run, *, dynamic, recompile_limit, **_):
        return real(run, backend=count, dynamic=dynamic, recompile_limit=recompile_limit)

    monkeypatch.setattr(torch, "compile", counted)
    module = to_torch(random_model(network(BODY, (3, 32, 32))))
    select = CompiledSelect()
    sizes = [(8 * side, 16) for side in range(1, 21)]
    for _ in range(2):
        for size in sizes:
            x = torch.rand(1, 3, *size)
            assert close(select(module, x, [0])[0], module.select(x, [0])[0], 1e-5)
    assert len(graphs) == len(sizes)


def test_errors_of_training_itself_stay_what_they_are():
    with pytest.raises(RuntimeError, match="out of memory"), telling_of_failures():
        raise RuntimeError("out of memory")


def test_pytorch_without_a_compiler_for_this_python(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("torch.compile is not supported on Python 3.15+")

    monkeypatch.setattr(torch, "compile", refuse)
    module = to_torch(random_model(network(BODY)))
    with pytest.raises(DarkconvError, match=r"not supported on Python 3.15\+"):
        CompiledSelect()(module, torch.rand(1, 3, 8, 8), [0])


def test_a_failed_compilation_is_told_without_advice_to_developers(monkeypatch):
    def fail(graph, inputs):
        raise ValueError("strange strides")

    monkeypatch.setattr(device, "compiled", lambda run: torch.compile(run, backend=fail))
    module = to_torch(random_model(network(BODY)))
    with pytest.raises(DarkconvError, match="strange strides") as caught, telling_of_failures():
        CompiledSelect()(module, torch.rand(1, 3, 8, 8), [0])
    assert "TORCH_LOGS" not in str(caught.value)


def test_synchronised_norms_are_refused_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(Machine, "on_gpu", True)
    computing = {"devices": 2, "compile": True}
    with pytest.raises(DarkconvError, match="batch norms that several GPUs synchronise"):
        train(tmp_path, *beginning(taught=False), computing=computing)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@needs_compiler
@pytest.mark.parametrize("taught", [False, True], ids=["labels", "teacher"])
def test_compiled_training_comes_to_the_same_weights(tmp_path, taught):
    start, teacher = beginning(taught=taught)
    plain = train(tmp_path / "plain", start, teacher, averaging=0, draw_every=0)
    ours = train(
        tmp_path / "compiled", start, teacher, averaging=0, draw_every=0,
        computing={"device": "cpu", "compile": True},
    )  # fmt: skip
    assert_same_weights(ours, plain, start)


@pytest.mark.slow
def test_a_missing_compiler_is_one_clear_line(tmp_path):
    line = "finetune {0}.cfg {0}.weights --data {0}.data --split valid --device cpu --compile"
    words = line.format(digits10_folder() / "digits10").split()
    environment = {**os.environ, "CXX": "no-such-compiler", "PYTHONPATH": str(ROOT)}
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path / "cache")
    result = subprocess.run(
        [sys.executable, "-m", "darkconv", *words, "-o", "out.cfg", "out.weights"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert "error: PyTorch cannot compile the network: " in result.stderr
    assert "C++ compiler" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out.weights").exists()

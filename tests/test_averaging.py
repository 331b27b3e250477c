"""The moving average of weights that training keeps."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pl = pytest.importorskip("lightning.pytorch")

from darkconv.training.averaging import Averaging  # noqa: E402
from darkconv.training.training import Training  # noqa: E402


def numbers(module):
    return torch.cat([t.detach().double().flatten() for t in module.state_dict().values()])


def test_an_average_starts_at_the_first_step_and_moves_more_slowly_with_each():
    module = torch.nn.Linear(3, 2)
    module.register_buffer("mean", torch.zeros(2))
    training = Training.__new__(Training)
    pl.LightningModule.__init__(training)
    training.module = module
    averaging = Averaging(keep=0.6)
    averaging.setup(SimpleNamespace(), training, "fit")
    stream, expected = torch.Generator().manual_seed(0), None
    for step in range(1, 30):
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.detach().copy_(torch.randn(tensor.shape, generator=stream))
        for _ in range(2):  # a second part of the same step changes nothing
            averaging.on_train_batch_end(SimpleNamespace(global_step=step), training)
        share = min(0.6, (step - 1) / (step + 9))
        now = numbers(module)
        expected = now if expected is None else share * expected + (1 - share) * now
        torch.testing.assert_close(
            numbers(averaging.module_of(training)), expected, rtol=1e-5, atol=1e-6
        )
    assert averaging.count == 29

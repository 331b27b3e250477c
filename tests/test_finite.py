"""NaN and infinity in arrays, and memory that is asked about before it is asked for."""

import numpy as np
import pytest

import darkconv as dc
from darkconv.core import memory
from darkconv.core.finite import check_finite, count_nonfinite
from darkconv.core.memory import require_memory
from darkconv.errors import GraphError, WeightsError, Where
from networks import cfg_text, initial_model, network, random_model

BODY = "[convolutional]\nfilters=2\nsize=3\npad=1\n[connected]\noutput=3\n"


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ([1, 2], 0),
        ([3e38, -3e38, 0], 0),
        ([1e-45, -0.0], 0),
        ([np.nan, 1, np.inf, -np.inf], 3),
        ([np.inf, -np.inf], 2),
        ([], 0),
    ],
)
def test_values_that_are_not_finite_are_counted(values, count):
    assert count_nonfinite(np.array(values, np.float32)) == count


def test_the_first_array_with_nan_is_named_and_all_are_counted():
    model = random_model(network(BODY))
    weights = model.arrays["1.weights"].copy()
    weights[0, 0] = np.nan
    broken = dc.replace_arrays(model, {"0.biases": [np.inf, np.nan], "1.weights": weights})
    with pytest.raises(WeightsError) as caught:
        check_finite(broken, "net.weights", remedy="train it again")
    assert str(caught.value) == (
        "net.weights: layer 0 [convolutional]: 2 of the 2 values of its biases are NaN or "
        "infinite, and 1 in other arrays\n"
        "  hint: the training has diverged, or the file is damaged; train it again"
    )


def test_load_looks_unless_told_otherwise(tmp_path):
    model = random_model(network(BODY))
    broken = dc.replace_arrays(model, {"0.biases": [np.nan, 0]})
    dc.save(broken, tmp_path / "a.cfg", tmp_path / "a.weights", allow_nonfinite=True)
    files = tmp_path / "a.cfg", tmp_path / "a.weights"
    with pytest.raises(dc.WeightsError, match="allow_nonfinite=True uses it"):
        dc.load(*files, dialect="alexeyab")
    back = dc.load(*files, dialect="alexeyab", allow_nonfinite=True)
    assert np.isnan(back.arrays["0.biases"][0])


def test_initial_values_are_not_made_to_be_looked_at(tmp_path, monkeypatch):
    (tmp_path / "a.cfg").write_text(cfg_text(BODY))
    model = dc.load(tmp_path / "a.cfg")
    monkeypatch.setattr(memory, "free_memory", lambda: 0)
    check_finite(model, "a.cfg")


def test_initial_values_need_memory(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 100)
    with pytest.raises(GraphError, match=r"^test.cfg: making its initial arrays takes 1.77 kB"):
        initial_model(network(BODY)).arrays["0.biases"]


@pytest.mark.parametrize(("free", "is_enough"), [(None, True), (1000, True), (999, False)])
def test_memory_is_asked_about(monkeypatch, free, is_enough):
    monkeypatch.setattr(memory, "free_memory", lambda: free)
    if is_enough:
        require_memory(1000, what="it", where=Where())
    else:
        with pytest.raises(GraphError, match="it takes 1 kB of memory, more than there is"):
            require_memory(1000, what="it", where=Where())


def test_a_container_may_have_less_than_the_machine(monkeypatch, tmp_path):
    info, limit = tmp_path / "meminfo", tmp_path / "memory.max"
    info.write_text("MemTotal: 9 kB\nMemAvailable:       8 kB\n")
    monkeypatch.setattr(memory, "MEMORY_INFO", info)
    monkeypatch.setattr(memory, "GROUP_LIMIT", limit)
    assert memory.free_memory() == 8192
    limit.write_text("4096\n")
    assert memory.free_memory() == 4096
    limit.write_text("max\n")
    assert memory.free_memory() == 8192


def test_without_the_systems_table_what_is_installed_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "MEMORY_INFO", tmp_path / "none")
    monkeypatch.setattr(memory, "GROUP_LIMIT", tmp_path / "none")
    assert memory.free_memory() > 2**20

"""reconstruct: weights refitted to what the whole network's layers give."""

import logging
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import darkconv as dc  # noqa: E402
from darkconv.errors import DarkconvError, PlanError  # noqa: E402
from darkconv.profiling.fitting import fit_weights  # noqa: E402
from darkconv.surgery.fingerprint import fingerprint  # noqa: E402
from darkconv.surgery.plan import PrunePlan  # noqa: E402
from networks import network, random_model  # noqa: E402
from plans import unguarded_plan  # noqa: E402

CONV = "[convolutional]\nfilters={}\nsize={}\nactivation=leaky\n{}\n"
FIRST = CONV.format(8, 3, "batch_normalize=1\npad=1")
LAST = CONV.format(6, 1, "")
MIDDLES = {
    "norm": CONV.format(8, 3, "pad=1\nbatch_normalize=1"),
    "bias": CONV.format(8, 3, "pad=1"),
    "stride": CONV.format(8, 3, "pad=1\nbatch_normalize=1\nstride=2"),
    "two strides": CONV.format(8, 3, "pad=1\nstride_x=1\nstride_y=2"),
    "dilated": CONV.format(8, 3, "pad=1\ndilation=2"),
    "even": CONV.format(8, 2, "pad=1\nbatch_normalize=1"),
    "unpadded": CONV.format(8, 3, ""),
    "blurred": CONV.format(8, 3, "pad=1\nantialiasing=1\nstride=2"),
}
"""Layers between two convolutions, whose inputs can be made up for by each other."""
BOUND = {
    "squeezed": "[avgpool]\n\n" + CONV.format(8, 1, "") + "[scale_channels]\nfrom=-3\n\n",
    "depthwise": CONV.format(8, 3, "pad=1\ngroups=8\nbatch_normalize=1"),
    "grouped": CONV.format(8, 3, "pad=1\ngroups=2"),
    "joined": CONV.format(8, 3, "pad=1\nbatch_normalize=1") + "[shortcut]\nfrom=-2\n\n",
    "original": CONV.format(8, 3, "pad=1\nbatch_normalize=1"),
}


def model_of(*parts, dialect="alexeyab"):
    return random_model(network("".join(parts), shape=(3, 20, 24), dialect=dialect))


def pictures(count=6, seed=0):
    """Smooth ones, so that neighbouring pixels tell of each other."""
    stream = np.random.default_rng(seed)
    small = stream.integers(0, 256, (count, 5, 6, 3)).astype(np.uint8)
    return list(small.repeat(4, axis=1).repeat(4, axis=2))


def plan_of(model, keep):
    kept = {layer: np.array(channels) for layer, channels in keep.items()}
    return PrunePlan(fingerprint(model), kept)


def output(model, images):
    x = np.stack([image.transpose(2, 0, 1) for image in images]).astype(np.float32) / 255
    return dc.trace(model, x)[-1]


def relative_error(model, original):
    """On pictures that nothing was fitted to."""
    found, wanted = (output(one, pictures(seed=9)) for one in (model, original))
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def with_copies(model):
    """The model, the last four filters of its first layer being copies of the first four."""
    keys = [key for key in model.arrays if key.startswith("0.")]
    changed = {key: np.concatenate([model.arrays[key][:4]] * 2) for key in keys}
    return dc.replace_arrays(model, changed)


@pytest.mark.parametrize("middle", MIDDLES.values(), ids=MIDDLES)
def test_channels_that_others_repeat_are_made_up_for(middle):
    whole = with_copies(model_of(FIRST, middle, LAST))
    plan = plan_of(whole, {0: range(4)})
    pruned = dc.prune(whole, plan, compensate=False)
    small = dc.reconstruct(pruned, whole, plan, pictures(), ridge=1e-9)
    assert relative_error(pruned, whole) > 0.05
    assert relative_error(small, whole) < 1e-3


@pytest.mark.parametrize("middle", [*MIDDLES.values(), *BOUND.values()], ids=[*MIDDLES, *BOUND])
def test_unseen_pictures_get_nearer_to_the_original(middle):
    dialect = "pjreddie" if middle is BOUND["original"] else "alexeyab"
    whole = model_of(FIRST, middle, LAST, dialect=dialect)
    profile = dc.profile(whole, pictures(40))
    plan = unguarded_plan(whole, profile, score="mean_abs", keep=0.5, multiple=4)
    pruned = dc.prune(whole, plan, compensate=True)
    small = dc.reconstruct(pruned, whole, plan, pictures(40))
    assert relative_error(small, whole) < relative_error(pruned, whole)


def test_nothing_changes_where_nothing_was_removed():
    whole = model_of(FIRST, MIDDLES["norm"], LAST)
    same = dc.reconstruct(whole, whole, plan_of(whole, {}), pictures())
    for key, array in whole.arrays.items():
        np.testing.assert_allclose(same.arrays[key], array, atol=2e-6)


def test_scales_and_variances_stay_bit_for_bit():
    whole = model_of(FIRST, MIDDLES["norm"], LAST)
    plan = plan_of(whole, {0: range(4)})
    pruned = dc.prune(whole, plan)
    small = dc.reconstruct(pruned, whole, plan, pictures())
    for key, array in pruned.arrays.items():
        fitted = key.endswith(("weights", "rolling_mean")) or key == "2.biases"
        assert np.array_equal(small.arrays[key], array) != fitted, key


def test_layers_that_share_arrays_stay_as_they_are():
    shared = CONV.format(8, 3, "pad=1") + CONV.format(8, 3, "pad=1\nshare_index=1")
    whole = model_of(FIRST, shared, LAST)
    plan = unguarded_plan(whole, score="l1", keep=0.5)
    pruned = dc.prune(whole, plan)
    small = dc.reconstruct(pruned, whole, plan, pictures())
    assert np.array_equal(small.arrays["1.weights"], pruned.arrays["1.weights"])
    assert not np.array_equal(small.arrays["0.weights"], pruned.arrays["0.weights"])


def test_a_plan_from_a_file_will_do(tmp_path):
    whole = model_of(FIRST, BOUND["depthwise"], LAST)
    plan = plan_of(whole, {0: range(4)})
    plan.save(tmp_path / "p.json")
    loaded = PrunePlan.load(tmp_path / "p.json")
    pruned = dc.prune(whole, loaded)
    a, b = (dc.reconstruct(pruned, whole, p, pictures()) for p in (plan, loaded))
    assert all(np.array_equal(a.arrays[key], b.arrays[key]) for key in a.arrays)


def test_little_memory_takes_fewer_pictures(caplog):
    whole = model_of(FIRST, LAST)
    plan = plan_of(whole, {0: range(4)})
    with caplog.at_level(logging.INFO, "darkconv"):
        dc.reconstruct(dc.prune(whole, plan), whole, plan, pictures(10), memory=400_000)
    assert "of 10 pictures, for want of memory" in caplog.text


def test_progress_counts_layers():
    whole = model_of(FIRST, LAST)
    plan = plan_of(whole, {0: range(4)})
    done = []
    dc.reconstruct(dc.prune(whole, plan), whole, plan, pictures(), progress=done.append)
    assert done == [1, 2]


def test_mistakes_are_told():
    whole, other = model_of(FIRST, LAST), model_of(FIRST, MIDDLES["norm"], LAST)
    plan = plan_of(whole, {0: range(4)})
    with pytest.raises(PlanError, match="for another model"):
        dc.reconstruct(whole, other, plan, pictures())
    with pytest.raises(PlanError, match=r"layer 0 is not what .* with 4 channels, found .* 8"):
        dc.reconstruct(whole, whole, plan, pictures())
    with pytest.raises(DarkconvError, match="no picture could be read"):
        dc.reconstruct(dc.prune(whole, plan), whole, plan, ["nowhere.jpg"])


def test_the_ridge_holds_weights_that_the_pictures_say_nothing_about():
    conv = torch.nn.Conv2d(2, 1, 1, bias=False)
    seen = torch.zeros(2, 1, 50)
    seen[0] = torch.linspace(-1, 1, 50)
    fit = fit_weights(conv, seen, 3 * seen[0], 1e-6)
    assert fit.weights.flatten()[0] == pytest.approx(3, abs=1e-4)
    assert fit.weights.flatten()[1] == pytest.approx(conv.weight[0, 1].item(), abs=1e-6)
    assert fit.error < 1e-6 < fit.error_before


SCRIPT = """
import os, sys
from pathlib import Path
import numpy as np
import darkconv as dc
folder, batch = Path(sys.argv[1]), int(sys.argv[2])
whole, pruned = (dc.load(folder / f"{n}.cfg", folder / f"{n}.weights") for n in ("a", "b"))
plan = dc.PrunePlan.load(folder / "p.json")
images = list(np.load(folder / "pictures.npy"))
done = dc.reconstruct(pruned, whole, plan, images, batch=batch, device="cpu")
np.savez(folder / f"rank{os.environ.get('RANK', '')}.npz", **done.arrays)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("count", "batch"), [(6, 2), (5, 8), (1, 8)])
def test_two_processes_fit_what_one_fits(count, batch, tmp_path):
    whole = with_copies(model_of(FIRST, *MIDDLES.values(), BOUND["squeezed"], LAST))
    plan = unguarded_plan(whole, score="l1", keep=0.5)
    pruned = dc.prune(whole, plan)
    for name, model in (("a", whole), ("b", pruned)):
        dc.save(model, tmp_path / f"{name}.cfg", tmp_path / f"{name}.weights")
    plan.save(tmp_path / "p.json")
    np.save(tmp_path / "pictures.npy", np.stack(pictures(count)))
    (tmp_path / "script.py").write_text(SCRIPT)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = [tmp_path / "script.py", tmp_path, str(batch)]
    subprocess.run([*run, *words], check=True, capture_output=True)
    one = dc.reconstruct(pruned, whole, plan, pictures(count), batch=batch, device="cpu")
    first, second = (np.load(tmp_path / f"rank{rank}.npz") for rank in "01")
    for key, array in one.arrays.items():
        assert np.array_equal(first[key], second[key]), key
        most = np.abs(array).max()
        assert np.abs(first[key] - array).max() <= 1e-5 * most, key

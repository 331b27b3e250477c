"""Learning from a teacher: which channels correspond, and what a distance is made of."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import darkconv as dc  # noqa: E402
from darkconv.errors import PlanError  # noqa: E402
from darkconv.surgery.correspondence import find_kept  # noqa: E402
from darkconv.training.distillation import TeacherObjective, shared_features  # noqa: E402
from networks import network, random_model  # noqa: E402
from plans import unguarded_plan  # noqa: E402

CONV = "[convolutional]\nbatch_normalize=1\nfilters={}\nsize={}\npad=1\nactivation={}\n"
TRUNK = (
    CONV.format(8, 3, "leaky")
    + CONV.format(8, 1, "linear")
    + CONV.format(16, 3, "leaky")
    + CONV.format(8, 1, "linear")
    + "[shortcut]\nfrom=-3\nactivation=linear\n"
)
HEADS = {
    "yolo": (24, "[yolo]\nmask=0,1,2\nanchors=2,3, 4,5, 6,7\nclasses=3\nnum=3\n"),
    "new_coords": (24, "[yolo]\nnew_coords=1\nanchors=2,3, 4,5, 6,7\nclasses=3\nnum=3\n"),
    "Gaussian_yolo": (36, "[Gaussian_yolo]\nmask=0,1,2\nanchors=2,3, 4,5, 6,7\nclasses=3\nnum=3\n"),
    "region": (24, "[region]\nanchors=2,3, 4,5, 6,7\nclasses=3\nnum=3\nsoftmax=1\n"),
    "region_logistic": (24, "[region]\nanchors=2,3, 4,5, 6,7\nclasses=3\nnum=3\n"),
    "softmax": (3, "[avgpool]\n\n[softmax]\n"),
}  # fmt: skip
NAMES = ("a", "b", "c")


def teacher_of(kind):
    filters, head = HEADS[kind]
    last = f"[convolutional]\nfilters={filters}\nsize=1\nactivation=linear\n"
    return random_model(network(TRUNK + last + head), names=NAMES)


def costs_of(student, teacher, **options):
    objective = TeacherObjective(student, teacher, **options)
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    module = dc.to_torch(student)
    return {
        name: float(value)
        for name, value in objective.costs(
            module.select(x, objective.layers), x, torch.empty(2, 1, 5), 0
        ).items()
    }


@pytest.mark.parametrize("compensate", [False, True])
@pytest.mark.parametrize("keep", [0.3, 0.7])
def test_pruned_channels_are_found_again(keep, compensate):
    whole = teacher_of("yolo")
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    plan = unguarded_plan(whole, dc.profile(whole, list(images)), score="mean_abs", keep=keep)
    kept = find_kept(dc.prune(whole, plan, compensate=compensate), whole)
    assert sorted(kept) == [0, 1, 2, 3]
    for layer, channels in kept.items():
        every = np.arange(whole.network.layers[layer].out_shape.c)
        assert np.array_equal(channels, plan.keep.get(layer, every))


def test_trained_layers_are_not_taken_for_others():
    whole = teacher_of("yolo")
    changed = dc.replace_arrays(whole, {"2.scales": whole.arrays["2.scales"] * 1.01})
    assert sorted(find_kept(changed, whole)) == [0, 1, 3]


def test_ends_of_blocks_are_compared_and_heads_are_not():
    whole = teacher_of("yolo")
    assert [f.layer for f in shared_features(whole, whole)] == [1, 3, 4]


@pytest.mark.parametrize("kind", HEADS)
def test_a_model_is_no_distance_from_itself(kind):
    whole = teacher_of(kind)
    costs = costs_of(whole, whole)
    assert max(abs(value) for value in costs.values()) < 1e-5
    assert "features" in costs


@pytest.mark.parametrize("kind", HEADS)
def test_every_part_counts_what_differs(kind):
    """Every part falls as the student comes nearer to the teacher."""
    whole = teacher_of(kind)
    last = max(i for i, la in enumerate(whole.network.layers) if la.type == "convolutional")
    key = f"{last}.weights"
    noise = np.random.default_rng(1).normal(size=whole.arrays[key].shape).astype(np.float32)
    found = [
        costs_of(dc.replace_arrays(whole, {key: whole.arrays[key] + scale * noise}), whole)
        for scale in (0.4, 0.1)
    ]
    parts = set(found[0]) - {"features"}
    assert "classes" in parts
    for name in parts:
        assert 0 < found[1][name] < found[0][name], name
    assert found[0]["features"] == 0


def test_total_is_the_weighted_sum():
    whole = teacher_of("yolo")
    other = random_model(whole.network, seed=5, names=NAMES)
    marks = {
        k: v for k, v in whole.arrays.items() if k.split(".")[1] in ("scales", "rolling_variance")
    }
    other = dc.replace_arrays(other, marks)
    costs = costs_of(other, whole, feature_weight=3.0)
    parts = sum(v for k, v in costs.items() if k not in ("loss", "features"))
    assert costs["loss"] == pytest.approx(parts + 3 * costs["features"], rel=1e-5)
    assert "features" not in costs_of(other, whole, feature_weight=0.0)


def test_classes_are_found_by_name():
    whole = teacher_of("yolo")
    small = dc.reclass(whole, ["c", "a"])
    costs = costs_of(small, whole)
    assert max(abs(value) for value in costs.values()) < 1e-5


def test_a_class_that_the_teacher_lacks_is_an_error():
    whole = teacher_of("yolo")
    small = dc.reclass(whole, ["c", "a"])
    with pytest.raises(PlanError, match="the teacher does not know b"):
        TeacherObjective(whole, small)


def test_other_heads_are_an_error():
    with pytest.raises(PlanError, match="expected heads yolo, found region"):
        TeacherObjective(teacher_of("yolo"), teacher_of("region"))


def test_gradients_reach_the_student_alone():
    whole = teacher_of("yolo")
    student = dc.to_torch(random_model(whole.network, seed=3, names=NAMES)).train()
    objective = TeacherObjective(dc.from_torch(student), whole)
    x = torch.rand(2, 3, 8, 8)
    costs = objective.costs(student.select(x, objective.layers), x, torch.empty(2, 1, 5), 0)
    costs["loss"].backward()
    assert all(p.grad is not None for p in student.parameters())
    assert all(p.grad is None for p in objective.module.parameters())


def test_the_layers_to_compare_can_be_chosen():
    whole = teacher_of("yolo")
    assert [f.layer for f in shared_features(whole, whole, (2, 0))] == [0, 2]
    objective = TeacherObjective(whole, whole, feature_layers=(2,))
    assert objective.layers == {2, whole.network.heads[0].sources[0]}
    with pytest.raises(PlanError, match=r"layer 5 cannot be compared .* expected some of 0, 1, 2"):
        shared_features(whole, whole, (5,))

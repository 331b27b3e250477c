"""The layers of darkconv against tests/oracle.py, on the golden cases and on random networks."""

import itertools
import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, note
from hypothesis import strategies as st

import darkconv as dc
import oracle
from drafts import (
    EACH,
    KINDS,
    ON_ANYTHING,
    ON_MAPS,
    Draft,
    P,
    checked,
    crnn,
    drawn_inputs,
    drawn_model,
    has_square_crnn,
    maps,
    vectors,
)
from reference.collection import BACKENDS, Case, assert_close

pytest.importorskip("torch")
pytest.importorskip("onnx")

FOLDERS = sorted((Path(__file__).parent / "data" / "micro").iterdir())


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL, "darkconv")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_oracle_has_the_numbers_of_c(folder):
    case = Case(folder, folder / "net.weights")
    is_batch = case.layout.get("batch", 1) > 1
    for item in range(case.layout.get("batch", 1)):
        expected = {k: v[item] if is_batch else v for k, v in case.expected.items()}
        suffixes = ["", *(f"_step{k}" for k in range(1, case.layout.get("steps", 1)))]
        calls = oracle.run(case.model, [expected["input" + suffix] for suffix in suffixes])
        for suffix, outputs in zip(suffixes, calls, strict=True):
            for index, found in enumerate(outputs):
                name = f"layer_{index:03d}{suffix}"
                assert_close(found, expected[name], name)


def assert_backends_agree(model, inputs):
    """Every layer in every backend, against the oracle."""
    with np.errstate(all="ignore"):
        expected = oracle.run(model, inputs)
    note("\n".join(str(x.shape) for x in expected[0]))
    assume(all(is_usual(x) for outputs in expected for x in outputs))
    assume(all(has_clear_signs(model, *call) for call in zip(inputs, expected, strict=True)))
    assume(not is_delicate(model, inputs, expected))
    for backend in BACKENDS:
        calls = dc.trace(model, inputs, backend=backend)
        for step, (outputs, wanted) in enumerate(zip(calls, expected, strict=True)):
            assert len(outputs) == len(wanted)
            for number, (found, right) in enumerate(zip(outputs, wanted, strict=True)):
                compare(found, right, f"{backend}: layer {number}, call {step}")


def is_usual(x):
    """Numbers that float32 has, and not 0/0 of a [l2norm] of nothing."""
    return bool(np.isfinite(x).all()) and x.size > 0


def has_clear_signs(model, x, outputs):
    """Whether layers that take signs meet no value that rounding may push over zero."""
    before = [x, *outputs[:-1]]
    seen = (
        values
        for layer, values in zip(model.network.layers, before, strict=True)
        if "xnor" in layer.section.options()
    )
    return not any(((values != 0) & (np.abs(values) < 1e-4)).any() for values in seen)


def is_delicate(model, inputs, expected):
    """Whether changes of the inputs no bigger than rounding move an output out of tolerance."""
    stream = np.random.default_rng(0)
    nudged = [x + 1e-6 * np.abs(x).max() * stream.choice((-1, 1), x.shape) for x in inputs]
    with np.errstate(all="ignore"):
        moved = oracle.run(model, nudged)
    pairs = (zip(*calls, strict=True) for calls in zip(moved, expected, strict=True))
    return any(
        np.abs(a - b).max() > 1e-5 + 1e-4 * np.abs(b).max() for a, b in itertools.chain(*pairs)
    )


def compare(found, expected, what):
    """The tolerance of the golden cases; what stands for minus infinity counts by itself."""
    lowest = expected == oracle.LOWEST
    assert found.shape == expected.shape, what
    assert ((found == np.float32(oracle.LOWEST)) == lowest).all(), what
    assert_close(np.where(lowest, 0, found), np.where(lowest, 0, expected), what)


@pytest.mark.parametrize(("kind", "dialect"), KINDS, ids=lambda x: getattr(x, "__name__", x))
@given(data=st.data())
@checked(examples=15)
def test_layer_is_as_specified(kind, dialect, data):
    shapes = maps() if kind not in ON_ANYTHING else maps() | vectors()
    draft = Draft(data.draw, dialect, data.draw(shapes))
    assume(has_square_crnn(draft, kind))
    kind(draft)
    inputs = drawn_inputs(data.draw, draft.input_shape, 3)
    assert_backends_agree(drawn_model(data.draw, draft), inputs)


@given(data=st.data())
@checked(examples=15)
def test_crnn_of_the_original_exchanges_height_and_width(data):
    draft = Draft(data.draw, P, data.draw(maps()))
    crnn(draft)
    inputs = drawn_inputs(data.draw, draft.input_shape, 3)
    model = drawn_model(data.draw, draft)
    calls = zip(dc.trace(model, inputs), oracle.run(model, inputs), strict=True)
    for call, ((found,), (expected,)) in enumerate(calls):
        assert_close(found.ravel(), expected.ravel(), f"call {call}")


@given(data=st.data())
@checked(examples=100)
def test_networks_are_as_specified(data):
    draft = Draft(data.draw, data.draw(st.sampled_from(EACH)), data.draw(maps()))
    for _ in range(data.draw(st.integers(2, 4))):
        assume(draft.size < 3000)
        kinds = ON_ANYTHING if len(draft.shape) == 1 else {**ON_MAPS, **ON_ANYTHING}
        legal = [kind for kind, dialects in kinds.items() if draft.dialect in dialects]
        kind = data.draw(st.sampled_from(legal))
        assume(has_square_crnn(draft, kind))
        kind(draft)
    inputs = drawn_inputs(data.draw, draft.input_shape, 2)
    assert_backends_agree(drawn_model(data.draw, draft), inputs)

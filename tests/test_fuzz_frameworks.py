"""As test_fuzz.py, for exported models that a framework reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

for library in ("torch", "onnx", "onnxruntime"):
    pytest.importorskip(library)

from untrusted.examples import examples, inputs, read  # noqa: E402
from untrusted.frameworks import FRAMEWORKS, ONNX  # noqa: E402


@pytest.mark.parametrize("reader", FRAMEWORKS, ids=str)
def test_what_fuzzing_begins_with_is_accepted(reader, tmp_path):
    for seed in reader.seeds:
        assert reader.accepts(seed, tmp_path)


@pytest.mark.parametrize("reader", FRAMEWORKS, ids=str)
@examples(200)
@given(source=st.data())
def test_any_exported_file_is_read_or_refused(reader, tmp_path_factory, source):
    read(reader, source.draw(inputs(reader)), tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("operator", [b"LeakyRexx", b"\xe9eakyRelu"])
def test_onnxruntime_itself_says_nothing_of_a_damaged_graph(operator, tmp_path, capfd):
    """It would print to stdout, where results go, and log to stderr."""
    damaged = ONNX.seeds[0].replace(b"LeakyRelu", operator)
    assert not ONNX.accepts(damaged, tmp_path)
    assert capfd.readouterr() == ("", "")

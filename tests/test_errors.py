"""Errors: their parts and their text."""

import pytest

from darkconv.errors import (
    CfgError,
    DarkconvError,
    DatasetError,
    GraphError,
    MissingDependencyError,
    OptionError,
    PlanError,
    UnknownSectionError,
    UnsupportedError,
    WeightsError,
    Where,
)


def test_place_expectation_finding_and_hint_make_the_text():
    where = Where(file="a.cfg", line=227, layer=30, section="yolo", option="mask")
    error = GraphError(where=where, expected="indices below num=6", found="3,4,6", hint="less")
    assert str(error) == (
        "a.cfg:227: layer 30 [yolo] mask: expected indices below num=6, found 3,4,6\n  hint: less"
    )


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (Where(), ""),
        (Where(file="a.cfg"), "a.cfg"),
        (Where(line=3), "<cfg>:3"),
        (Where(layer=2, section="route"), "layer 2 [route]"),
        (Where(section="net", option="width"), "[net] width"),
    ],
)
def test_place_leaves_out_what_is_unknown(where, text):
    assert str(where) == text


def test_place_is_filled_from_a_wider_one():
    inner = Where(line=4, option="size")
    assert inner.inside(Where(file="a.cfg", line=1)) == Where(file="a.cfg", line=4, option="size")


def test_missing_library_names_the_extra_and_is_an_import_error_too():
    error = MissingDependencyError("torch", extra="torch", task="training")
    assert isinstance(error, ModuleNotFoundError)
    assert error.name == "torch"
    assert str(error) == (
        "training needs torch, which is not installed\n  hint: pip install 'darkconv[torch]'"
    )
    alone = MissingDependencyError("jax", extra=None, task="Keras")
    assert str(alone) == "Keras needs jax, which is not installed\n  hint: pip install jax"


@pytest.mark.parametrize(
    "kind",
    [CfgError, GraphError, WeightsError, UnsupportedError, PlanError, DatasetError],
)
def test_all_errors_have_one_base(kind):
    assert issubclass(kind, DarkconvError)
    assert issubclass(UnknownSectionError, CfgError)
    assert issubclass(OptionError, CfgError)


def test_a_message_cannot_command_a_terminal():
    error = OptionError("a\x07", where=Where(section="\x1b[2J", option="\r"), found="\x9b1m\u202e")
    assert str(error) == r"[\x1b[2J] \x0d: a\x07: found \x9b1m\u202e"


def test_bytes_that_are_no_text_are_shown_as_bytes():
    found = b"\xff\xc3\xa4".decode("utf-8", "surrogateescape")
    assert str(CfgError(found=found)) == r"found \xffä"


def test_a_message_repeats_no_more_than_the_start_of_what_it_is_about():
    error = CfgError("m" * 9999, where=Where(option="o" * 9999), found="f" * 9999)
    assert str(error) == f"{'o' * 60}...: {'m' * 500}...: found {'f' * 200}..."
    assert error.found == "f" * 9999

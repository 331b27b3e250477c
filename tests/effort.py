"""How much of a long walk is tried: a part of it, or all with --slow, as CI does."""

import pytest

PART = 5
"""A plain run tries one in so many random inputs."""

HEAVY = {
    "bad": 12,
    "faults": 12,
    "test_checks.py": 3,
    "test_cli_classifier.py": 4,
    "test_cli_dissect.py": 4,
    "test_cli_eval.py": 3,
    "test_cli_finetune.py": 3,
    "test_compiled.py": 3,
    "test_detector.py": 3,
    "test_docs.py": 3,
    "test_examples.py": 3,
    "test_exporting.py": 3,
    "test_finetune.py": 3,
    "test_head_forms.py": 4,
    "test_keras_files.py": 4,
    "test_keras_recipe.py": 4,
    "test_litert_full.py": 6,
    "test_loss_fitting.py": 4,
    "test_next_step.py": 4,
    "test_onnx_quantization.py": 4,
    "test_onnx_strict.py": 3,
    "test_reclass_data.py": 3,
    "test_recover.py": 4,
    "test_resize.py": 3,
    "test_resume.py": 3,
    "test_trial.py": 4,
}
"""Folders and modules whose tests train, convert or start processes: a plain run tries one in so
many of each."""

is_whole = False
"""Whether all is tried; tests/conftest.py sets it before tests are collected."""


def share(count):
    """How many random inputs to try, of so many."""
    return count if is_whole else -(-count // PART)


def few(values, count=2):
    """Parameters of which all but the first ones need --slow."""
    return [_later(value, number >= count) for number, value in enumerate(values)]


def one_in(step, values):
    """Parameters of which all but every n-th one need --slow."""
    return [_later(value, number % step > 0) for number, value in enumerate(values)]


def _later(value, is_later):
    if not is_later:
        return value
    if isinstance(value, type(pytest.param())):
        return value._replace(marks=(*value.marks, pytest.mark.slow))
    return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.slow)

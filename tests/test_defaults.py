"""What exists in Python and on the command line has the same defaults in both."""

import dataclasses
import importlib
import inspect
import re

import click
import pytest

import darkconv as dc
from darkconv.cli import main

PAIRS = {
    "detect": ("darkconv.detection.detector:detect", "darkconv.detection.detector:Detector"),
    "eval": ("darkconv.evaluation.evaluate:evaluate",),
    "profile": ("darkconv.profiling.collect:profile",),
    "prune": (
        "darkconv.surgery.plan:plan",
        "darkconv.surgery.chooser:Guards",
        "darkconv.surgery.planning:Planning",
        "darkconv.surgery.prune:prune",
        "darkconv.profiling.reconstruction:reconstruct",
    ),
    "dissect": (
        "darkconv.surgery.plan:plan",
        "darkconv.surgery.planning:Planning",
        "darkconv.surgery.prune:prune",
        "darkconv.profiling.collect:profile",
    ),
    "reclass": ("darkconv.surgery.classes:reclass",),
    "anchors": ("darkconv.dataset.anchors:anchors",),
    "convert": (
        "darkconv.loading:load",
        "darkconv.imports.importing:import_weights",
        "darkconv.backends.onnx.options:OnnxOptions",
        "darkconv.backends.onnx:write_onnx",
        "darkconv.backends.keras:to_keras",
        "darkconv.backends.keras.litert:write_litert",
    ),
    "info": ("darkconv.loading:load",),
    "verify": ("darkconv.loading:load", "darkconv.verification.verify:verify"),
    "finetune": ("darkconv.training.recipe:Recipe", "darkconv.training.run:finetune"),
}
"""Functions, or records of settings, that a command is a skin over."""

OTHERS = {
    ("finetune", "seed"): "a run says which seed it drew",
}
"""Defaults that differ on purpose, with the reason."""


def command_of(name):
    return main.get_command(click.Context(main), name)


def function_defaults(place):
    module, _, name = place.partition(":")
    for framework in ("keras", "onnx"):
        if f"backends.{framework}" in module:
            pytest.importorskip(framework)
    found = getattr(importlib.import_module(module), name)
    if dataclasses.is_dataclass(found):
        return {f.name: f.default for f in dataclasses.fields(found)}
    parameters = inspect.signature(found).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def option_default(option):
    """The default that click knows, or the number or word that the help says."""
    if not isinstance(option, click.Option):
        return None
    if isinstance(option.default, str | int | float | bool):
        return option.default
    said = re.search(r"\[default: ([^\],;]+)", option.help or "")
    return said[1] if said else None


def alike(said, default, option):
    if isinstance(default, bool):
        return said == default or said == (option.name if default else f"no {option.name}")
    if isinstance(default, int | float):
        try:
            return float(said) == default
        except ValueError:
            return False
    return said == default


@pytest.mark.parametrize("command", PAIRS)
def test_both_ways_have_the_same_defaults(command):
    compared = 0
    for place in PAIRS[command]:
        defaults = function_defaults(place)
        for option in command_of(command).params:
            default, said = defaults.get(option.name), option_default(option)
            if said is None or not isinstance(default, str | int | float):
                continue
            if (command, option.name) not in OTHERS:
                compared += 1
                assert alike(said, default, option), f"{command} --{option.name}: {place}"
    assert compared


def test_the_guards_of_a_plan_are_those_of_the_contract():
    defaults = function_defaults("darkconv.surgery.plan:plan")
    guards = {name: defaults[name] for name in ("skip_first", "min_keep", "multiple")}
    assert guards == {"skip_first": 1, "min_keep": 0.2, "multiple": 8}
    assert dc.plan

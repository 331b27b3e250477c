"""Refuse options that the user gave and that would do nothing."""

from collections.abc import Iterable

import click
from click.core import ParameterSource

_BY_USER = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)


def given_options(names: Iterable[str]) -> list[str]:
    """Return those of some options that the user gave, as they are written: `--no-fold`.

    Args:
        names: names of the command's parameters, such as `fold`.
    """
    context = click.get_current_context(silent=True)
    if context is None:
        return []
    parameters = {parameter.name: parameter for parameter in context.command.params}
    given = (name for name in names if context.get_parameter_source(name) in _BY_USER)
    return [_written(parameters[name], context.params.get(name)) for name in given]


def _written(parameter: click.Parameter, value: object) -> str:
    """Return the option as the user wrote it: its long form, or its negative one."""
    says_no = value is False and parameter.secondary_opts
    words = parameter.secondary_opts if says_no else parameter.opts
    return max(words, key=len)


def given_words(names: Iterable[str]) -> list[str]:
    """Return those of some options that the user gave, with their values, as words.

    Args:
        names: names of parameters; the command may lack some of them.
    """
    context = click.get_current_context()
    known = {parameter.name for parameter in context.command.params}
    own = [name for name in names if name in known]
    words: list[str] = []
    for name in own:
        for written in given_options([name]):
            words += [written, *_values(context.params[name])]
    return words


def _values(value: object) -> list[str]:
    """Return the value of an option as words: none for a flag, `416x320` for a size."""
    if isinstance(value, bool):
        return []
    return ["x".join(map(str, value)) if isinstance(value, tuple) else str(value)]


def refuse(*names: str, because: str) -> None:
    """Raise a usage error if the user gave one of some options, which would do nothing.

    Args:
        names: names of the command's parameters.
        because: the reason, which follows the options in the message: "is about --head nms".

    Raises:
        UsageError: the user gave one.
    """
    if found := given_options(names):
        raise click.UsageError(f"{' and '.join(found)} would do nothing: {because}")

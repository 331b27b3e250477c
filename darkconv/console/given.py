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

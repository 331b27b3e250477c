"""Several options at once: added to a command, and given to it as one value."""

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def with_options(*options: Callable[..., Any]) -> Callable[[F], F]:
    """Add options, which the help lists in this order."""

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def options_as(
    name: str, kind: type[Any], *options: Callable[..., Any]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add options that the command gets as one value.

    Args:
        name: of the value among the command's parameters.
        kind: a dataclass whose fields have the options' names; those without an option keep
            their defaults.
        options: what to add, as `with_options` does.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def collected(*args: Any, **values: Any) -> Any:
            names = [field.name for field in fields(kind) if field.name in values]
            own = kind(**{field: values.pop(field) for field in names})
            return command(*args, **{name: own}, **values)

        return with_options(*options)(collected)

    return add

"""Add several options to a command at once, also as one value."""

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import click

Record = tuple[str, str]
"""An option as the help writes it, and its help text."""
F = TypeVar("F", bound=Callable[..., Any])


def with_options(*options: Callable[..., Any]) -> Callable[[F], F]:
    """Return a decorator that adds options, which the help lists in this order.

    Args:
        options: decorators of click, each of which adds an option.
    """

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


TITLE = "darkconv_title"
"""Name of the attribute of an option that holds the title under which the help lists it."""


def titled(title: str, *options: Callable[..., Any]) -> Callable[[F], F]:
    """Return a decorator that adds options, which the help lists under a title of their own.

    Args:
        title: the title, without a colon.
        options: decorators of click, or of `with_options` and `options_as`.
    """
    add_all = with_options(*options)

    def add(command: F) -> F:
        before = len(getattr(command, "__click_params__", ()))
        command = add_all(command)
        for option in getattr(command, "__click_params__", ())[before:]:
            if not hasattr(option, TITLE):
                setattr(option, TITLE, title)
        return command

    return add


def options_by_title(command: click.Command, ctx: click.Context) -> dict[str, list[Record]]:
    """Return the help of a command's options by their titles, those without a title first.

    Args:
        command: the command.
        ctx: context of the command.
    """
    found: dict[str, list[Record]] = {"Options": []}
    for param in command.get_params(ctx):
        if record := param.get_help_record(ctx):
            found.setdefault(getattr(param, TITLE, "Options"), []).append(record)
    return {title: records for title, records in found.items() if records}


def options_as(
    name: str, kind: type[Any], *options: Callable[..., Any], title: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds options whose values the command gets as one object.

    Args:
        name: name of the object among the command's parameters.
        kind: a dataclass whose fields have the options' names; fields without an option keep
            their defaults.
        options: decorators of click, or of `with_options` and `options_as`.
        title: title under which the help lists them.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def collected(*args: Any, **values: Any) -> Any:
            names = [field.name for field in fields(kind) if field.name in values]
            own = kind(**{field: values.pop(field) for field in names})
            return command(*args, **{name: own}, **values)

        return titled(title, *options)(collected)

    return add

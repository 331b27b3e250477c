"""An extension of griffe, which reads signatures and docstrings for the API reference."""

import re
from typing import Any

import griffe

TITLE = re.compile(r"^Example:$", re.MULTILINE)
"""What our docstrings call a section that griffe knows as `Examples:`."""


class House(griffe.Extension):
    """Examples are shown as code, and defaults that are constants by their values."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = TITLE.sub("Examples:", obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **kwargs: Any) -> None:
        loader.resolve_aliases()
        _show_values(pkg, loader.modules_collection)


def _show_values(where: griffe.Module | griffe.Class, modules: griffe.ModulesCollection) -> None:
    """Replace the constants that are defaults of arguments."""
    for member in where.members.values():
        if isinstance(member, griffe.Module | griffe.Class):
            _show_values(member, modules)
        elif isinstance(member, griffe.Function):
            for parameter in member.parameters:
                parameter.default = _value(parameter.default, modules)


def _value(
    default: str | griffe.Expr | None, modules: griffe.ModulesCollection
) -> str | griffe.Expr | None:
    """Return the value of a constant, or the default as it is."""
    if not isinstance(default, griffe.ExprName) or not default.name.isupper():
        return default
    try:
        found = modules[default.canonical_path]
        return found.value if found.is_attribute and found.value else default
    except (KeyError, griffe.NameResolutionError, griffe.AliasResolutionError):
        return default

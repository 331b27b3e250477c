"""Check the arguments of public functions against the types in their signatures.

Arguments given in Python are checked as those on the command line are: before anything runs, with
one clear error.
"""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, Self, TypeVar, Union, get_args, get_origin

from darkconv.errors import DarkconvError

P = ParamSpec("P")
R = TypeVar("R")

WORDS = {
    str: "a text",
    bytes: "bytes",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    NoneType: "None",
}
"""Names of types in messages."""
SEVERAL = {"a text": "texts", "a whole number": "whole numbers", "a number": "numbers"}
SEVERAL |= {"a path": "paths", "ndarray": "arrays"}
LONGEST = 40  # the most characters of a text that a message repeats


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function with a check of its arguments against the types in its signature.

    Numbers of other libraries, such as numpy's, are passed on as Python's own. For unknown argument
    names Python's own TypeError is raised.

    Args:
        function: the function; its annotations may be texts.

    Returns:
        A function that raises a DarkconvError for an argument of another type.
    """
    signature = inspect.signature(function)
    known: dict[str, Any] = {}

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not known:
            known.update(_hints(function, signature))
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)
        _check(_shown_name(function), bound.arguments, known)
        bound.arguments.update({name: _plain(one) for name, one in bound.arguments.items()})
        return function(*bound.args, **bound.kwargs)

    return call


def _shown_name(function: Callable[..., Any]) -> str:
    """Return the name of a function in messages: the class for `__init__` and `__call__`."""
    *_, owner, name = ("", *function.__qualname__.split("."))
    return owner if name in ("__init__", "__call__") else name


def check_fields(record: Any) -> None:
    """Check that the fields of a dataclass have the types of their annotations; see `checked`.

    Numbers of other libraries are replaced by Python's own.

    Args:
        record: an instance of a dataclass, frozen or not.

    Raises:
        DarkconvError: a field has a value of another type.
    """
    kind = type(record)
    hints = {name: _resolved(hint, kind) for name, hint in kind.__annotations__.items()}
    _check("", vars(record), hints)
    for name, value in vars(record).items():
        object.__setattr__(record, name, _plain(value))


def _plain(value: Any) -> Any:
    """Return a number of another library as Python's own, also inside a tuple."""
    kind = type(value)
    if kind is tuple:
        return tuple(map(_plain, value))
    if issubclass(kind, int | float):
        return value
    if issubclass(kind, Integral):
        return int(value)
    return float(value) if issubclass(kind, Real) else value


def _check(function: str, given: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    for name, value in given.items():
        hint = hints.get(name, Any)
        if not fits(value, hint):
            wants_list = isinstance(value, str) and not _takes_text(hint) and _takes_list(hint)
            raise DarkconvError(
                f"{function}: {name}" if function else name,
                expected=" or ".join(dict.fromkeys(_words(hint))),
                found=_shown(value),
                hint=f"{name}=[{value[:LONGEST]!r}]" if wants_list else None,
            )


def _hints(function: Callable[..., Any], signature: inspect.Signature) -> dict[str, Any]:
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {
        one.name: Any if one.kind in variable else _resolved(one.annotation, function)
        for one in signature.parameters.values()
    }


def _resolved(hint: Any, owner: Any) -> Any:
    """Return the type that an annotation names, or Any where only type checkers know it."""
    if hint is inspect.Parameter.empty:
        return Any
    names = vars(sys.modules[owner.__module__])
    if hint is Self:
        return names.get(owner.__qualname__.partition(".")[0], Any)
    if not isinstance(hint, str):
        return hint
    try:
        return eval(hint, names)
    except (NameError, TypeError, AttributeError):
        return Any


def fits(value: Any, hint: Any) -> bool:
    """Return True if a value has a type; types that cannot be checked at run time fit any value.

    Args:
        value: the value of an argument.
        hint: the type, as an annotation gives it.
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _is_clean(value, parts) and any(fits(value, part) for part in parts)
    if origin is Literal:
        return any(isinstance(value, type(part)) and value == part for part in parts)
    if isinstance(origin or hint, type) and issubclass(origin or hint, Callable):  # type: ignore[arg-type]
        return callable(value)
    if isinstance(origin, type):
        return _fits_generic(value, origin, parts)
    return _fits_plain(value, hint)


def _fits_plain(value: Any, hint: Any) -> bool:
    if hint is None:
        return value is None
    if hint is Any or not isinstance(hint, type) or getattr(hint, "_is_protocol", False):
        return True
    is_flag = isinstance(value, bool) or type(value).__name__ == "bool"  # numpy's type is one too
    if hint is bool:
        return is_flag
    if hint in (int, float):
        return isinstance(value, Integral if hint is int else Real) and not is_flag
    return isinstance(value, hint)


def _fits_generic(value: Any, origin: type, parts: tuple[Any, ...]) -> bool:
    if issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(fits(key, parts[0]) for key in value)
    if issubclass(origin, tuple) and Ellipsis not in parts:
        is_row = _is_row(value) and len(value) == len(parts)
        return is_row and all(map(fits, value, parts))
    if origin is Iterable or issubclass(origin, Sequence):
        is_row = _is_row(value) or (origin is Iterable and isinstance(value, Iterable))
        if not is_row or isinstance(value, str | bytes | Mapping):
            return False
        is_gone_through = isinstance(value, Sequence) or hasattr(value, "__array__")
        return not is_gone_through or all(fits(part, parts[0]) for part in value)
    return isinstance(value, origin)


def _is_row(value: Any) -> bool:
    """Return True for lists, tuples and arrays, whose values have an order; False for texts."""
    if isinstance(value, str | bytes | bytearray):
        return False
    return isinstance(value, Sequence) or getattr(value, "ndim", 0) > 0


def _is_clean(value: Any, parts: tuple[Any, ...]) -> bool:
    """Return False for a path with a NUL character, which no system accepts."""
    is_path = any(get_origin(part) is os.PathLike for part in parts)
    return not (is_path and isinstance(value, str | os.PathLike) and "\0" in str(value))


def _takes_text(hint: Any) -> bool:
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return str in parts


def _takes_list(hint: Any) -> bool:
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return any(get_origin(part) in (Sequence, Iterable, tuple) for part in parts)


def _words(hint: Any) -> list[str]:
    """Return the names of a type in messages, one for each type that is possible."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if any(get_origin(part) is os.PathLike for part in parts):
            parts = tuple(p for p in parts if p is not str and get_origin(p) is not os.PathLike)
            return ["a path", *(word for part in parts for word in _words(part))]
        return [word for part in parts for word in _words(part)]
    if origin is Literal:
        return [repr(part) for part in parts]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return ["a dictionary"]
    if isinstance(origin, type) and issubclass(origin, tuple) and Ellipsis not in parts:
        return [f"{len(parts)} values"]
    if origin in (Sequence, Iterable, tuple):
        return [f"a list of {' or '.join(SEVERAL.get(w, w) for w in _words(parts[0]))}"]
    plain = origin or hint
    return [WORDS.get(plain) or f"{getattr(plain, '__name__', plain)}"]


def _shown(value: Any) -> str:
    """Return a value as a message shows it."""
    if isinstance(value, str):
        return f"the text {value[:LONGEST]!r}"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"an array {value.dtype} {tuple(value.shape)}"
    if value is None or isinstance(value, bool | Real):
        return repr(value)
    if isinstance(value, list | tuple) and value:
        return f"a {type(value).__name__} that begins with {_shown(value[0])}"
    return f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")

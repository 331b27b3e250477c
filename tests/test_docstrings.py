"""Public functions say what they take, give and raise; ruff checks the rest of their docstrings.

A function is public if no name of its path begins with an underscore. Commands are excepted, since
their options say what they are, and so are overrides, which do what the base class says, overloads
and properties.
"""

import ast
import builtins
import importlib
import re
import sys
import types
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "darkconv"
ROOMS = sorted({path.parent for path in PACKAGE.rglob("*.py")})
GIVES = (
    "Return|Yield|Build|Make|Compute|Read|Find|Parse|Count|Measure|Choose|Draw|Create|Load|Open|"
    "Convert|Format|Infer|Copy|Plan|Collect|Split|Merge|Join|Iterate|Wrap|Decode|Encode|Render|"
    "Fold|Trace|Import|Export|Look|Derive|Estimate|Sum|Average|Select|List|Ask|Take|Turn|Apply|Translate"
)
"""First words after which the first line of a docstring says what is returned."""
EXCEPTED = re.compile(r"(^|\.)(command|group)\b|property|overload|override|\.setter")
"""Decorators of functions that need no sections."""
SECTION = re.compile(r"^(Args|Returns|Yields|Raises|Attributes|Example|Examples|Note):$", re.M)
ARGUMENT = re.compile(r"^    \*{0,2}(\w+): +\S", re.M)


def functions(tree):
    """Yield the public functions and methods of a module, with the name of their class."""
    for node in tree.body:
        if node_is_public(node):
            yield None, node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from ((node.name, inner) for inner in node.body if node_is_public(inner))


def node_is_public(node):
    is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return is_function and not node.name.startswith("_")


def sections(text):
    """Return the text of each section of a docstring by the section's title."""
    _, *rest = SECTION.split(text)
    return dict(zip(rest[::2], rest[1::2], strict=True))


def own_raises(node):
    """Yield the names of exceptions that leave a function and that no nested function raises."""
    caught = caught_by(node) if isinstance(node, ast.Try) else set()
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        names = [*own_raises(inner)]
        if isinstance(inner, ast.Raise) and inner.exc:
            raised = inner.exc.func if isinstance(inner.exc, ast.Call) else inner.exc
            name = ast.unparse(raised)
            if re.fullmatch(r"[\w.]*\b[A-Z]\w*", name) and name != "NotImplementedError":
                names.append(name)
        is_guarded = caught and inner in node.body
        yield from (name for name in names if not (is_guarded and name in caught))


def caught_by(node):
    """Return the names of the exceptions that the handlers of a `try` name."""
    kinds = [handler.type for handler in node.handlers if handler.type]
    every = [each for kind in kinds for each in getattr(kind, "elts", [kind])]
    return {ast.unparse(each) for each in every}


def names_of(exception, module):
    """Return the names that a docstring may use for an exception: its own, and those of bases."""
    first, *rest = exception.split(".")
    found = getattr(module, first, getattr(builtins, first, None))
    for name in rest:
        found = getattr(found, name, None)
    own = exception.rsplit(".", 1)[-1]
    bases = found.__mro__ if isinstance(found, type) else ()
    return {own, *(base.__name__ for base in bases)} - {"Exception", "BaseException", "object"}


def faults(source, module):
    """Yield what the public functions of a module do not say, each with its line."""
    for owner, node in functions(ast.parse(source)):
        if any(EXCEPTED.search(ast.unparse(each)) for each in node.decorator_list):
            continue
        bases = getattr(module, owner).__mro__[1:] if owner else ()
        if any(node.name in vars(base) for base in bases):
            continue
        text = ast.get_docstring(node) or ""
        found = sections(text)
        where = f"{node.lineno} {node.name}"
        given = node.args
        named = {each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)}
        named -= {"self", "cls"}
        spread = {each.arg for each in (given.vararg, given.kwarg) if each}
        described = set(ARGUMENT.findall(found.get("Args", "")))
        if missing := named - described:
            yield f"{where}: Args lacks {', '.join(sorted(missing))}"
        if unknown := described - named - spread:
            yield f"{where}: Args describes {', '.join(sorted(unknown))}, which it does not take"
        returned = ast.unparse(node.returns) if node.returns else "None"
        is_said = re.match(rf"({GIVES}) ", text) or found.keys() & {"Returns", "Yields"}
        if returned not in ("None", "NoReturn", "Never") and not is_said:
            yield f"{where}: does not say what it returns"
        for name in sorted(set(own_raises(node))):
            if not any(re.search(rf"\b{each}\b", text) for each in names_of(name, module)):
                yield f"{where}: Raises lacks {name}"


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.relative_to(PACKAGE).as_posix())
def test_public_functions_say_what_they_take_give_and_raise(room):
    found = []
    for path in sorted(room.glob("*.py")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        if path.stem == "__main__":
            continue
        module = importlib.import_module(name.removesuffix(".__init__"))
        source = path.read_text(encoding="utf-8")
        found += [f"{path.relative_to(PACKAGE)}:{fault}" for fault in faults(source, module)]
    assert not found, "\n".join(found)


def check(body, monkeypatch):
    """Return the faults of a small module."""
    module = types.ModuleType("small")
    monkeypatch.setitem(sys.modules, "small", module)
    exec(compile(body, "small", "exec"), vars(module))
    return list(faults(body, module))


FULL = '''
def cut(model, share: float = 0.5, *rest, **options) -> int:
    """Cut a model.

    Args:
        model: the model.
        share: the share of its channels that is kept:
            one for each layer.
        options: options of the cut.

    Returns:
        Number of channels that are left.

    Raises:
        ValueError: the share is 0.
    """
    if not share:
        raise ValueError(share)
'''


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("", ""), None),
        (("        model: the model.\n", ""), "2 cut: Args lacks model"),
        (("        share: the share", "        shares: the share"), "2 cut: Args lacks share"),
        (
            ("        options: options", "        option: options"),
            "2 cut: Args describes option, which it does not take",
        ),
        (("Returns:", "Of these:"), "2 cut: does not say what it returns"),
        (("Cut a model.", "Count what is left."), None),
        (("        ValueError: the", "        KeyError: the"), "2 cut: Raises lacks ValueError"),
        (("raise ValueError(share)", "raise ValueError"), None),
        (("raise ValueError(share)", "raise OSError"), "2 cut: Raises lacks OSError"),
        (("raise ValueError(share)", "raise UnicodeError"), None),  # a kind of ValueError
        (("raise ValueError(share)", "raise NotImplementedError"), None),  # for classes to fill in
        (("raise ValueError(share)", "raise share"), None),
        (("cut(", "_cut("), None),
    ],
)
def test_the_check_finds_a_fault_in_a_docstring(change, fault, monkeypatch):
    assert change[0] in FULL
    found = check(FULL.replace(*change), monkeypatch)
    assert fault in found if fault else not found


def test_a_function_without_sections_lacks_all_of_them(monkeypatch):
    body = 'def cut(model, share) -> int:\n    """Cut a model."""\n    raise OSError\n'
    assert check(body, monkeypatch) == [
        "1 cut: Args lacks model, share",
        "1 cut: does not say what it returns",
        "1 cut: Raises lacks OSError",
    ]


def test_methods_are_checked_but_those_of_private_classes_are_not(monkeypatch):
    body = 'class {}:\n    def cut(self, share):\n        """Cut."""\n'
    assert check(body.format("Cutter"), monkeypatch) == ["2 cut: Args lacks share"]
    assert not check(body.format("_Cutter"), monkeypatch)


def test_overrides_commands_overloads_and_properties_are_excepted(monkeypatch):
    body = '''
import argparse, click, typing

class Action(argparse.Action):  # a base with the same name
    def format_usage(self, short): ...
    def other(self, short): ...

class Longer(Action):
    def other(self, short): ...

@click.command()
def run(words): ...

class Model:
    @property
    def size(self) -> int: ...

@typing.overload
def load(path: str) -> int: ...
@typing.overload
def load(path: int) -> str: ...
def load(path):
    """Load a file.

    Args:
        path: the file.
    """
'''
    assert check(body, monkeypatch) == ["6 other: Args lacks short"]


RUN = '''
def run():
    """Run."""
    {}
'''


@pytest.mark.parametrize(
    ("body", "lacks"),
    [
        ("def inner(): raise OSError", ""),
        ("try: raise OSError\n    except OSError: pass", ""),
        ("try: raise OSError\n    except (KeyError, OSError): pass", ""),
        ("try: raise OSError\n    except KeyError: pass", "OSError"),
        ("try: pass\n    except OSError: raise OSError", "OSError"),
        ("try:\n        if 1: raise OSError\n    except OSError: raise KeyError", "KeyError"),
    ],
)
def test_exceptions_that_stay_in_a_function_need_no_raises(body, lacks, monkeypatch):
    expected = [f"2 run: Raises lacks {lacks}"] if lacks else []
    assert check(RUN.format(body), monkeypatch) == expected

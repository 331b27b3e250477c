"""Options that have got another name: the old one still works, is not listed, and is told of."""

import click
import pytest
from click.testing import CliRunner

from darkconv.cli import main
from darkconv.console.files import FilesCommand
from darkconv.console.messages import common_options
from darkconv.console.renamed import RenamedOption, option


def commands(group, words=()):
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


RENAMED = [
    pytest.param(command, param, id=f"{' '.join(words)} {param.was}")
    for words, command in commands(main)
    for param in command.params
    if isinstance(param, RenamedOption) and param.was
]


def parsed(command, words):
    """What a command line without its required parts gives, and what is said of old names."""
    context = click.Context(command, resilient_parsing=True)
    values, _, order = command.make_parser(context).parse_args(list(words))
    for param in order:
        param.handle_parse_result(context, values, [])
    return context.params, context.meta.get("darkconv.renamed", [])


def word_for(param):
    if param.is_flag:
        return []
    kind = param.type
    return ["0.5" if isinstance(kind, click.FloatRange) else "2" if hasattr(kind, "min") else "."]


@pytest.mark.parametrize(("command", "param"), RENAMED)
def test_an_old_name_gives_what_the_new_one_gives(command, param):
    new = max(param.opts, key=len)
    value = word_for(param)
    wanted, silence = parsed(command, [new, *value])
    found, notes = parsed(command, [param.was, *value])
    assert wanted == found
    assert silence == []
    assert notes == [f"{param.was} is called {new} now; the old name goes with the next release"]


@pytest.mark.parametrize(("command", "param"), RENAMED)
def test_an_old_name_is_not_listed_and_no_other_option_has_it(command, param):
    assert param.was not in command.get_help(click.Context(command)).split()
    assert not any(param.was in other.opts for other in command.params)


@click.command(cls=FilesCommand)
@option("--lr", "rate", was="--rate", type=float)
@option("--word", was="--old", multiple=True)
@option("--over", was="--force", is_flag=True)
@common_options
def tried(**values):
    click.echo(values)


def run(*words):
    return CliRunner().invoke(tried, words)


def test_old_names_are_told_of_unless_quiet():
    assert "'rate': 0.5" in run("--rate", "0.5").output
    assert run("--rate", "0.5").stderr == (
        "warning: --rate is called --lr now; the old name goes with the next release\n"
    )
    assert run("-q", "--rate", "0.5").stderr == ""


def test_values_of_an_option_that_is_repeated():
    assert "'word': ('a', 'b')" in run("--old", "a", "--old", "b").output


@pytest.mark.parametrize("words", [("--lr", "1", "--rate", "2"), ("--over", "--force")])
def test_both_names_are_refused(words):
    result = run(*words)
    assert result.exit_code == 2
    assert "takes one value" in result.output or "is an old name of" in result.output

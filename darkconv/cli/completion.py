"""`darkconv completion`: print the script that lets a shell complete commands and options."""

import click
from click.shell_completion import get_completion_class

from darkconv.console.printing import echo_lines
from darkconv.options.command import ModelCommand

VARIABLE = "_DARKCONV_COMPLETE"


@click.command(cls=ModelCommand)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the lines that make a shell complete commands, options and their values.

    Put them where the shell reads them when it starts: ~/.bashrc, ~/.zshrc, or for fish
    ~/.config/fish/completions/darkconv.fish.

    Example: darkconv completion bash >> ~/.bashrc
    """
    from darkconv.cli import main

    kind = get_completion_class(shell)
    assert kind is not None
    echo_lines(kind(main, {}, "darkconv", VARIABLE).source())

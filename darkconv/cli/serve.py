"""`darkconv serve`: show a folder's pages in the browser."""

from pathlib import Path

import click

from darkconv.console.files import InputFile
from darkconv.console.messages import common_options
from darkconv.console.printing import echo
from darkconv.exporting.serving import PORT, serving
from darkconv.options.command import ModelCommand


@click.command(cls=ModelCommand)
@click.argument("folder", type=InputFile(exists=True, file_okay=False))
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="Where it answers; 0 takes one that is free.",
)
@common_options
def serve(folder: Path, port: int) -> None:
    """Show the pages of a folder in the browser, to this machine alone.

    For those that do not work when they are opened as files. It answers at 127.0.0.1 until Ctrl-C.

    Example: darkconv serve browser
    """
    with serving(folder, port=port) as (address, answer):
        echo(f"{address} shows {folder}; Ctrl-C ends that", err=True)
        answer()

"""`darkconv demo`: show the main job on the bundled model; everything is measured in that run."""

from pathlib import Path

import click

from darkconv.console.files import OutputFolder
from darkconv.console.messages import common_options
from darkconv.demo import note_files
from darkconv.files import make_folder
from darkconv.options.command import ModelCommand


@click.command(cls=ModelCommand)
@click.option(
    "-o",
    "--output",
    "folder",
    default="darkconv-demo",
    show_default=True,
    type=OutputFolder(),
    help="Folder for what the demo makes.",
)
@common_options
def demo(folder: Path) -> None:
    """Show the main job on the bundled model.

    A detector of the ten digits is converted to PyTorch and ONNX, compared, used, cut down to four
    digits, pruned, taught by the uncut model on pictures without labels, and exported. Everything
    is measured in this run; a page with pictures tells it again.

    Example: darkconv demo -o demo
    """
    from darkconv.demo.story import tell

    note_files(folder)
    make_folder(folder)
    tell(folder)

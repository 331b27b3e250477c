"""`darkconv fetch`: download well-known models."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

import click

from darkconv.console.files import OutputFolder, overwrite_option
from darkconv.console.given import refuse
from darkconv.console.messages import common_options
from darkconv.console.printing import echo, echo_json, echo_table
from darkconv.console.progress import byte_progress
from darkconv.files.outputs import may_overwrite, note_input, note_output
from darkconv.options.command import ModelCommand
from darkconv.zoo.models import MODELS, Published, find_model
from darkconv.zoo.package import ORT_WEB, fetch_package

if TYPE_CHECKING:
    from darkconv.zoo.fetch import Fetched


def _complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in (*MODELS, ORT_WEB.name) if name.startswith(incomplete)]


@click.command(cls=ModelCommand)
@click.argument("name", required=False, shell_complete=_complete)
@click.option(
    "-o",
    "--output",
    "folder",
    type=OutputFolder(),
    default=".",
    metavar="DIR",
    help="Where to write  [default: the working folder]",
)
@click.option(
    "--url",
    metavar="ADDRESS",
    help="Take the weights from here: http://, https:// or file://.",
)
@overwrite_option(was="--force", help="Replace files that are there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
def fetch(name: str | None, folder: Path, url: str | None, as_json: bool) -> None:
    """Download a well-known model: NAME.cfg, NAME.weights, NAME.names.

    onnxruntime-web brings what pages of `convert --for browser` run models by, from npm.

    Without NAME, list what there is. A download that broke off goes on; the weights take their
    name when they are whole and of the size that the cfg requires.

    Example: darkconv fetch yolov4-tiny -o models
    """
    force = may_overwrite()
    if name is None:
        refuse("folder", "url", "overwrite", because="Missing argument 'NAME': what to fetch")
        list_models(as_json=as_json)
        return
    if name == ORT_WEB.name:
        with byte_progress(f"fetching {name}") as show:
            package = fetch_package(ORT_WEB, folder, address=url, force=force, progress=show)
        state = "wrote" if package.address else "is there already:"
        echo(f"{state} {package.folder}, version {package.version}", err=True)
        if as_json:
            echo_json(asdict(package), default=str)
        return
    from darkconv.zoo.fetch import fetch as fetch_model

    model = find_model(name)
    note_files(model, folder, url)
    with byte_progress(f"fetching {name}.weights") as show:
        found = fetch_model(model, model.cfg, folder, address=url, force=force, progress=show)
    report(model, found, as_json=as_json)


def note_files(model: Published, folder: Path, url: str | None) -> None:
    """Register the files that are written, and a file that the weights are copied from.

    Args:
        model: the model to download.
        folder: where its files are written.
        url: value of --url; None if it is not given.
    """
    source = urlsplit(url or "")
    if source.scheme == "file" and may_overwrite():
        note_input(url2pathname(source.path), is_lasting=True)
    for suffix in (".weights", ".cfg", ".names"):
        note_output(folder / f"{model.name}{suffix}", makes_folder=True)


def list_models(*, as_json: bool) -> None:
    """Print the models that can be fetched.

    Args:
        as_json: True to print JSON instead of a table.
    """
    from darkconv.zoo import listing

    sizes = listing.sizes()
    if as_json:
        echo_json([model.to_dict(sizes[model.name]) for model in MODELS.values()])
    else:
        echo_table(listing.HEADERS, listing.rows(sizes), left=(0, 1, 3))


def report(model: Published, found: "Fetched", *, as_json: bool) -> None:
    """Print the files that were fetched, and those that were there already.

    Args:
        model: the model.
        found: its files.
        as_json: True to print JSON instead of text.
    """
    from darkconv.zoo import listing

    if found.written:
        echo(f"wrote {', '.join(map(str, found.written))}", err=True)
    if as_json:
        values = {"name": model.name, **asdict(found)}
        values["bytes"] = values.pop("size")
        echo_json(values, default=str)
        return
    for line in listing.fetched_lines(model, found):
        echo(line)
    if found.names is None:
        echo(f"no names of the {model.classes.data_set} classes come with it", err=True)

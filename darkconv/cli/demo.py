"""`darkconv demo`: the main job on the bundled model, everything measured in that run."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from darkconv.cli.info import weights_size
from darkconv.cli.models import write_model
from darkconv.cli.params import ModelCommand, Output, common_options
from darkconv.cli.table import format_table
from darkconv.cli.verify import layer_errors
from darkconv.core.model import Model
from darkconv.core.numerals import format_count, format_large, format_size

if TYPE_CHECKING:
    from PIL.Image import Image

    from darkconv.detection import Detection

KEPT = ("two", "four", "seven", "nine")
KEEP_RATIO, MULTIPLE = 0.6, 4
"""Share of its channels that every layer of the dissected model keeps, in multiples."""
STEPS, BATCH, RATE, AVERAGING = 300, 8, 3e-3, 0.98
"""Of recovery."""
SHOWN = 6  # pictures drawn side by side
EVALUATION_THRESHOLD = 0.005  # score from which a detection counts for AP


@dataclass(frozen=True)
class Measured:
    """What is told of a model in the closing table.

    Attributes:
        model: the model.
        precision: mean AP@0.5 over the kept classes.
        milliseconds: median of a picture's forward pass, by backend.
    """

    model: Model
    precision: float
    milliseconds: dict[str, float]


@click.command(cls=ModelCommand)
@click.option(
    "-o",
    "--output",
    "folder",
    default="darkconv-demo",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for what the demo makes.",
)
@common_options
def demo(folder: Path) -> None:
    """Show the main job on the bundled model.

    A detector of the ten digits is converted to PyTorch and ONNX, compared, cut down to four
    digits, pruned, and taught by the uncut model on pictures without labels. Everything is
    measured in this run.

    Example: darkconv demo -o demo
    """
    from darkconv.assets import load_digits10
    from darkconv.surgery.classes import reclass

    start = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    whole = load_digits10()
    show_model(whole)
    show_conversion(whole, folder)
    small = reclass(whole, KEPT)
    show_slicing(whole, small, folder)
    models = {"digits10": whole, "digits4": small, **show_recovery(small, folder)}
    pictures = draw_pictures(whole, list(models.values())[-1], folder)
    heading("Before and after")
    click.echo(closing_table(measure(models)))
    click.echo(f"\npictures: {pictures}")
    click.echo(f"files:    {folder.resolve()}")
    click.echo(f"done in {time.perf_counter() - start:.0f} s")


def heading(text: str) -> None:
    """A line that begins a step."""
    click.echo()
    click.echo(click.style(text, bold=True))


def parameters(model: Model) -> int:
    """Number of learned values."""
    return sum(layer.parameters for layer in model.network.layers)


def macs(model: Model) -> int:
    """Multiply-accumulate operations of a picture."""
    return sum(layer.macs for layer in model.network.layers)


def show_model(model: Model) -> None:
    """The bundled model in a few lines."""
    network = model.network
    click.echo(click.style("digits10: a Darknet detector of the ten digits", bold=True))
    click.echo(
        f"{len(network.layers)} layers, {format_count(parameters(model))} parameters, "
        f"{format_large(macs(model))} MACs, input {network.input_shape}, "
        f"weights {format_size(weights_size(model))}"
    )


def show_conversion(model: Model, folder: Path) -> None:
    """Convert to PyTorch and ONNX, compare the two, and come back to Darknet's files."""
    from darkconv.assets import digits10_folder, digits10_pictures
    from darkconv.cli.models import read_model
    from darkconv.cli.params import ModelWords

    heading("Convert")
    for name in ("digits10.safetensors", "digits10.onnx"):
        start = time.perf_counter()
        write_model(model, Output(folder / name))
        seconds = time.perf_counter() - start
        size = format_size((folder / name).stat().st_size)
        click.echo(f"{name:22s} {size:>8s}  in {seconds:.1f} s")
    errors = layer_errors(model, str(digits10_pictures()[0]))
    worst = max(errors, key=lambda entry: float(entry["error"]))
    click.echo(
        f"PyTorch and ONNX agree on all {len(errors)} layers; "
        f"worst relative error {worst['error']:.1e} (layer {worst['layer']} [{worst['type']}])"
    )
    back = read_model(ModelWords(str(folder / "digits10.safetensors")))
    write_model(back, Output(folder / "back.cfg", folder / "back.weights"))
    original = (digits10_folder() / "digits10.weights").read_bytes()
    same = (folder / "back.weights").read_bytes() == original
    click.echo(f"back to Darknet's .weights: {'equal byte for byte' if same else 'DIFFERENT'}")


def show_slicing(whole: Model, small: Model, folder: Path) -> None:
    """Write the small model, and compare the scores of the classes it kept."""
    heading(f"Keep {len(KEPT)} of {len(whole.names)} digits: {', '.join(KEPT)}")
    for output in (
        Output(folder / "digits4.cfg", folder / "digits4.weights"),
        Output(folder / "digits4.onnx"),
    ):
        write_model(small, output)
        file = output.weights or output.path
        click.echo(f"{file.name:22s} {format_size(file.stat().st_size):>8s}")
    pairs = compared_scores(whole, small)
    equal = sum(a == b for a, b in pairs)
    click.echo(f"{equal} of {len(pairs)} detections of these digits keep box and score exactly")


def show_recovery(small: Model, folder: Path) -> dict[str, Model]:
    """Prune by what channels do on pictures, refit, and let the uncut model teach what is left."""
    from darkconv.assets import digits10_unlabelled
    from darkconv.dataset import open_dataset
    from darkconv.profiling.collect import profile
    from darkconv.profiling.reconstruction import reconstruct
    from darkconv.surgery.plan import plan
    from darkconv.surgery.prune import prune

    pictures = open_dataset(digits10_unlabelled())
    heading(f"Prune to {KEEP_RATIO:.0%} of the channels, by {len(pictures)} unlabelled pictures")
    images = [sample.image for sample in pictures.samples]
    chosen = plan(
        small, profile(small, images), score="mean_abs", keep=KEEP_RATIO, multiple=MULTIPLE
    )
    pruned = prune(small, chosen, compensate=True)
    click.echo(f"{parameters(small):,} -> {parameters(pruned):,} parameters")
    start = time.perf_counter()
    refitted = reconstruct(pruned, small, chosen, images)
    click.echo(f"weights refitted to the feature maps: {time.perf_counter() - start:.1f} s")
    found = {"pruned": pruned, "refitted": refitted}
    write_model(refitted, Output(folder / "refitted.cfg", folder / "refitted.weights"))
    try:
        from darkconv.finetune.recipe import Recipe
        from darkconv.finetune.run import finetune
    except ModuleNotFoundError as error:
        click.echo(f"no recovery: {error.name} is not installed (pip install 'darkconv[train]')")
        return found
    start = time.perf_counter()
    recipe = Recipe(steps=STEPS, batch=BATCH, rate=RATE, averaging=AVERAGING, draw_every=0)
    taught = finetune(refitted, pictures, folder=folder / "recovery", teacher=small, recipe=recipe)
    write_model(taught.model, Output(folder / "recovered.cfg", folder / "recovered.weights"))
    seconds = time.perf_counter() - start
    click.echo(f"{STEPS} steps of learning from the uncut model, without labels: {seconds:.0f} s")
    return {**found, "recovered": taught.model}


def compared_scores(whole: Model, small: Model) -> list[tuple[object, object]]:
    """Detections of the kept classes by both models, paired in order."""
    pairs: list[tuple[object, object]] = []
    for a, b in zip(detect_all(whole), detect_all(small), strict=True):
        kept = [(d.name, d.score, d.box) for d in a if d.name in KEPT]
        pairs += zip_longest(kept, [(d.name, d.score, d.box) for d in b])
    return pairs


def detect_all(model: Model, threshold: float = 0.25) -> "list[list[Detection]]":
    """Detections in every test picture."""
    from darkconv.assets import digits10_pictures
    from darkconv.detection import detect

    return [detect(model, path, threshold) for path in digits10_pictures()]


def measure(models: dict[str, Model]) -> dict[str, Measured]:
    """AP over the kept classes, and latency, of models side by side."""
    from darkconv.evaluation.latency import measure_latency

    times = {b: measure_latency(models, backend=b).milliseconds for b in ("torch", "onnx")}
    return {
        name: Measured(model, mean_precision(model), {b: times[b][name] for b in times})
        for name, model in models.items()
    }


def mean_precision(model: Model) -> float:
    """Mean all-point AP@0.5 of the kept classes on the test pictures."""
    from darkconv.evaluation.average_precision import average_precision

    found = detect_all(model, EVALUATION_THRESHOLD)
    result = average_precision(found, true_boxes(model.names), num_classes=len(model.names))
    kept = [result.per_class[model.names.index(name)] for name in KEPT]
    return float(sum(kept) / len(kept))


def true_boxes(names: Sequence[str]) -> list[Any]:
    """Per picture (k, 5): class among `names`, x0, y0, x1, y1 in pixels."""
    import numpy as np

    from darkconv.assets import digits10_folder, digits10_pictures
    from darkconv.darknet.data import read_labels, read_names
    from darkconv.detection.picture import read_picture
    from darkconv.evaluation.average_precision import pixel_boxes

    every = read_names(digits10_folder() / "digits10.names").names
    boxes = []
    for path in digits10_pictures():
        height, width, _ = read_picture(path).shape
        labels = read_labels(path.with_suffix(".txt"))
        rows = [(names.index(every[int(c)]), *box) for c, *box in labels if every[int(c)] in names]
        boxes.append(pixel_boxes(np.array(rows, float).reshape(-1, 5), (width, height)))
    return boxes


def closing_table(measured: dict[str, Measured]) -> str:
    """All models side by side."""
    lines: list[tuple[str, Any]] = [
        ("classes", lambda m: len(m.model.names)),
        ("parameters", lambda m: format_count(parameters(m.model))),
        ("MACs", lambda m: format_large(macs(m.model))),
        ("weights", lambda m: format_size(weights_size(m.model))),
        ("ms a picture, PyTorch", lambda m: f"{m.milliseconds['torch']:.2f}"),
        ("ms a picture, ONNX", lambda m: f"{m.milliseconds['onnx']:.2f}"),
        (f"AP@0.5 of the {len(KEPT)} digits", lambda m: f"{m.precision:.3f}"),
    ]
    rows = [(name, *map(show, measured.values())) for name, show in lines]
    return format_table(("", *measured), rows, left=(0,))


def draw_pictures(whole: Model, small: Model, folder: Path) -> Path:
    """Some test pictures with the boxes of both models, side by side in one PNG."""
    from darkconv.assets import digits10_pictures
    from darkconv.detection import detect
    from darkconv.detection.draw import draw, write_picture
    from darkconv.detection.picture import read_picture

    pairs = []
    for path in digits10_pictures()[:SHOWN]:
        picture = read_picture(path)
        kept = [replace(d, class_id=whole.names.index(d.name)) for d in detect(small, path)]
        pairs.append([draw(picture, detect(whole, path)), draw(picture, kept)])
    target = folder / "before-and-after.png"
    write_picture(side_by_side(pairs), target)
    return target.resolve()


def side_by_side(pairs: "list[list[Image]]", size: int = 320, margin: int = 12) -> "Image":
    """Columns of pairs: the first model above, the second below."""
    from PIL import Image

    step = size + margin
    sheet = Image.new("RGB", (len(pairs) * step + margin, 2 * step + margin), "white")
    for column, pair in enumerate(pairs):
        for row, image in enumerate(pair):
            shown = image.resize((size, size * image.height // image.width))
            shown.thumbnail((size, size))
            sheet.paste(shown, (margin + column * step, margin + row * step))
    return sheet

"""Run the steps of `darkconv demo`: each step prints what it makes and measures."""

import time
from pathlib import Path

from darkconv.assets import (
    digits10_folder,
    digits10_pictures,
    digits10_unlabelled,
    load_digits10,
)
from darkconv.console.printing import echo, echo_lines
from darkconv.console.table import format_table
from darkconv.core.model import Model
from darkconv.darknet.weights import weights_size
from darkconv.dataset import open_dataset
from darkconv.demo import KEPT, RECOVERY
from darkconv.demo.figures import closing_rows, compared_scores, measure
from darkconv.demo.pages import draw_pictures, write_page
from darkconv.detection import detect
from darkconv.detection.draw import draw
from darkconv.dissection import dissect
from darkconv.errors import DarkconvError
from darkconv.exporting.formats import write_file
from darkconv.files.sizes import format_size
from darkconv.libraries import telling_missing
from darkconv.loading import read_model, save
from darkconv.pictures.drawing import write_picture
from darkconv.pictures.picture import read_picture
from darkconv.presentation.numerals import format_count, format_large
from darkconv.surgery.classes import reclass
from darkconv.verification.verify import verify

KEEP_RATIO, MULTIPLE = 0.6, 4
"""Share of channels that every layer of the dissected model keeps, and their multiple."""
STEPS, BATCH, RATE, AVERAGING = 300, 8, 3e-3, 0.98
"""Steps, batch size, learning rate and decay of the exponential moving average in recovery."""


def tell(folder: Path) -> None:
    """Run the demo on the bundled model, and print it step by step.

    Args:
        folder: an existing folder for everything that the demo makes.
    """
    start = time.perf_counter()
    whole = load_digits10()
    show_model(whole)
    checks = show_conversion(whole, folder)
    show_detection(whole, folder)
    small = reclass(whole, KEPT)
    checks += show_slicing(whole, small, folder)
    models = {"digits10": whole, "digits4": small, **show_recovery(whole, small, folder)}
    final = list(models.values())[-1]
    checks += show_export(final, folder)
    pictures = draw_pictures(whole, final, folder)
    heading("Before and after")
    measured, conditions = measure(models)
    echo_lines(format_table(("", *measured), closing_rows(measured), left=(0,)))
    echo(conditions, err=True)
    seconds = time.perf_counter() - start
    write_page(folder, measured, conditions, checks, (whole, final), seconds)
    echo()
    echo(f"report:   {(folder / 'demo.html').resolve()}")
    echo(f"pictures: {pictures}")
    echo(f"files:    {folder.resolve()}")
    echo(f"done in {seconds:.0f} s")


def heading(text: str) -> None:
    """Print the line that begins a step.

    Args:
        text: the line.
    """
    echo()
    echo(text, bold=True)


def write_darknet(model: Model, cfg: Path) -> Path:
    """Write a model as Darknet's files.

    Args:
        model: the model.
        cfg: path of the cfg; the other files have the same stem.

    Returns:
        The path of the weights file.
    """
    weights = cfg.with_suffix(".weights")
    save(model, cfg, weights, names=cfg.with_suffix(".names"))
    return weights


def show_model(model: Model) -> None:
    """Print the bundled model in a few lines.

    Args:
        model: the bundled model.
    """
    network = model.network
    echo("digits10: a Darknet detector of the ten digits", bold=True)
    echo(
        f"{len(network.layers)} layers, {format_count(model.network.parameters)} parameters, "
        f"{format_large(model.network.macs)} MACs, input {network.input_shape}, "
        f"weights {format_size(weights_size(model))}"
    )


def show_checks(*checks: str) -> list[str]:
    """Print the results of checks.

    Args:
        checks: the results, a sentence each.

    Returns:
        The same sentences.
    """
    echo_lines("\n".join(checks))
    return list(checks)


def show_conversion(model: Model, folder: Path) -> list[str]:
    """Convert to PyTorch and ONNX, compare the two, and convert back to Darknet's files.

    Args:
        model: the bundled model.
        folder: the folder for the files.

    Returns:
        The results of the checks, a sentence each.
    """
    heading("Convert")
    for name in ("digits10.safetensors", "digits10.onnx"):
        start = time.perf_counter()
        write_file(model, folder / name)
        seconds = time.perf_counter() - start
        size = format_size((folder / name).stat().st_size)
        echo(f"{name:22s} {size:>8s}  in {seconds:.1f} s")
    found = verify(model, image=digits10_pictures()[0])
    worst = max(found.rows, key=lambda row: row.error)
    back = read_model(folder / "digits10.safetensors")
    write_darknet(back, folder / "back.cfg")
    original = (digits10_folder() / "digits10.weights").read_bytes()
    same = (folder / "back.weights").read_bytes() == original
    return show_checks(
        f"PyTorch and ONNX {'agree' if found.ok else 'DISAGREE'} on all {len(found.rows)} layers; "
        f"worst relative error {worst.error:.1e} (layer {worst.name})",
        f"back to Darknet's .weights: {'equal byte for byte' if same else 'DIFFERENT'}",
    )


def show_detection(model: Model, folder: Path) -> None:
    """Detect the digits in one picture, print them and draw them.

    Args:
        model: the bundled model.
        folder: the folder for the drawn picture.
    """
    path = digits10_pictures()[0]
    heading(f"Detect in {path.name}")
    found = detect(model, path)
    for one in found:
        echo(f"{one.name:8s} {one.score:6.1%}  {' '.join(f'{v:6.1f}' for v in one.box)}")
    write_picture(draw(read_picture(path), found), folder / "detected.png")


def show_slicing(whole: Model, small: Model, folder: Path) -> list[str]:
    """Write the small model, and compare the detections of the classes that it kept.

    Args:
        whole: the model of ten digits.
        small: the model of the kept digits.
        folder: the folder for the files.

    Returns:
        The results of the checks, a sentence each.
    """
    heading(f"Keep {len(KEPT)} of {len(whole.names)} digits: {', '.join(KEPT)}")
    write_file(small, folder / "digits4.onnx")
    for file in (write_darknet(small, folder / "digits4.cfg"), folder / "digits4.onnx"):
        echo(f"{file.name:22s} {format_size(file.stat().st_size):>8s}")
    pairs = compared_scores(whole, small)
    equal = sum(a == b for a, b in pairs)
    return show_checks(
        f"{equal} of {len(pairs)} detections of these digits keep box and score exactly"
    )


def show_recovery(whole: Model, small: Model, folder: Path) -> dict[str, Model]:
    """Prune by statistics of channels, refit the weights, and train with the uncut model's help.

    Args:
        whole: the model of ten digits.
        small: the model of the kept digits, which is the teacher.
        folder: the folder for the files.

    Returns:
        The models that were made, by name; without "recovered" where training is not installed.
    """
    pictures = open_dataset(digits10_unlabelled())
    heading(f"Prune to {KEEP_RATIO:.0%} of the channels, by {len(pictures)} unlabelled pictures")
    done = dissect(
        whole,
        KEPT,
        images=pictures,
        ratio=KEEP_RATIO,
        score="mean_abs",
        multiple=MULTIPLE,
        skip_first=0,
        device="cpu",
    )
    echo(f"{small.network.parameters:,} -> {done.model.network.parameters:,} parameters")
    echo(f"weights refitted to the feature maps: {done.seconds['reconstruct']:.1f} s")
    found = {"pruned": done.pruned, "refitted": done.model}
    write_darknet(done.model, folder / "refitted.cfg")
    done.report(folder / "dissection.html")
    try:
        with telling_missing("training", extra="train"):
            from darkconv.training.recipe import Recipe
            from darkconv.training.run import finetune
    except DarkconvError as error:
        echo(f"no recovery: {error}")
        return found
    start = time.perf_counter()
    recipe = Recipe(steps=STEPS, batch=BATCH, rate=RATE, averaging=AVERAGING, draw_every=0)
    taught = finetune(
        done.model,
        pictures,
        folder=folder / RECOVERY,
        teacher=small,
        recipe=recipe,
        overwrite=True,
    )
    write_darknet(taught.model, folder / "recovered.cfg")
    seconds = time.perf_counter() - start
    echo(f"{STEPS} steps of learning from the uncut model, without labels: {seconds:.0f} s")
    return {**found, "recovered": taught.model}


def show_export(model: Model, folder: Path) -> list[str]:
    """Write the result as an ONNX file with boxes, and compare it with the model.

    Args:
        model: the last model.
        folder: the folder for the file.

    Returns:
        The results of the checks, a sentence each.
    """
    heading("Export")
    target = folder / "recovered.onnx"
    write_file(model, target, head="boxes")
    echo(f"{target.name:22s} {format_size(target.stat().st_size):>8s}")
    found = verify(model, target, image=digits10_pictures()[0])
    errors = ", ".join(f"{one.name} {one.error:.1e}" for one in found.rows)
    gives = "gives" if found.ok else "DOES NOT GIVE"
    return show_checks(f"onnxruntime {gives} the model's numbers; relative errors: {errors}")

"""The function import_weights: make a Darknet model of a cfg and another tool's file."""

import logging
import math
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from darkconv.arguments import checked
from darkconv.core.dialect import ALEXEYAB, PJREDDIE
from darkconv.core.model import Header, Model
from darkconv.darknet.dialect import AUTO
from darkconv.darknet.reading import names_beside
from darkconv.errors import DarkconvError
from darkconv.files import PathLike
from darkconv.imports.arrays import take
from darkconv.imports.choosing import choose_bundled
from darkconv.imports.differences import (
    adapt_reorg,
    classes_note,
    decoding_notes,
    epsilon_note,
    pool_notes,
)
from darkconv.imports.fit import fit
from darkconv.imports.found import Checkpoint
from darkconv.imports.keras_run import prove_keras
from darkconv.imports.opening import open_checkpoint
from darkconv.imports.proof import prove_layers, prove_onnx
from darkconv.imports.record import Imported
from darkconv.loading import check_arrays, read_model

logger = logging.getLogger("darkconv")


@checked
def import_weights(
    cfg: PathLike | None,
    checkpoint: PathLike,
    *,
    names: PathLike | None = None,
    names_encoding: str | None = None,
    dialect: str = "auto",
    input_size: tuple[int, int] | None = None,
    bn_epsilon: float | None = None,
    reorg: str = "auto",
    allow_nonfinite: bool = False,
) -> Model:
    """Read a model whose weights another tool wrote: PyTorch, Keras, TensorFlow or ONNX files.

    The log tells which arrays were read by which rule. Differences in what the tool and Darknet
    compute are logged as warnings.

    Args:
        cfg: the network that the tool followed; None if the file belongs to a bundled network.
        checkpoint: a .pt, .pth, .safetensors, .h5, .keras or .onnx file, or a checkpoint of
            TensorFlow. No code in it is run.
        names: the file of class names; None takes `<stem>.names` beside the cfg or the checkpoint.
        names_encoding: the encoding of the names file, as for `darkconv.load`.
        dialect: "auto", "pjreddie", "alexeyab" or "yolor".
        input_size: (width, height) of the network's input in pixels; None takes the cfg's.
        bn_epsilon: the epsilon that the tool's batch norm adds to the variance, such as 0.001 in
            Keras; the difference from Darknet's is added to the variances. None leaves arrays bit
            for bit as they are, unless the file itself states its epsilon.
        reorg: the treatment of [reorg] layers, for which most tools compute a plain space-to-depth:
            "keep", "reorg3d" (AlexeyAB's [reorg3d] computes the same), or "auto", which is
            "reorg3d" if the file itself states a space-to-depth.
        allow_nonfinite: accept arrays that hold NaN or infinity, as for `darkconv.load`.

    Returns:
        A model with exactly the arrays that the cfg requires.

    Raises:
        WeightsError: the file is damaged, would run code, or belongs to another network.
        CfgError: the cfg cannot be read.

    Example:
        >>> import darkconv as dc
        >>> import torch
        >>> from darkconv.assets import digits10_folder, load_digits10
        >>> digits = load_digits10()
        >>> torch.save(dc.to_torch(digits).state_dict(), "digits.pth")
        >>> model = dc.import_weights(digits10_folder() / "digits10.cfg", "digits.pth")
        >>> bool((model.arrays["0.weights"] == digits.arrays["0.weights"]).all())
        True
    """
    done = read_checkpoint(
        cfg,
        checkpoint,
        names=names,
        names_encoding=names_encoding,
        dialect=dialect,
        input_size=input_size,
        bn_epsilon=bn_epsilon,
        reorg=reorg,
    )
    check_arrays(done.model, checkpoint, allow_nonfinite=allow_nonfinite)
    first, *rest = done.lines()
    logger.info("%s", first)
    for line in rest:
        level = logging.WARNING if line in (*done.notes, *done.doubts) else logging.INFO
        logger.log(level, "%s: %s", done.file, line)
    return done.model


def read_checkpoint(
    cfg: PathLike | None,
    checkpoint: PathLike,
    *,
    names: PathLike | None = None,
    names_encoding: str | None = None,
    dialect: str = "auto",
    input_size: tuple[int, int] | None = None,
    bn_epsilon: float | None = None,
    reorg: str = "auto",
) -> Imported:
    """Read a model as `import_weights` does, and return it with the record of how it was read.

    Args:
        cfg: the network, or None to choose a bundled one: see `import_weights`.
        checkpoint: the other tool's file: see `import_weights`.
        names: the file of class names: see `import_weights`.
        names_encoding: the encoding of the names file: see `import_weights`.
        dialect: "auto", "pjreddie", "alexeyab" or "yolor".
        input_size: (width, height) of the network's input in pixels; None takes the cfg's.
        bn_epsilon: the epsilon of the tool's batch norm, 0 or more and below 1: see
            `import_weights`.
        reorg: "auto", "keep" or "reorg3d": see `import_weights`.

    Returns:
        The record, whose `model` is the result.

    Raises:
        WeightsError: the file is damaged, would run code, or belongs to another network.
        CfgError: the cfg cannot be read.
    """
    _check_epsilon(bn_epsilon)
    with open_checkpoint(checkpoint) as opened:
        chosen = choose_bundled(opened) if cfg is None else cfg
        names = names if names is not None else names_beside(checkpoint, None)
        read = partial(
            read_model, chosen, names=names, names_encoding=names_encoding, input_size=input_size
        )
        base = _in_dialect(read, dialect, opened)
        done = _imported(base, opened, bn_epsilon, reorg)
    if cfg is not None:
        return done
    note = f"no cfg was given; the only bundled network that it fits is {chosen}"
    return replace(done, notes=(note, *done.notes))


def _in_dialect(read: Callable[..., Model], dialect: str, opened: Checkpoint) -> Model:
    """Read a cfg; if it states no dialect, choose the one whose division is the file's program's.

    A cfg that states no dialect and has no weights header is read as pjreddie's, which adds 1e-6 to
    the root of the variance; the other tools, and AlexeyAB's program, add 1e-5 under the root.
    """
    base = read(dialect=dialect)
    if dialect != AUTO or base.dialect is not PJREDDIE or not opened.adds_under_root:
        return base
    try:
        return read(dialect=ALEXEYAB.name)
    except DarkconvError:
        return base


def _imported(base: Model, opened: Checkpoint, bn_epsilon: float | None, reorg: str) -> Imported:
    adapted = adapt_reorg(base.network, opened, reorg)
    found = fit(adapted.network, opened)
    taken = take(adapted.network, opened, found, bn_epsilon)
    model = replace(
        base,
        network=taken.network,
        arrays=taken.arrays,
        header=Header.new(taken.network.dialect),
        initial_layers=(),
    )
    meanings = [*decoding_notes(model.network, opened), *pool_notes(model.network, opened)]
    meanings.append(classes_note(model.network, opened))
    if bn_epsilon is None:
        meanings.append(epsilon_note(model, opened, list(found.units.values())))
    meanings = [note for note in meanings if note]
    if opened.is_runnable:
        proof = prove_onnx(model, opened.file)
    else:
        proof = prove_layers(model, opened, found, bn_epsilon)
    if opened.description is not None and bn_epsilon is None:
        proof = proof.joined(prove_keras(model, opened.file, opened.description))
    return Imported(
        os.fspath(opened.file),
        opened.kind,
        found.rule,
        layers=sum(bool(layer.slots) for layer in taken.network.layers),
        arrays=taken.count,
        left=opened.spare,
        notes=(*opened.notes, *found.notes, *taken.notes, *adapted.notes, *meanings, *proof.notes),
        doubts=proof.warnings,
        proof=proof.lines,
        model=model,
    )


def _check_epsilon(epsilon: float | None) -> None:
    if epsilon is not None and not (math.isfinite(epsilon) and 0 <= epsilon < 1):
        raise DarkconvError("bn_epsilon", expected="0 or more, and below 1", found=epsilon)

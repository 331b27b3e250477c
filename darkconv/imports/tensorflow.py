"""TensorFlow's checkpoints and SavedModels: their arrays by the names that Keras gave them."""

import glob
import os
import re
from collections.abc import Iterator, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from darkconv.errors import WeightsError, Where, shortened
from darkconv.files import PathLike
from darkconv.imports.found import Checkpoint, FoundArray, Values
from darkconv.imports.keras import LayerArrays, named_checkpoint, split_name
from darkconv.libraries import telling_missing

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""The array that maps keys to variables' names, in checkpoints of TensorFlow 2."""
UNWANTED = re.compile(r"(?:^|/)(?:optimizer|save_counter|keras_api)|\.OPTIMIZER_SLOT")
"""The keys of arrays that are no weights of the model."""
FAILURES = (ValueError, TypeError, RuntimeError, LookupError, MemoryError)
"""The exceptions that reading a damaged checkpoint raises, beside TensorFlow's own errors."""
REMEDY = "in TensorFlow: model.load_weights(FILE); model.save_weights('net.weights.h5')"


def open_tensorflow(prefix: str, file: PathLike) -> Checkpoint:
    """Return the layers of a TensorFlow checkpoint or SavedModel.

    Args:
        prefix: the prefix of its files: see `darkconv.loading.formats.tensorflow_prefix`.
        file: the path that the user gave.

    Raises:
        WeightsError: the checkpoint is damaged, or states more values than its files hold.
        MissingDependencyError: TensorFlow is not installed.
    """
    with telling_missing("reading TensorFlow's checkpoints"):
        import tensorflow as tf
        from tensorflow.core.protobuf import trackable_object_graph_pb2
    where = Where(file=os.fspath(file))
    try:
        reader = tf.train.load_checkpoint(prefix)
        shapes = dict(reader.get_variable_to_shape_map())
        kinds = {name: kind.name for name, kind in reader.get_variable_to_dtype_map().items()}
    except (*FAILURES, tf.errors.OpError) as error:
        raise WeightsError(
            f"cannot be read as TensorFlow's checkpoint: {shortened(str(error), 120)}",
            where=where,
            hint=REMEDY,
        ) from error
    most = sum(os.path.getsize(part) for part in glob.glob(f"{glob.escape(prefix)}.data-*"))
    arrays = _Arrays(reader, shapes, kinds, most, where)
    names = arrays.names(trackable_object_graph_pb2.TrackableObjectGraph())
    layers: dict[str, dict[str, FoundArray]] = {}
    for name, key in names.items():
        layer, word = split_name(name, "")
        layers.setdefault(layer, {})[word] = arrays.found(name, key)
    made = [LayerArrays(layer, found) for layer, found in layers.items()]
    is_model = Path(prefix).name == "variables"
    kind = "a SavedModel of TensorFlow" if is_model else "a checkpoint of TensorFlow"
    return named_checkpoint(os.fspath(file), made, None, kind)


class _Arrays:
    """The arrays of a checkpoint, by key."""

    def __init__(
        self,
        reader: Any,
        shapes: Mapping[str, Any],
        kinds: Mapping[str, str],
        most: int,
        where: Where,
    ) -> None:
        self._reader, self._shapes, self._kinds = reader, shapes, kinds
        self._most, self._where = most, where

    def names(self, graph: Any) -> dict[str, str]:
        """Return the key of each variable, by the name that Keras gave it.

        Args:
            graph: an empty TrackableObjectGraph message, which is filled.
        """
        if GRAPH not in self._shapes:
            return {key: key for key in sorted(self._shapes) if not UNWANTED.search(key)}
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

        text = self._read(GRAPH)
        try:
            graph.ParseFromString(text)
        except (DecodeError, TypeError) as error:
            raise WeightsError("its list of objects is damaged", where=self._where) from error
        return dict(reversed(list(self._named(graph))))

    def _named(self, graph: Any) -> Iterator[tuple[str, str]]:
        for node in graph.nodes:
            for attribute in node.attributes:
                key, name = attribute.checkpoint_key, attribute.full_name
                is_weight = key in self._shapes and not UNWANTED.search(key)
                if name and is_weight and not name.startswith("optimizer"):
                    yield name, key

    def found(self, name: str, key: str) -> FoundArray:
        """Return an array whose values are read on demand."""
        shape, kind = tuple(map(int, self._shapes[key])), self._kinds[key]
        if prod(shape) > self._most:
            raise WeightsError(
                "claims more values than the file has for it",
                where=Where(file=self._where.file, option=name),
                expected=f"at most {self._most} bytes",
                found="x".join(map(str, shape)),
            )
        return FoundArray(name, shape, kind, partial(self._values, key))

    def _values(self, key: str) -> Values:
        return np.asarray(self._read(key))

    def _read(self, key: str) -> Any:
        """Return an array, or the bytes of a text."""
        import tensorflow as tf

        try:
            return self._reader.get_tensor(key)
        except (*FAILURES, tf.errors.OpError) as error:
            raise WeightsError(
                f"its array {shortened(key)} is damaged: {shortened(str(error), 120)}",
                where=self._where,
            ) from error

"""The ONNX spoke's table of builders."""

from collections.abc import Callable

import onnx_ir as ir

from darkconv.backends.onnx.scope import LayerScope
from darkconv.backends.registry import Builders

BUILDERS: Builders[Callable[[LayerScope], ir.Value]] = Builders("ONNX")
"""A layer's scope -> the value of its output."""

"""The table of builders of the ONNX spoke."""

from collections.abc import Callable

import onnx_ir as ir

from darkconv.backends.onnx.scope import LayerScope
from darkconv.backends.registry import Builders

BUILDERS: Builders[Callable[[LayerScope], ir.Value]] = Builders("ONNX")
"""Builds a layer's nodes in its scope, and returns the value of its output."""

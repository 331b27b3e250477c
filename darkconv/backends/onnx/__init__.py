"""The ONNX spoke."""

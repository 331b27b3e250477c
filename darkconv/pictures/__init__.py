"""Pictures: image files in every format, their levels, and fitting them to a network's input."""

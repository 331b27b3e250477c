"""Pictures: reading image files of every format, and fitting pictures to a network's input."""

"""Compare frameworks, files and detections with a model; every check counts what it compared."""

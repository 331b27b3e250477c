"""Other tools' checkpoints become Darknet models: files that follow a cfg."""

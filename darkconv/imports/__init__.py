"""Read other tools' checkpoints, which follow a Darknet cfg, as Darknet models."""

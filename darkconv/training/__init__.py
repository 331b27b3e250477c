"""Training: losses and data."""

"""Running pictures through a model to see what its channels do."""

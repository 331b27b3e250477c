"""Statistics of a model's channels over pictures, and refitting of weights to them."""

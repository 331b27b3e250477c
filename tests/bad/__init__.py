"""The catalogue of bad input: what is refused, and what is odd but fine."""

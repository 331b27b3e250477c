"""Operations that make a new model from a model."""

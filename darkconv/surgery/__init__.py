"""Operations that make a model out of a model."""

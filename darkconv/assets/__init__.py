"""The bundled model and its pictures."""

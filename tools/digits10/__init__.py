"""What the bundled model digits10 is made of: pictures and training."""

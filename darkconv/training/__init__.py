"""Training: losses, pictures, augmentation, and the loop around them."""

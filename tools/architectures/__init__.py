"""The architectures behind the bundled cfgs, one module per family."""

"""Kits: folders with a model in the form that a device or server takes as it is."""

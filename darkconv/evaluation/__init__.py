"""Measure detectors and classifiers on labelled pictures."""

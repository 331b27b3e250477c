"""Fuzzes labels, lists, names and data files: see run.py."""

from harness import fuzz

fuzz("labels", "LABELS")

"""Fuzzes the text of a cfg: see run.py."""

from harness import fuzz

fuzz("cfg", "CFG")

"""Fuzzes weights files of small networks: see run.py."""

from harness import fuzz

fuzz("weights", "WEIGHTS")

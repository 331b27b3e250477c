"""Fuzzes plans, profiles and the metadata of exported files: see run.py."""

from harness import fuzz

fuzz("exported", "EXPORTED")

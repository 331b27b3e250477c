"""Format results of any kind: numerals, texts for HTML, tables for notebooks.

Each room has the tables of its own results.
"""

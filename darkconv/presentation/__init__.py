"""How results look, whatever they are of: numerals, texts for HTML, tables for notebooks.

Each room has the tables of its own results.
"""

"""Build the parts of report pages: sections, tables, charts and pictures, in one look.

Each room writes the pages of its own results.
"""

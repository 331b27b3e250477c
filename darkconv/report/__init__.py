"""What the pages of results are made of: sections, tables, charts, pictures, in one look.

Each room writes the pages of its own results.
"""

"""Fetch well-known models from where they are published."""

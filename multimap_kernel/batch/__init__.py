"""Notebooks over a whole study."""

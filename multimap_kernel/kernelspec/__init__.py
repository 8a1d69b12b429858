"""The multimap Jupyter kernel."""

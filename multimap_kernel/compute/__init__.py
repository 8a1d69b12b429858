"""Dask clusters behind one context manager."""

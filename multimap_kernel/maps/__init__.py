"""Activation, coupling and sensor maps, each with its null."""

"""Simulated sessions with known truth: the judge of everything else, so it knows none of it."""

from multimap_kernel.simulate.clocks import FAULTS
from multimap_kernel.simulate.features import simulate_features
from multimap_kernel.simulate.session import simulate_session
from multimap_kernel.simulate.sizes import EFFECTS, SIZES, SimulationError, describe

__all__ = ["EFFECTS", "FAULTS", "SIZES", "SimulationError", "describe", "simulate_features", "simulate_session"]

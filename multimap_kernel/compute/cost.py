"""What a server and its cluster cost an hour by the prices that the laboratory keeps: an estimate and not the bill."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any

PRICES = "MULTIMAP_PRICES"
"""Environment variable: ``prices`` of the chart as JSON: ``currency``, ``cpuHour``, ``memoryGBHour``, ``gpuHour`` by
kind, ``spotFactor`` (the share of the price that a spot node costs)."""
GIB = 2**30
SCHEDULER = {"nthreads": 1, "memory_limit": 2 * GIB}
"""As `compute.spec` asks for it; never on a spot node."""


def cost_line(scheduler: Mapping[str, Any] | None = None, environment: Mapping[str, str] = os.environ) -> str:
    """Say in one line what runs now costs.

    Parameters
    ----------
    scheduler
        What ``Client.scheduler_info(n_workers=-1)`` gave; None without a cluster.
    environment
        `PRICES`, and what JupyterHub tells a server of its size: ``CPU_GUARANTEE``, ``MEM_GUARANTEE`` (bytes), and
        ``MULTIMAP_GPU`` (a key of ``gpuHour``).

    Returns
    -------
    One line; empty where nobody keeps prices. Of prices that cannot be read it says so.
    """
    text = environment.get(PRICES, "")
    if not text:
        return ""
    try:
        prices = json.loads(text)
        size = (float(environment.get(name, 0)) for name in ("CPU_GUARANTEE", "MEM_GUARANTEE"))
        server = _machine(prices, *size)
        server += float(prices["gpuHour"].get(environment.get("MULTIMAP_GPU", ""), 0))
        parts = [f"server {server:.2f}"]
        workers = (scheduler or {}).get("workers", {}).values()
        cluster = sum(_part(prices, worker) for worker in workers) * float(prices["spotFactor"])
        if scheduler:
            cluster += _part(prices, SCHEDULER)
            hours = max(0.0, time.time() - float(scheduler["started"])) / 3600
            spent = f"{cluster * hours:.2f} if it was so for its {hours:.1f} h"
            parts.append(f"{len(workers)} workers and scheduler {cluster:.2f} ({spent})")
        return f"about {server + cluster:.2f} {prices['currency']} an hour: {', '.join(parts)}"
    except (ValueError, TypeError, KeyError, AttributeError) as fault:
        return f"unknown: {PRICES} must be JSON as the chart makes it from `prices`, found {text!r} ({fault!r})"


def _part(prices: Mapping[str, Any], size: Mapping[str, Any]) -> float:
    return _machine(prices, size["nthreads"], size["memory_limit"])


def _machine(prices: Mapping[str, Any], cpus: float, memory: float) -> float:
    return cpus * float(prices["cpuHour"]) + memory / GIB * float(prices["memoryGBHour"])

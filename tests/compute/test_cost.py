"""The cost line, against sums made by hand."""

import json
import time

import pytest

from multimap_kernel.compute.cost import PRICES, cost_line

GIB = 2**30
KEPT = {"currency": "EUR", "cpuHour": 0.03, "memoryGBHour": 0.004, "gpuHour": {"nvidia-l4": 0.65}, "spotFactor": 0.35}
SERVER = {PRICES: json.dumps(KEPT), "CPU_GUARANTEE": "1.0", "MEM_GUARANTEE": str(8 * GIB)}


def test_cost_line__of_a_server():
    assert cost_line(None, SERVER) == "about 0.06 EUR an hour: server 0.06"  # .03 + 8 x .004


def test_cost_line__of_a_server_with_a_gpu():
    assert cost_line(None, {**SERVER, "MULTIMAP_GPU": "nvidia-l4"}) == "about 0.71 EUR an hour: server 0.71"


def test_cost_line__of_a_cluster_has_spot_workers_and_a_scheduler_at_full_price():
    workers = {f"w{i}": {"nthreads": 1, "memory_limit": 4 * GIB} for i in range(10)}
    scheduler = {"workers": workers, "started": time.time() - 2 * 3600}
    # workers 10 x (.03 + 4 x .004) x .35 = .161, scheduler .03 + 2 x .004 = .038, server .062
    told = cost_line(scheduler, SERVER)
    expected = "server 0.06, 10 workers and scheduler 0.20 (0.40 if it was so for its 2.0 h)"
    assert told == f"about 0.26 EUR an hour: {expected}"


@pytest.mark.parametrize("environment", [{}, {PRICES: ""}])
def test_cost_line__is_silent_without_prices(environment):
    assert cost_line(None, environment) == ""


def test_cost_line__says_what_is_wrong_with_the_prices():
    assert "must be JSON as the chart makes it" in cost_line(None, {PRICES: '{"cpuHour": 1}'})

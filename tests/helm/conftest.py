"""Renders of the chart, made once."""

from functools import partial
from pathlib import Path

import charts
import pytest


@pytest.fixture(scope="session")
def chart(tmp_path_factory) -> Path:
    """A copy of the chart with its dependencies in place."""
    return charts.complete_chart(tmp_path_factory.mktemp("chart"))


@pytest.fixture(scope="session")
def helm(chart):
    """Run helm with the chart; the namespace of the hub is `lab`."""
    return partial(charts.helm, chart)


@pytest.fixture(scope="session")
def render(chart):
    """Objects of the chart for the given options."""
    return partial(charts.render, chart)


@pytest.fixture(scope="session")
def defaults(render):
    """With the three values alone."""
    return render()


@pytest.fixture(scope="session")
def everything(render):
    """With all that can be switched on."""
    return render("--values", charts.EVERYTHING, "--include-crds")


@pytest.fixture(scope="session")
def find():
    """The one object of a kind and name."""

    def one(objects, kind, name, namespace=None):
        (found,) = (
            thing
            for thing in objects
            if thing["kind"] == kind
            and thing["metadata"]["name"] == name
            and namespace in {None, thing["metadata"].get("namespace")}
        )
        return found

    return one

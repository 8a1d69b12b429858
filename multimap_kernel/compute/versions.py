"""The same software on both sides of a cluster, checked before any work is sent."""

from __future__ import annotations

from typing import Any

from distributed import Client

from multimap_kernel.schema import ClusterError

PACKAGES = ("multimap", "distributed", "dask", "cloudpickle", "numpy", "scipy", "xarray", "zarr", "numba")
"""Whose difference breaks messages, or changes results."""


def check_versions(client: Client) -> None:
    """Compare this process with the scheduler and with the workers that are there.

    Raises
    ------
    ClusterError
        If Python or a package differs; all differences are listed.
    """
    told: Any = client.get_versions(packages=list(PACKAGES))
    here = _of(told["client"])
    others = {"the scheduler": _of(told["scheduler"])}
    others |= {f"worker {address}": _of(found) for address, found in told["workers"].items() if found}
    faults = {
        f"{name} {here[name]} here, {theirs.get(name)} on {who}"
        for who, theirs in others.items()
        for name in here
        if theirs.get(name) != here[name]
    }
    if faults:
        raise ClusterError(
            f"notebook and cluster must run the same image, found {'; '.join(sorted(faults))}; restart your server, or "
            "set DASK_KUBERNETES__IMAGE to the image that it runs"
        )


def _of(told: dict[str, Any]) -> dict[str, str]:
    packages = told["packages"]
    python = ".".join(str(packages["python"]).split(".")[:2])
    return {"python": python, **{name: str(packages.get(name)) for name in PACKAGES}}

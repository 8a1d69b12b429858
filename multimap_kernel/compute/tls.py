"""TLS of one cluster: a certificate made when it starts, kept in memory alone, and gone with it."""

from __future__ import annotations

import dask.config
from distributed.security import Security

from multimap_kernel.schema import ClusterError

ROLES = ("client", "scheduler", "worker")
"""Who takes part; each shows the same certificate, so whoever has it belongs to the cluster."""


def temporary_security() -> Security:
    """Make the key and the certificate of a cluster; neither touches a disk.

    Raises
    ------
    ClusterError
        If the library that makes them is not installed.
    """
    try:
        made: Security = Security.temporary()
    except ImportError as fault:
        raise ClusterError("TLS between workers needs cryptography; pip install 'multimap[cloud]'") from fault
    return made


def settings(security: Security) -> dict[str, str]:
    """Dask's settings by which scheduler, workers and clients speak TLS with each other and no one else.

    Parameters
    ----------
    security
        As of `temporary_security`; its certificate is its own authority.

    Returns
    -------
    Names and values; the key is among them, so they go to processes and never to a file.
    """
    values = {"require-encryption": "true", "tls.ca-file": getattr(security, "tls_ca_file")}  # noqa: B009  # typed nowhere
    for role in ROLES:
        for part in ("key", "cert"):
            values[f"tls.{role}.{part}"] = getattr(security, f"tls_{role}_{part}")
    return {f"distributed.comm.{name}": value for name, value in values.items()}


def environment(security: Security) -> dict[str, str]:
    """The same settings as environment of another process."""
    return {_variable(name): value for name, value in settings(security).items()}


def speaks_tls() -> bool:
    """Whether this process has a certificate by Dask's settings, as the environment above gives it one."""
    return dask.config.get("distributed.comm.tls.client.cert", None) is not None


def _variable(setting: str) -> str:
    return "DASK_" + setting.upper().replace(".", "__").replace("-", "_")

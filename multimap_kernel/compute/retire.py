"""Hands a worker's results to the others before it is ended: ``python -m multimap_kernel.compute.retire``.

Kubernetes runs it before it ends a worker's pod, also when a spot node is taken away and leaves 15 s in all; a worker
that only gets SIGTERM takes its results with it, and they are computed once more. It imports the standard library
alone, because Dask itself takes seconds to load beside a busy worker.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any
from urllib.request import Request, urlopen

GRACE_S = 13.0


def retire(url: str, name: str) -> bool:
    """Ask a scheduler to move what a worker holds and to let it go; returns when that is done.

    Parameters
    ----------
    url
        The scheduler's HTTP server, such as ``http://10.0.0.7:8787``, with Dask's route ``scheduler.api``.
    name
        Of the worker.

    Returns
    -------
    Whether the scheduler knew that worker and let it go.

    Raises
    ------
    OSError
        If the scheduler does not answer, or not in time.
    """
    known = _ask(f"{url}/api/v1/get_workers")["workers"]
    addresses = [worker["address"] for worker in known if worker["name"] == name]
    return bool(addresses) and bool(_ask(f"{url}/api/v1/retire_workers", {"workers": addresses}))


def _ask(url: str, content: Any = None) -> Any:
    body = None if content is None else json.dumps(content).encode()
    with urlopen(Request(url, body), timeout=GRACE_S) as answer:  # noqa: S310  # of our own spec
        return json.load(answer)


def main() -> int:
    """Retire the worker of this container; an exit code for the log, as the pod ends in any case."""
    try:
        url, name = os.environ["MULTIMAP_SCHEDULER_HTTP"], os.environ["DASK_WORKER_NAME"]
    except KeyError as missing:
        sys.stderr.write(f"the environment of a worker must hold {missing}, found none; nothing was retired\n")
        return 20
    try:
        retired = retire(url, name)
    except OSError as fault:
        sys.stderr.write(f"{url} must take over what {name} holds, found {type(fault).__name__}: {fault}\n")
        return 75
    sys.stdout.write(
        f"{name} {'handed over its results' if retired else 'was not known and had nothing to hand over'}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One attempt at a session in a process of its own, with a quick lease: ``python holder.py SESSION NOTEBOOK GATE``.

The notebook waits for the file GATE. What became of the attempt is printed at the end; ``-`` if another holds it.
"""

import os
import sys
import threading
from pathlib import Path

from multimap_kernel.batch.attempt import Conditions, attempt
from multimap_kernel.batch.lease import Pace
from multimap_kernel.batch.records import RunRecord

PACE = Pace(heartbeat_s=0.3, stale_s=3.0)


def main() -> None:
    session, notebook, gate = sys.argv[1:]
    draft = RunRecord("run", "s", 0, session, notebook, {"gate": gate}, status="waiting")
    conditions = Conditions(Path(notebook), dict(os.environ), pace=PACE, patience_s=5.0)
    record = attempt(draft, conditions, threading.Event(), lambda *_: None)
    print(f"{record.attempt} {record.status} {record.error}" if record else "-", flush=True)


if __name__ == "__main__":
    main()

"""The process that executes one notebook (``python -m multimap_kernel.batch.execute FOLDER PARENT``)."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import papermill
from nbclient.exceptions import DeadKernelError

from multimap_kernel.batch.records import NOTEBOOK, RunRecord
from multimap_kernel.batch.status import ExitCode, exit_code_of

LOG = logging.getLogger(__name__)
WATCH_S = 1.0


def main(folder: str, parent: int) -> int:
    """Execute the notebook in a folder in place, with the parameters of its ``run.json``; returns the exit code.

    It ends with ``parent``, the process of the batch, whose number is given: asked for here, it would be another's
    already if the batch was killed while this process was starting.

    The parameters reach the kernel as they stand in the JSON: "02" stays a string, which papermill's own ``-p`` makes
    a number.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    record = RunRecord.load(folder)
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_follow_parent, args=(parent,), daemon=True).start()
    try:
        papermill.execute_notebook(
            str(Path(folder, NOTEBOOK)),
            str(Path(folder, NOTEBOOK)),
            parameters=record.parameters,
            progress_bar=False,
            log_output=True,
            store_widget_state=False,
        )
    except papermill.PapermillExecutionError as fault:
        return exit_code_of(fault.ename)
    except (DeadKernelError, RuntimeError):  # the latter while it was starting
        LOG.exception("the kernel is gone")
        return ExitCode.KERNEL_DIED
    except OSError:
        LOG.exception("the executed notebook could not be saved")
        return ExitCode.STORAGE
    except Exception:
        LOG.exception("papermill could not execute the notebook")
        return ExitCode.RAISED
    return ExitCode.DONE


def _stop(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM: leave through papermill's own clean-up, which ends the kernel and saves what is there."""
    raise SystemExit(ExitCode.PREEMPTED)


def _follow_parent(parent: int) -> None:
    """End with the batch that started us, also when it was killed and could not say so."""
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))

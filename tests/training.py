"""A training run as a process of its own, to be ended at any moment: ``python training.py FOLDER [SECONDS A STEP]``."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from coupled import BY_RUN, coupled_runs

from multimap_kernel.fusion import journal
from multimap_kernel.fusion.train import train
from multimap_kernel.io.runfolder import RunDirectory
from multimap_kernel.schema import PreemptedError

OPTIONS = {**BY_RUN, "folds": 2}


def runs():
    return coupled_runs(2, minutes=4.0, regions=3, channels=("Fz", "F4", "C3", "O1"))


class Slow(RunDirectory):
    """Makes training slow enough to be hit in the middle; changes nothing that is learned."""

    def append_event(self, event):
        super().append_event(event)
        time.sleep(float(sys.argv[2]))


def main():
    journal.EVERY_S, journal._EVENT_S = 0.05, 0.0
    try:
        fit, _ = train(runs(), **OPTIONS, folder=Slow(sys.argv[1]))
    except PreemptedError as asked:
        print(asked)
        return asked.exit_code
    print(fit.weights_sha256)
    return 0


if __name__ == "__main__":
    sys.exit(main())

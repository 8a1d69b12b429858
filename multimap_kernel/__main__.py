"""The ``multimap`` command: parses arguments, calls the library, says what happened."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import multimap_kernel as mm

QC_ACTIONS = (
    *("show", "accept", "exclude", "hold", "undo", "marker", "first_volume", "repetition_time"),
    *("drop_marker", "add_marker", "shift", "bad_channel", "bad_span"),
)
PLACES = ("bids", "notebook", "table", "recipe", "url", "folder", "eeg", "bold")
"""Options that name a path or URL to work with, but the store, which doctor is asked about."""
Commands = argparse._SubParsersAction  # noqa: SLF001  # argparse gives its groups of commands no public name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code.

    0 done, 10 failed, 20 bad input, 21 excluded, 30 storage failed, 75 ended before its time, 130 interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        for url in filter(None, (getattr(options, name, "") for name in PLACES)):
            mm.check_place(url)
        return int(options.call(options))
    except KeyboardInterrupt:
        return 130
    except mm.MultimapError as fault:
        print(f"multimap: {fault}", file=sys.stderr)
        return int(fault.exit_code)
    except OSError as fault:
        print(
            f"multimap: a file or folder could not be used: {fault}; check the path, space and rights", file=sys.stderr
        )
        return 30


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="multimap", description="From raw EEG-fMRI to brain maps: simultaneous EEG and fMRI, in Jupyter, on Dask."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _data_commands(commands)
    _work_commands(commands)
    _model_commands(commands)
    _people_commands(commands)
    return parser


def _add(commands: Commands[argparse.ArgumentParser], name: str, text: str, call: object) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(call=call)
    return command


def _where(command: argparse.ArgumentParser, *, bids: bool = True) -> None:
    if bids:
        command.add_argument("bids", help="path or URL of the BIDS study")
    command.add_argument("--study", default="", help="its name in the store (default: name of the BIDS folder)")
    command.add_argument("--store", default="", help="any fsspec URL (default: $MULTIMAP_STORE or ./multimap-store)")
    command.add_argument("--recipe", default="", help="recipe.yaml (default: the standard recipe)")


def _data_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    simulate = _add(commands, "simulate", "make a BIDS study with known truth", _simulate)
    simulate.add_argument("study", nargs="?", default="", help="folder of the study")
    simulate.add_argument("--size", default="tiny", choices=["tiny", "demo", "standard"])
    simulate.add_argument("--sessions", type=int, default=1, help="how many subjects")
    simulate.add_argument("--seed", type=int, default=0, help="seed of the first subject; the next ones count on")
    simulate.add_argument("--describe", action="store_true", help="print sizes and effects, make nothing")

    adopt = _add(commands, "adopt", "make a BIDS session from loose files; they are copied, never changed", _adopt)
    adopt.add_argument("eeg", help="EEG: .vhdr, .edf, .bdf or .set")
    adopt.add_argument("bold", help="BOLD: .nii or .nii.gz")
    adopt.add_argument("others", nargs="*", metavar="FILE", help="T1-weighted image (.nii, .nii.gz), events (.tsv)")
    adopt.add_argument("--subject", required=True, help="label, such as 01")
    adopt.add_argument("--task", required=True, help="label, such as rest")
    adopt.add_argument("--session", default="", help="label")
    adopt.add_argument("--run", default="", help="label")
    adopt.add_argument("--out", required=True, help="folder of the study")

    check = _add(commands, "check", "list every session and what is missing, before anything is computed", _check)
    check.add_argument("bids", help="path or URL of the BIDS study")
    check.add_argument("--recipe", default="", help="recipe.yaml, for its pairs")


def _work_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    for name, text in (("run", "run the line over sessions"), ("ingest", "read raw data into the store")):
        command = _add(commands, name, text, _run)
        _where(command)
        command.add_argument("--sessions", nargs="*", default=[], metavar="LABEL", help="(default: all)")
        if name == "run":
            command.add_argument("--upto", default="publish", metavar="STEP", help="last step")
        else:
            command.set_defaults(upto="ingest")
        command.add_argument("--workers", type=int, default=2, help="Dask processes; 0: work in this one")
        command.add_argument("--memory", default="1GiB", help="limit of one worker")

    step = _add(commands, "step", "run one step of one session, or the group step of the study", _step)
    step.add_argument("name", help="such as align")
    _where(step)
    step.add_argument("--session", default="", metavar="LABEL", help="(group: none, it reads all sessions)")

    _batch_command(commands)

    runs = _add(commands, "runs", "list, filter, compare and open the runs of notebooks", _runs)
    runs.add_argument("url", nargs="?", default="", help="folder of runs (default: that of --study in the store)")
    runs.add_argument("--study", default="", help="name of the study in the store")
    runs.add_argument("--store", default="")
    runs.add_argument("--run", default="", metavar="ID", help="its attempts; the beginning of the name is enough")
    runs.add_argument("--sessions", nargs="*", default=[], metavar="LABEL")
    runs.add_argument("--status", nargs="*", default=[], metavar="STATUS", help="such as failed")
    what = runs.add_mutually_exclusive_group()
    what.add_argument("--compare", nargs=2, metavar="ID", help="what changed; ID:2 is attempt 2")
    what.add_argument("--open", default="", metavar="ID", help="its page in the browser")

    gc = _add(
        commands,
        "gc",
        "remove results that no recipe and no executed notebook names, and layers of links that ended",
        _gc,
    )
    gc.add_argument("--study", required=True)
    gc.add_argument("--store", default="")
    gc.add_argument("--dry-run", action="store_true", help="only tell")


def _model_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    train = _add(commands, "train", "train the joint model on the sessions of a study; goes on where it ended", _train)
    _where(train)
    train.add_argument("--sessions", nargs="*", default=[], metavar="LABEL", help="(default: all)")
    train.add_argument("--folder", default="", help="run folder, any fsspec URL (default: in the store, by recipe)")
    train.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    train.add_argument("--workers", type=int, default=2, help="Dask processes; 0: work in this one")
    train.add_argument("--memory", default="1GiB", help="limit of one worker")


def _batch_command(commands: Commands[argparse.ArgumentParser]) -> None:
    batch = _add(commands, "batch", "execute a notebook for each session", _batch)
    batch.add_argument("notebook", help="path or URL")
    batch.add_argument("bids", nargs="?", default="", help="path or URL of the BIDS study")
    _where(batch, bids=False)
    batch.add_argument("--sessions", nargs="*", default=[], metavar="LABEL", help="(default: all of the study)")
    batch.add_argument("--table", default="", help="run table instead: .csv with a column session, or .json")
    batch.add_argument("--runs", default="", help="path or URL of executed notebooks (default: in the store)")
    batch.add_argument("--run-id", default="", help="name of the run (default: of the notebook and the recipe)")
    batch.add_argument("--only", default="", choices=["failed", "changed", "all"], help="(default: what is not done)")
    batch.add_argument("--jobs", type=int, default=1, help="notebooks at a time")
    batch.add_argument("--timeout", type=float, default=0, help="seconds for one notebook (default: no limit)")
    batch.add_argument("--notebook-memory", default="", help="limit of one notebook, such as 4GiB (default: none)")
    batch.add_argument("--workers", type=int, default=2, help="Dask processes that all notebooks share; 0: none")
    batch.add_argument("--memory", default="1GiB", help="limit of one worker")
    batch.add_argument(
        "--executor",
        default="local",
        choices=["local", "kubernetes", "cloudrun"],
        help="other than local: print the job for kubectl or gcloud and start nothing here",
    )
    batch.add_argument("--image", default="", help="container image of such a job, by digest (default: this one's)")
    batch.add_argument("--row", default="", help="only this row of the table; env: the one that the platform names")


def _people_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    show = _add(commands, "show", "serve the viewer on this machine until stopped", _show)
    show.add_argument("--study", required=True)
    show.add_argument("--store", default="")
    show.add_argument("--session", default="", metavar="LABEL", help="or group (default: the first that was run)")
    show.add_argument("--recipe-name", default="default")
    show.add_argument("--port", type=int, default=0, help="(default: a free one)")

    link = _add(commands, "link", "make a link to the maps of a session or to a run; list and withdraw links", _link)
    link.add_argument("--study", default="", help="its name in the store")
    link.add_argument("--store", default="")
    link.add_argument("--session", default="", metavar="LABEL", help="or group (default: the first that was run)")
    link.add_argument("--recipe-name", default="default")
    link.add_argument("--run", default="", metavar="ID", help="an executed notebook instead: RUN or RUN/SESSION")
    link.add_argument("--with", default=[], nargs="*", dest="with_", metavar="WHO", help="group:NAME or user:NAME")
    link.add_argument("--expires", default="30d", help="such as 30d or 12h (default: 30d)")
    link.add_argument("--title", default="", help="what its page says it is")
    what = link.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="the links that you made")
    what.add_argument("--revoke", default="", metavar="ID", help="withdraw one of them")

    lab = _add(commands, "lab", "open JupyterLab on the notebooks", _lab)
    lab.add_argument("folder", nargs="?", default="notebooks")
    lab.add_argument("--store", default="")

    qc = _add(commands, "qc", "show or record decisions about a session", _qc)
    qc.add_argument("action", choices=QC_ACTIONS, metavar="ACTION", help=", ".join(QC_ACTIONS))
    qc.add_argument("session", metavar="LABEL")
    qc.add_argument("--study", required=True)
    qc.add_argument("--store", default="")
    qc.add_argument(
        "--value",
        default="",
        help="label, volume, channel, seconds or start:stop; from the first sample",
    )
    qc.add_argument("--reason", default="")
    qc.add_argument("--supersedes", default="", help="identifier of the decision to undo")

    doctor = _add(commands, "doctor", "tell whether this machine and this store are well", _doctor)
    doctor.add_argument("--store", default="")


def _simulate(options: argparse.Namespace) -> int:
    if options.describe:
        print(mm.describe(options.size))
        return 0
    if not options.study:
        raise mm.InputError("simulate must have the folder of the study, found none; give it, or --describe")
    return int(mm.console.simulate(options.study, options.size, options.sessions, options.seed))


def _adopt(options: argparse.Namespace) -> int:
    return int(mm.console.adopt(options))


def _check(options: argparse.Namespace) -> int:
    return int(mm.console.check(options.bids, _recipe(options)))


def _run(options: argparse.Namespace) -> int:
    return int(
        mm.console.run(
            options.bids,
            study=_study(options),
            sessions=options.sessions,
            recipe=_recipe(options),
            runtime=_runtime(options, writes=True),
            upto=options.upto,
        )
    )


def _step(options: argparse.Namespace) -> int:
    given = {"study": _study(options), "recipe": _recipe(options), "runtime": _runtime(options, writes=True)}
    if options.name == "group":
        done = mm.run_group(options.bids, **given)
    elif options.session:
        done = mm.run_step(options.name, options.bids, session=options.session, **given)
    else:
        raise mm.InputError(f"step {options.name} must have --session LABEL, found none; only group has none")
    print(f"{options.session or 'study'} {done.step}: {done.state} {done.place}/{done.key}")
    return 0


def _batch(options: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, _preempted)
    study = _study(options) if options.bids else options.study
    if options.runs and options.executor == "local":
        mm.check_place(options.runs)
    return int(mm.console.batch(options, study=study, runtime=_runtime(options, writes=True)))


def _preempted(_signal: int, _frame: object) -> None:
    """An eviction ends the notebooks in order, like Ctrl-C; the exit code tells that another try goes on."""
    raise SystemExit(75)


def _runs(options: argparse.Namespace) -> int:
    if not (options.url or options.study):
        raise mm.InputError("runs must have a folder of runs or --study NAME, found neither; give one")
    url = options.url or _store(options).url("runs")
    if options.compare:
        return int(mm.console.compare(url, *options.compare))
    if options.open:
        return int(mm.console.open_run(url, options.open, options.sessions))
    return int(mm.console.runs(url, run=options.run, sessions=options.sessions, statuses=options.status))


def _train(options: argparse.Namespace) -> int:
    return int(
        mm.console.train(
            options.bids,
            study=_study(options),
            sessions=options.sessions,
            recipe=_recipe(options),
            runtime=_runtime(options, writes=True),
            folder=options.folder,
            device=options.device,
        )
    )


def _gc(options: argparse.Namespace) -> int:
    return int(mm.console.clear(_store(options), dry_run=options.dry_run))


def _show(options: argparse.Namespace) -> int:
    return int(mm.console.show(_store(options), options.session, options.recipe_name, options.port))


def _link(options: argparse.Namespace) -> int:
    if options.list or options.revoke:
        return int(mm.console.links(_runtime(options).store, options.revoke))
    if not options.study:
        raise mm.InputError("link must have --study NAME, --list or --revoke ID, found none; give one")
    return int(mm.console.link(_store(options), options))


def _lab(options: argparse.Namespace) -> int:
    return int(mm.console.lab(options.folder, _runtime(options).store))


def _qc(options: argparse.Namespace) -> int:
    store = _store(options)
    if options.action != "show":
        mm.decide(
            store,
            options.session,
            options.action,
            value=options.value,
            reason=options.reason,
            supersedes=options.supersedes,
        )
    return int(mm.console.decisions(store, options.session))


def _doctor(options: argparse.Namespace) -> int:
    return int(mm.console.doctor(options.store or mm.Runtime().store))


def _recipe(options: argparse.Namespace) -> mm.Recipe:
    return mm.Recipe.load(options.recipe) if options.recipe else mm.Recipe()


def _study(options: argparse.Namespace) -> str:
    """Its name in the store: as given, or that of the BIDS folder."""
    name = str(options.study)
    if not name:
        _, remote, path = options.bids.partition("://")
        name = path.rstrip("/").rpartition("/")[2] if remote else Path(options.bids).resolve().name
    if set(name.split("/")) & {"", ".", ".."}:
        raise mm.InputError(f"the study must have a name, found {name!r}; give it with --study")
    return name


def _store(options: argparse.Namespace) -> mm.Store:
    return mm.Store(_runtime(options).store, options.study)


def _runtime(options: argparse.Namespace, *, writes: bool = False) -> mm.Runtime:
    """Where to work and where results go; a store that cannot be used here is told before anything is computed."""
    workers = getattr(options, "workers", 0)
    given = {"workers": workers, "memory": options.memory, "kind": "local"} if workers else {"kind": "threads"}
    cluster = mm.Cluster(**given)
    runtime = mm.Runtime(store=options.store, cluster=cluster) if options.store else mm.Runtime(cluster=cluster)
    if getattr(options, "executor", "local") == "local":
        mm.check_place(runtime.store, writes=writes)
    return runtime


if __name__ == "__main__":
    sys.exit(main())

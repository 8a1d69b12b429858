"""Dask without Kubernetes: schedulers and workers as processes of their own, speaking TLS, ended in every way."""

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import dask
import pytest
from distributed import Client, wait
from interrupted import RECIPE
from objectstore import free_port

import multimap_kernel as mm
from multimap_kernel.compute.tls import environment, settings, temporary_security
from multimap_kernel.schema import ClusterError
from multimap_kernel.simulate import simulate_session

pytestmark = [pytest.mark.platform, pytest.mark.timeout(1200)]
DASK = Path(sys.executable).with_name("dask")


class Processes:
    """A scheduler and workers that are started and ended one by one."""

    def __init__(self, folder):
        pytest.importorskip("dask_kubernetes", reason="the extra multimap[cloud] is not installed")
        from multimap_kernel.compute.spec import scheduler_settings

        self.folder, self.security = folder, temporary_security()
        self.address, self.http = f"tls://127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.environment = {**os.environ, **environment(self.security), **scheduler_settings()}
        self.workers = {}

    def __enter__(self):
        port = self.address.rsplit(":", 1)[1]
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", port, "--dashboard-address", self.http
        )
        await_port(self.address)
        return self

    def __exit__(self, *_):
        for process in (self.scheduler, *self.workers.values()):
            process.kill()
            process.wait()

    def _start(self, *command):
        with (self.folder / f"{command[0]}.log").open("ab") as log:
            return subprocess.Popen([DASK, *command], env=self.environment, stdout=log, stderr=log, cwd=self.folder)

    def add(self, *names):
        options = ("--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard", "--memory-limit", "0", "--no-nanny")
        for name in names:
            self.workers[name] = self._start("worker", self.address, "--name", name, *options)

    def retire(self, name):
        """The preStop hook, as a pod runs it."""
        own = {"DASK_WORKER_NAME": name, "MULTIMAP_SCHEDULER_HTTP": f"http://{self.http}"}
        command = [sys.executable, "-m", "multimap_kernel.compute.retire"]
        return subprocess.run(command, check=False, env={**self.environment, **own}, capture_output=True, text=True)

    def end(self, name, how):
        self.workers[name].send_signal(how)
        self.workers.pop(name).wait(400)

    @property
    def runtime(self):
        return mm.Runtime(cluster={"kind": "address", "address": self.address, "patience_s": 400})


def await_port(address, seconds=400):
    """A process that is starting listens some time later; on a busy machine much later."""
    host, port = address.rsplit("/", 1)[1].split(":")
    for _ in range(10 * seconds):
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens at {address}")


@pytest.fixture
def processes(tmp_path):
    with Processes(tmp_path) as running, dask.config.set(settings(running.security)):
        yield running


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    simulate_session(folder / "bids", size="tiny", artifacts=False)
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


def run(study, runtime, store, progress=None):
    """The line as far as the features: its steps, and a hash of each result."""
    chosen = runtime.model_copy(update={"store": str(store)})
    recipe = mm.Recipe.load(study / "recipe.yaml")
    (result,) = mm.run(
        str(study / "bids"), study="s", recipe=recipe, runtime=chosen, upto="features", progress=progress
    )
    place = mm.Store(chosen.store, "s")
    return result, {
        step.step: mm.io.store.digest(place.open(step.place, step.key))
        for step in result.steps
        if place.commit(step.place, step.key)
    }


@pytest.fixture(scope="module")
def undisturbed(study):
    result, found = run(study, mm.Runtime(cluster={"kind": "threads"}), study / "undisturbed")
    result.require_done()
    return found


def test_retire__a_worker_that_gets_sigterm_after_the_hook_loses_nothing(processes):
    def stamp(number):
        return time.time(), os.urandom(1_000_000)

    def stamps(futures):
        wait(futures, timeout=400)
        return client.gather(client.map(lambda made: made[0], futures, pure=False))

    processes.add("a", "b")
    with mm.cluster(processes.runtime) as client:
        client.wait_for_workers(2, timeout=400)
        futures = client.map(stamp, range(20), pure=False)
        before = stamps(futures)
        assert processes.retire("a").stdout == "a handed over its results\n"
        processes.end("a", signal.SIGTERM)
        assert stamps(futures) == before
        assert processes.retire("nobody").stdout == "nobody was not known and had nothing to hand over\n"

        processes.add("c")  # and without the hook
        client.wait_for_workers(2, timeout=400)
        futures = client.map(stamp, range(20), pure=False)
        before = stamps(futures)
        processes.end("c", signal.SIGTERM)
        assert sum(one != other for one, other in zip(stamps(futures), before, strict=True)) > 0


def test_retire__says_what_is_missing(processes):
    processes.http = "127.0.0.1:1"
    told = processes.retire("a")
    assert told.returncode == 75
    assert "http://127.0.0.1:1 must take over what a holds, found URLError" in told.stderr


def test_scheduler__listens_to_its_own_certificate_alone(processes):
    processes.add("a")
    with mm.cluster(processes.runtime) as client:
        assert client.submit(abs, -2).result(60) == 2
    other = temporary_security()
    with (
        pytest.raises(OSError, match="TLS certificate does not match"),
        Client(processes.address, security=other, timeout=400),
    ):
        pass
    with (
        dask.config.set({"distributed.comm.tls.client.cert": None}),
        pytest.raises(ClusterError, match="wants the certificate of its cluster, found none"),
        mm.cluster(processes.runtime),
    ):
        pass


def test_run__a_killed_worker_changes_no_result(processes, study, undisturbed, tmp_path):
    processes.add("a", "b")

    def kill(session, step):
        if step.step == "features" and step.state == "running":
            processes.end("a", signal.SIGKILL)

    result, found = run(study, processes.runtime, tmp_path / "store", kill)
    result.require_done()
    assert "a" not in processes.workers
    assert found == undisturbed


def test_run__a_dead_scheduler_is_told_and_the_next_run_goes_on(processes, study, undisturbed, tmp_path):
    processes.add("a")

    def kill(session, step):
        if step.step == "clean_eeg" and step.state == "running":
            processes.scheduler.kill()

    with dask.config.set({"distributed.comm.timeouts.connect": "2s"}):
        result, _ = run(study, processes.runtime, tmp_path / "store", kill)
    assert (result.status, result.exit_code) == ("failed", ClusterError.exit_code)
    assert "scheduler" in result.error
    assert "run again" in result.error
    done = {record.parts[-3] for record in (tmp_path / "store").rglob("commit.json")}
    assert {"ingest", "align"} <= done
    assert "clean_eeg" not in done
    again, found = run(study, mm.Runtime(cluster={"kind": "threads"}), tmp_path / "store")
    again.require_done()
    assert {step.step for step in again.steps if step.state == "reused"} == done
    assert found == undisturbed


def test_cluster__a_failed_reconnection_does_not_replace_what_the_work_told(processes, monkeypatch):
    """A race inside Dask, seen once on a busy machine: the stream is closed while it is turned to TLS."""
    failed = threading.Event()

    async def not_idle(*_, **__):
        failed.set()
        raise ValueError("IOStream is not idle; cannot convert to SSL")

    def work():
        with mm.cluster(processes.runtime) as client:
            clients.append(client)
            monkeypatch.setattr("distributed.client.connect", not_idle)
            processes.scheduler.kill()
            assert failed.wait(400)
            raise ClusterError("what the work told")

    clients = []
    processes.add("a")
    with pytest.raises(ClusterError, match="what the work told"):
        work()
    assert clients.pop().status == "closed"
    gc.collect()  # pytest makes what a deleted client raises an error


def test_cluster__other_software_is_refused_in_words(processes, monkeypatch):
    processes.environment["PYTHONPATH"] = str(tampered(processes.folder, "xarray", "2020.1.0"))
    processes.add("a")
    told = r"same image, found xarray \S+ here, 2020\.1\.0 on worker tls://.*restart"
    with pytest.raises(ClusterError, match=told), mm.cluster(processes.runtime):
        pass


def tampered(folder, package, version):
    """A folder by which a process believes that it has another version of a package."""
    information = folder / "other" / f"{package}-{version}.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    return information.parent

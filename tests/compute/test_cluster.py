"""Real clusters on this machine: where they listen, and what they say when their workers die."""

import os
import signal
import time

import dask
import dask.array as da
import psutil
import pytest

from multimap_kernel.compute import cluster
from multimap_kernel.config import Runtime
from multimap_kernel.schema import ClusterError

pytestmark = pytest.mark.platform


def runtime(**options):
    return Runtime(cluster={"kind": "local", "workers": 1, "memory": "400MiB", **options})


@pytest.fixture
def slow():
    def square(value):  # inside the fixture: workers get its code, not the name of this file
        time.sleep(0.1)
        return value * value

    return square


def test_cluster__threads_stays_in_this_process():
    with cluster(runtime(kind="threads", workers=2)) as client:
        seen = dask.compute(*[dask.delayed(os.getpid)() for _ in range(4)])
    assert client is None
    assert set(seen) == {os.getpid()}


def test_cluster__local_listens_on_loopback_only_and_holds_workers_to_one_thread(tmp_path):
    with cluster(runtime().model_copy(update={"scratch": str(tmp_path)})) as client:
        total = da.ones((200, 200), chunks=50).sum().compute()
        processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
        listening = [
            connection.laddr.ip
            for process in processes
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
        (threads,) = client.run(lambda: [os.environ.get(name) for name in names]).values()
        (folder,) = client.run(lambda dask_worker: dask_worker.local_directory).values()
    assert total == 40000
    assert set(listening) == {"127.0.0.1"}
    assert threads == ["1", "1", "1"]
    assert folder.startswith(str(tmp_path))


def test_cluster__rechunks_by_tasks_because_shuffles_lose_work():
    with cluster(runtime()):
        turned = da.ones((400, 400), chunks=(400, 10)).rechunk((10, 400))
        assert [key for key in turned.__dask_graph__() if "p2p" in str(key)] == []
        assert turned.sum().compute() == 160000


def test_cluster__a_killed_worker_costs_no_result(slow):
    told, found = "", []
    try:
        with cluster(runtime(workers=2, patience_s=40)) as client:
            futures = client.map(slow, range(40), pure=False)
            time.sleep(0.5)
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
            found = client.gather(futures)
    except ClusterError as fault:  # allowed: Dask brought no worker back, and that is said
        told = str(fault)
    assert found == [value * value for value in range(40)] or "no worker came back for 40 s" in told


def test_cluster__no_worker_ends_the_wait_with_a_readable_error(slow):
    def work_without_workers():
        with cluster(runtime(patience_s=1.5)) as client:
            client.cluster.scale(0)
            client.submit(slow, 3).result()

    with pytest.raises(ClusterError, match=r"no worker came back for 1\.5 s"):
        work_without_workers()


def test_cluster__workers_with_full_memory_end_the_wait_with_a_readable_error(slow):
    def fill(dask_worker):
        limit, used = dask_worker.memory_manager.memory_limit, psutil.Process().memory_info().rss
        dask_worker.ballast = b"1" * int(0.87 * limit - used)  # paused above 80 %, killed above 95 %

    def work_without_memory():
        with cluster(runtime(patience_s=3)) as client:
            client.run(fill)
            while {worker["status"] for worker in client.scheduler_info()["workers"].values()} != {"paused"}:
                time.sleep(0.1)
            client.submit(slow, 3).result()

    with pytest.raises(ClusterError, match=r"all workers \(1\) stayed full for 3 s; raise runtime.cluster.memory"):
        work_without_memory()


def test_cluster__a_task_that_kills_its_workers_is_named():
    fatal = dask.delayed(os.kill)(dask.delayed(os.getpid)(), signal.SIGKILL)
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        pytest.raises(ClusterError, match=r"memory ran out: raise runtime.cluster.memory \(now 400MiB\)"),
        cluster(runtime()),
    ):
        fatal.compute()


def test_cluster__the_scheduler_of_a_batch_is_joined_and_left_running(slow, monkeypatch):
    with cluster(runtime()) as own:
        monkeypatch.setenv("MULTIMAP_SCHEDULER", own.scheduler.address)
        with cluster(Runtime()) as joined:
            assert joined.scheduler.address == own.scheduler.address
            assert joined.submit(slow, 4).result() == 16
        assert own.submit(slow, 5).result() == 25


def test_cluster__an_address_must_answer():
    with pytest.raises(ClusterError, match="must name a scheduler"), cluster(runtime(kind="address")):
        pass
    absent = runtime(kind="address", address="tcp://127.0.0.1:1")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "500ms"}),
        pytest.raises(ClusterError, match=r"must answer at tcp://127\.0\.0\.1:1"),
        cluster(absent),
    ):
        pass

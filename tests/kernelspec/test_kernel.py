"""A real kernel, started as Jupyter starts it."""

import subprocess
import sys
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

pytestmark = [
    pytest.mark.batch,
    # pyzmq's own event loop is closed by the garbage collector only
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Start the kernel from a freshly installed kernelspec; gives a function from code to (text, all formats)."""
    prefix = tmp_path_factory.mktemp("prefix")
    told = subprocess.run(
        [sys.executable, "-m", "multimap_kernel.kernelspec", "install", "--prefix", str(prefix)],
        check=True,
        capture_output=True,
        text=True,
    )
    kernels = Path(told.stdout.strip()).parents[1]
    manager = KernelSpecManager(kernel_dirs=[str(kernels)], ensure_native_kernel=False)
    assert list(manager.find_kernel_specs()) == ["multimap"]
    kernel = KernelManager(kernel_name="multimap", kernel_spec_manager=manager)
    kernel.start_kernel()
    client = kernel.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=60)

    def run(code):
        seen = []
        reply = client.execute_interactive(
            code, output_hook=lambda message: seen.append(message["content"]), timeout=60
        )
        assert reply["content"]["status"] == "ok", reply["content"]
        data = [content["data"] for content in seen if "data" in content]
        text = "".join(content["text"] for content in seen if "text" in content)
        return (data[-1]["text/plain"], data[-1]) if data else (text, {})

    yield run
    client.stop_channels()
    kernel.shutdown_kernel(now=True)


def test_kernel__has_the_verbs_at_hand_and_imports_nothing_heavy(ask):
    text, _ = ask(
        "import sys; print([name for name in ('numpy', 'xarray', 'dask', 'mne', 'nilearn') if name in sys.modules])"
    )
    assert text == "[]\n"
    text, _ = ask("print(mm.__name__, np.arange(3).sum(), xr.DataArray([1.0]).dims, 'arange' in dir(np))")
    assert text == "multimap_kernel 3 ('dim_0',) True\n"
    text, _ = ask("import cloudpickle, pickle; print(pickle.loads(cloudpickle.dumps(lambda: np.ones(2).sum()))())")
    assert text == "2.0\n"


def test_multimap__shows_store_cluster_and_session(ask):
    ask("store, session = 'gs://lab/store', 'sub-01_task-rest'")
    text, formats = ask("%multimap")
    assert "gs://lab/store" in text
    assert "none; mm.run starts its own" in text
    assert "<td" in formats["text/html"]
    assert "sub-01_task-rest" in formats["text/html"]
    text, _ = ask(
        "with mm.cluster(mm.Runtime(cluster={'kind': 'local', 'workers': 1, 'memory': '400MiB'})):\n"
        "    print(get_ipython().run_line_magic('multimap', ''))"
    )
    assert ": 1 workers, 0.4 GiB in all" in text
    assert "dashboard http://127.0.0.1:" in text


def test_kernel__shows_figures_that_were_made_without_pyplot(ask):
    _, formats = ask("from matplotlib.figure import Figure\nFigure(figsize=(1, 1))")
    assert formats["image/png"].startswith("iVBOR")

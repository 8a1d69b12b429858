"""Memory of a session of the size that labs record: 64x64x36x300 volumes, 32 channels for 10 minutes at 5 kHz."""

import nibabel as nib
import pytest
from measured_run import measure

from multimap_kernel.simulate import simulate_session

pytestmark = pytest.mark.platform


def test_run__standard_session_needs_at_most_three_times_its_raw_size(tmp_path):
    bids = tmp_path / "bids"
    simulate_session(bids, size="standard")
    (tmp_path / "recipe.yaml").write_text("name: default\n")
    (bold,) = bids.glob("sub-01/func/*_bold.nii.gz")
    (eeg,) = bids.glob("sub-01/eeg/*.eeg")
    values = nib.load(bold).header.get_data_shape()
    raw = 4 * (values[0] * values[1] * values[2] * values[3] + eeg.stat().st_size // 2)
    said, above_idle = measure(bids, tmp_path / "store", tmp_path / "recipe.yaml", workers=2)
    assert said.startswith("done"), said
    print(f"{above_idle / raw:.2f} times the {raw / 2**20:.0f} MiB of the raw session as float32")
    assert above_idle <= 3 * raw

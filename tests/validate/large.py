"""A session of 4 GiB of float32 through two workers of 1 GiB: noise with an artifact, markers and volumes."""

import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from measured_run import measure  # noqa: E402
from real import SAMPLING, write_header  # noqa: E402

VOLUMES, GRID, CHANNELS, TR = 1_900, (80, 80, 40), 32, 2.0
LEAD_S = 5.0


def write_eeg(folder: Path, stem: str, generator: np.random.Generator) -> int:
    """Multiplexed int16 counts, one volume at a time; gives the number of samples."""
    length = int(TR * SAMPLING)
    artifact = 2_000 * np.sin(np.linspace(0, 400 * np.pi, length)).astype("i2")
    with (folder / f"{stem}.eeg").open("wb") as stream:
        stream.write(generator.normal(0, 50, (int(LEAD_S * SAMPLING), CHANNELS)).astype("<i2").tobytes())
        for _ in range(VOLUMES):
            noise = generator.normal(0, 50, (length, CHANNELS)).astype("i2")
            stream.write((noise + artifact[:, None]).astype("<i2").tobytes())
    names = [f"E{number}" for number in range(CHANNELS)]
    starts = np.round((LEAD_S + TR * np.arange(VOLUMES)) * SAMPLING).astype(int)
    write_header(folder, stem, names, starts)
    return (int(LEAD_S * SAMPLING) + VOLUMES * length) * CHANNELS


def write_bold(path: Path, generator: np.random.Generator) -> int:
    """A ball of brain with noise, int16; gives the number of values."""
    x, y, z = np.indices(GRID)
    ball = sum(((axis - size / 2) / (size / 2.4)) ** 2 for axis, size in zip((x, y, z), GRID, strict=True)) < 1
    texture = 800 * ball + 150 * ball * np.sin(x / 3) * np.cos(y / 4) * np.sin(z / 3)
    image = np.lib.format.open_memmap(path.with_suffix(".npy"), "w+", "<i2", (*GRID, VOLUMES), fortran_order=True)
    for volume in range(VOLUMES):
        image[..., volume] = texture + generator.normal(0, 12, GRID)
    made = nib.Nifti1Image(image, np.diag([2.5, 2.5, 3.5, 1.0]))
    made.header.set_xyzt_units("mm", "sec")
    made.header["pixdim"][4] = TR
    made.to_filename(path)
    path.with_suffix(".npy").unlink()
    return int(np.prod(GRID)) * VOLUMES


def main() -> int:
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        eeg, func = folder / "bids" / "sub-01" / "eeg", folder / "bids" / "sub-01" / "func"
        eeg.mkdir(parents=True)
        func.mkdir()
        (folder / "bids" / "dataset_description.json").write_text('{"Name": "large", "BIDSVersion": "1.10.0"}')
        values = write_eeg(eeg, "sub-01_task-large_eeg", generator)
        values += write_bold(func / "sub-01_task-large_bold.nii", generator)
        (func / "sub-01_task-large_bold.json").write_text('{"RepetitionTime": 2.0, "TaskName": "large"}')
        (folder / "recipe.yaml").write_text("normalise: {space: native}\n")
        said, above_idle = measure(folder / "bids", folder / "store", folder / "recipe.yaml", workers=2)
        size = 4 * values / 2**30
        print(said)
        print(f"{size:.2f} GiB of float32, {above_idle / 2**30:.2f} GiB above idle in all processes")
        return 0 if said.startswith("done") and size >= 4 else 1


if __name__ == "__main__":
    sys.exit(main())

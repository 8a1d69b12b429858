"""What a simulated session measures, and how strong each effect in it is.

These numbers are fixed on purpose: every bar in the tests of this project is a bar at these effect sizes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

CAP = (
    *("Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "F7", "F8", "T7", "T8", "P7", "P8"),
    *("Fz", "Cz", "Pz", "Oz", "FC1", "FC2", "CP1", "CP2", "FC5", "FC6", "CP5", "CP6", "TP9", "TP10", "POz"),
)
"""The 31 scalp electrodes of a common MR cap; its 32nd channel is the ECG, its reference FCz."""


@dataclass(frozen=True)
class Size:
    """Dimensions of one session.

    Parameters
    ----------
    grid
        Voxels along x, y, z.
    voxel_mm
        Edges of a voxel, mm.
    volumes
        Number of volumes.
    channels
        Scalp electrodes; the ECG comes on top.
    anatomy_mm
        Voxel edge of the T1w image, mm.
    source_mm
        Grid of the head from which volumes are sampled, mm.
    repetition_time
        Seconds from volume to volume.
    """

    grid: tuple[int, int, int]
    voxel_mm: tuple[float, float, float]
    volumes: int
    channels: tuple[str, ...]
    anatomy_mm: int
    source_mm: int
    repetition_time: float = 2.0


SIZES = {
    "tiny": Size((24, 24, 16), (8.5, 8.5, 10.0), 60, ("Fp1", "Fp2", "Fz", "C3", "C4", "Pz", "O1", "O2"), 2, 2),
    "demo": Size((32, 32, 20), (6.5, 6.5, 8.0), 120, (*CAP[:10], "T7", "T8", "Fz", "Cz", "Pz"), 2, 1),
    "standard": Size((64, 64, 36), (3.25, 3.25, 4.5), 300, CAP, 1, 1),
}


@dataclass(frozen=True)
class Effects:
    """Strength of everything that the simulator puts into a session.

    Parameters
    ----------
    task_percent
        BOLD at the plateau of a long block, in the task's regions, %.
    alpha_occipital_percent, alpha_parietal_percent, alpha_thalamus_percent
        BOLD for one standard deviation of the alpha envelope after the region's HRF, %.
    interaction_percent
        The same for the product of the z-scored log envelopes of theta and beta; ``coupling="interaction"`` only.
    tsnr
        Mean over standard deviation in time of the still head, median over the brain (drift and physiology included).
    autocorrelation
        Lag-1 coefficient of the AR(1) noise.
    alpha_snr
        Alpha rms over background rms, 8-12 Hz, at the channel with the most alpha.
    gradient_mv
        Gradient artifact, peak to peak, median over the scalp channels, mV.
    pulse_uv
        Mean pulse artifact, peak to peak, median over the scalp channels, microvolts.
    background_uv
        EEG background with a 1/f spectrum, rms in 1-45 Hz, mean over channels, microvolts.
    flicker_snr
        Response at the flicker frequency, rms over the background's rms in 13-30 Hz, during flicker, best channel.
    """

    task_percent: float = 1.0
    alpha_occipital_percent: float = -1.0
    alpha_parietal_percent: float = -0.7
    alpha_thalamus_percent: float = 0.5
    interaction_percent: float = 1.0
    tsnr: float = 60.0
    autocorrelation: float = 0.3
    alpha_snr: float = 1.5
    gradient_mv: float = 4.0
    pulse_uv: float = 100.0
    background_uv: float = 10.0
    flicker_snr: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """The numbers by name, for the truth file."""
        return asdict(self)


EFFECTS = Effects()
SCANNER_EEG_HZ, PLAIN_EEG_HZ = 5000.0, 250.0
RESOLUTION_V = 0.5e-6  # one step of the 16-bit integers: +-16.4 mV fit, as on an MR amplifier
HARDWARE_LOWPASS_HZ = 250.0


class SimulationError(ValueError):
    """The simulator was asked for something that it cannot write; says what to do instead."""


def find_size(name: str) -> Size:
    """The dimensions called ``name``."""
    if name not in SIZES:
        raise SimulationError(f"size must be one of {', '.join(SIZES)}, but got {name!r}")
    return SIZES[name]


def describe(size: str = "demo") -> str:
    """Dimensions and effect sizes of a simulated session, as text.

    Parameters
    ----------
    size
        ``"tiny"``, ``"demo"`` or ``"standard"``.

    Returns
    -------
    One line per fact; what ``multimap simulate --describe`` prints.

    Raises
    ------
    SimulationError
        If there is no such size.
    """
    what, effect = find_size(size), EFFECTS
    grid, edges = "x".join(map(str, what.grid)), "x".join(f"{edge:g}" for edge in what.voxel_mm)
    rate = f"{SCANNER_EEG_HZ:g} Hz ({PLAIN_EEG_HZ:g} Hz without artifacts)"
    facts = {
        "size": f"{size}: {grid} voxels of {edges} mm, {what.volumes} volumes, TR {what.repetition_time:g} s",
        "EEG": f"{len(what.channels)} channels + ECG, {rate}",
        "task": f"{effect.task_percent:+g} % BOLD at the plateau (flicker: calcarine, tapping: left motor cortex)",
        "alpha": f"{effect.alpha_occipital_percent:+g} % occipital, {effect.alpha_parietal_percent:+g} % parietal, "
        f"{effect.alpha_thalamus_percent:+g} % thalamus, BOLD for one standard deviation of alpha after the HRF",
        "interaction": f"{effect.interaction_percent:+g} % for one standard deviation of theta x beta (if asked for)",
        "tSNR": f"{effect.tsnr:g} (median over the brain, head still)",
        "AR(1)": f"{effect.autocorrelation:g}",
        "alpha SNR": f"{effect.alpha_snr:g} (rms over background rms, 8-12 Hz, channel with the most alpha)",
        "gradient": f"{effect.gradient_mv:g} mV peak to peak (median over channels)",
        "pulse": f"{effect.pulse_uv:g} uV peak to peak (mean beat, median over channels)",
        "background": f"{effect.background_uv:g} uV rms (1-45 Hz, 1/f), flicker SNR {effect.flicker_snr:g}",
    }
    lines = [f"{name:<12} {fact}" for name, fact in facts.items()]
    return "\n".join(lines)

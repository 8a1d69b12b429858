"""`simulate_features`: the latents of sessions seen as band power and regional BOLD, without a scanner in between.

A session of ten minutes takes two seconds, so that learning can be judged on many of them. Rhythms, topographies,
background, events and responses are those of `simulate_session`; gradient, pulse, motion and volumes are left out.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.signal import lfilter

from multimap_kernel.simulate import eeg, head, latents
from multimap_kernel.simulate.latents import Array
from multimap_kernel.simulate.session import check_coupling, regional_responses
from multimap_kernel.simulate.sizes import CAP, EFFECTS, SimulationError, Size

BANDS = {"delta": (1.0, 4.0), "theta": (4.0, 8.0), "alpha": (8.0, 12.0), "beta": (13.0, 30.0), "gamma": (30.0, 40.0)}
CEILING = 0.5
SILENT = 15  # regions that nothing drives
TR = 2.0
_BIN = 25  # samples at 250 Hz: 0.1 s


def simulate_features(
    subject: str = "01",
    *,
    minutes: float = 10.0,
    seed: int = 0,
    coupling: float | str = 1.0,
    task_effect: float = 1.0,
    channels: tuple[str, ...] = CAP,
) -> xr.Dataset:
    """Simulate what a model reads of one session: band power at 10 Hz and the BOLD of 24 regions, with its truth.

    Parameters
    ----------
    subject
        Label; with the seed, decides everything.
    minutes
        Length of the run.
    seed
        Of the study.
    coupling
        As in `simulate_session`: factor of the alpha effect, 0 for two people under one label, ``"interaction"`` for
        two more regions that follow the product of theta and beta.
    task_effect
        Factor of the responses to the task.
    channels
        Names of the 10-20 system.

    Returns
    -------
    Dataset on the scanner clock:

    - band_power_fine : (bin, channel, band; V2) float64, and channel_type (channel)
    - region_series : (time, region; 1) float32, deviations of a region whose response has deviation 1 from its ceiling
    - truth_response : (time, region; 1), the same without noise; 0 where nothing drives
    - event_onset, event_duration (event; s), event_condition (event)
    - coordinates time (s), volume, steady_state, region, driver (region); attribute repetition_time (s)

    Raises
    ------
    SimulationError
        If coupling is not allowed or the run is shorter than a minute.

    Notes
    -----
    A region that an effect of 1 % drives correlates with its response by `CEILING` on average, which is what a voxel of
    `simulate_session` reaches at its tSNR; weaker effects reach less.
    """
    if minutes < 1:
        raise SimulationError(f"minutes must be at least 1, but got {minutes:g}")
    size = Size((8, 8, 8), (8.0, 8.0, 8.0), round(minutes * 60 / TR), tuple(channels), 2, 2, TR)
    stream, coupling = latents.streams(seed, f"sub-{subject}_features"), check_coupling(coupling)
    body = latents.draw_body(size, stream, name="body", still=True)
    under_cap = body if coupling != 0 else latents.draw_body(size, stream, name="other body", still=True)
    events = latents.draw_events(size, stream)
    rhythms = latents.draw_rhythms(body.time, under_cap.arousal, stream)
    middle = (np.arange(size.volumes) + 0.5) * TR
    fine = regional_responses(events, rhythms, size, coupling, task_effect)
    truth = np.stack([np.interp(middle, rhythms.time, row) for row in fine] + [0 * middle] * SILENT, axis=1)
    series = truth + _noise(truth.shape, stream) - 0.06 * np.interp(middle, body.time, body.arousal)[:, None]
    clean = eeg.make_eeg(size.channels, (-1.0, minutes * 60 + 1), rhythms, events, stream, task_effect=task_effect)
    bins, power = _band_power(clean, minutes * 60)
    names = [region.name for region in head.REGIONS] + [f"silent_{number + 1:02d}" for number in range(SILENT)]
    return xr.Dataset(
        {
            "band_power_fine": (("bin", "channel", "band"), power),
            "channel_type": ("channel", ["eeg"] * len(channels)),
            "region_series": (("time", "region"), series.astype(np.float32)),
            "truth_response": (("time", "region"), truth.astype(np.float32)),
            "event_onset": ("event", events.onset),
            "event_duration": ("event", events.duration),
            "event_condition": ("event", list(events.condition)),
        },
        {
            "time": middle - TR / 2,
            "volume": ("time", np.arange(size.volumes)),
            "steady_state": ("time", np.ones(size.volumes, bool)),
            "bin": bins,
            "channel": list(channels),
            "band": list(BANDS),
            "region": names,
            "driver": ("region", [region.driver for region in head.REGIONS] + ["none"] * SILENT),
        },
        {"clock": "scanner", "repetition_time": TR, "sampled_at": 0.5},
    )


def _noise(shape: tuple[int, int], stream: latents.Stream) -> Array:
    """AR(1) noise (time, region) beside which an effect of deviation 1 has the ceiling."""
    rho, settle = EFFECTS.autocorrelation, 20
    white = stream("region noise").standard_normal((shape[0] + settle, shape[1]))
    noise = lfilter([1.0], [1.0, -rho], white, axis=0)[settle:] * np.sqrt(1 - rho**2)
    scaled: Array = noise * np.sqrt(1 / CEILING**2 - 1)
    return scaled


def _band_power(clean: eeg.CleanEeg, seconds: float) -> tuple[Array, Array]:
    """Centres of bins of 0.1 s from time 0 (s), and mean power of the analytic signal (bin, channel, band; V2)."""
    first = round(-clean.start_s * eeg.CLEAN_HZ)
    count = int(seconds * eeg.CLEAN_HZ) // _BIN
    spectrum = np.fft.fft(clean.signal, axis=1)
    frequency = np.fft.fftfreq(clean.signal.shape[1], 1 / eeg.CLEAN_HZ)
    power = []
    for low, high in BANDS.values():
        analytic = np.fft.ifft(2 * spectrum * ((frequency >= low) & (frequency < high)), axis=1)
        squared = np.abs(analytic[:, first : first + count * _BIN]) ** 2 / 2
        power.append(squared.reshape(len(squared), count, _BIN).mean(axis=2).T)
    centres = (np.arange(count, dtype=np.float64) + 0.5) * _BIN / eeg.CLEAN_HZ
    return centres, np.stack(power, axis=2).astype(np.float64)

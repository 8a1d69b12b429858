"""The networks: what EEG tells of BOLD beyond a line, and one embedding of both. Pure torch; no files.

Shapes: ``b`` batch, ``l`` lag, ``c`` channel, ``f`` band (``g`` of them learned from patches of ``s`` samples in ``n``
windows), ``k`` filters of a band, ``d = f * k`` width of a token,
``p`` products, ``h`` lag heads, ``r`` region, ``w`` volumes of a window, ``t`` width of a region token, ``z`` latents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import gamma
from torch import nn
from torch.nn import functional


@dataclass(frozen=True)
class Size:
    """How large a network is, and how long it learns.

    Parameters
    ----------
    rank
        Spatial filters of each band.
    products
        Products of filtered courses in each block.
    depth
        Blocks of attention and products; each doubles the order of what can be seen.
    epochs, batch
        Twice over the training rows is an epoch; rows in a step.
    rate, decay
        Largest learning rate of the one-cycle schedule, and weight decay, of AdamW.
    """

    rank: int = 3
    products: int = 12
    depth: int = 1
    epochs: int = 20
    batch: int = 256
    rate: float = 3e-3
    decay: float = 0.3


SIZES = {"small": Size(), "base": Size(rank=8, products=128, depth=4, epochs=60, batch=1024, rate=1e-3)}
"""``small`` learns in seconds on one core; ``base`` is for one GPU, in bfloat16, and was never run on one by us."""
WINDOW = 5
"""Volumes that one point of the embedding spans."""
PEAKS_S = (5.0, 15.0)
"""Where the lag heads start: the peak of the haemodynamic response and its undershoot, s."""
SMOOTH = 1.2
"""Where attention between lags starts: its width in volumes. Band power is speckled; a product needs its mean."""


FILTERS, FILTER_S = 8, 0.5
"""Bands that are learned from raw patches, and the length of their filters, s."""


class Shape(NamedTuple):
    """What the data decide: numbers of channels, bands, regions, latents; lags in s; samples and Hz of raw patches."""

    channels: int
    bands: int
    regions: int
    latent: int
    lags_s: tuple[float, ...]
    samples: int = 0
    patch_hz: float = 0.0


class Bank(nn.Module):
    """Log power of raw EEG in bands that are learned: filter, square, mean, logarithm.

    Begins as pairs of Gabor filters (cosine and sine), spaced evenly in log frequency.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        taps = min(shape.samples, round(FILTER_S * shape.patch_hz))
        time = (np.arange(taps) - (taps - 1) / 2) / shape.patch_hz
        turns = 2 * np.pi * np.geomspace(3.0, min(40.0, 0.4 * shape.patch_hz), FILTERS)[:, None] * time
        pairs = np.concatenate([np.cos(turns), np.sin(turns)]) * np.hanning(taps + 2)[1:-1]
        pairs /= np.sqrt((pairs**2).sum(axis=1, keepdims=True))
        self.kernel = nn.Parameter(torch.from_numpy(pairs[:, None].astype(np.float32)))  # (2 * g, 1, taps)
        self.level = nn.Buffer(torch.zeros(shape.channels, FILTERS))  # (c, g)
        self.spread = nn.Buffer(torch.ones(shape.channels, FILTERS))  # (c, g)

    def start_from(self, patch: torch.Tensor) -> torch.Tensor:
        """Take level and spread from the patches (n, c, s) that train, and give their power (n, c, g)."""
        with torch.no_grad():
            power = torch.cat([self(part) for part in torch.split(patch, 256)])  # (n, c, g)
            self.level.copy_(power.mean(dim=0))
            self.spread.copy_(power.std(dim=0).clamp_min(1e-6))
            return (power - self.level) / self.spread

    def forward(self, patch: torch.Tensor) -> torch.Tensor:
        """Standardised log power of patches (n, c, s)."""
        wave = functional.conv1d(patch.flatten(0, 1)[:, None], self.kernel, stride=2)  # (n * c, 2 * g, s')
        power = wave.square().mean(dim=-1).view(*patch.shape[:2], 2, FILTERS).sum(dim=2)  # (n, c, g)
        standardised: torch.Tensor = ((power + 1e-6).log() - self.level) / self.spread  # (n, c, g)
        return standardised


class Block(nn.Module):
    """Attention between lags, then products of two projections where others have a rectifier.

    A rectifier sees the product of two courses through many units only; a bilinear unit is one. Content enters the
    attention with weight 0 at the start, so that a block begins as a moving mean.
    """

    def __init__(self, width: int, products: int, lags: int) -> None:
        super().__init__()
        distance = torch.arange(lags)[:, None] - torch.arange(lags)[None, :]
        self.near = nn.Parameter(-0.5 * (distance / SMOOTH) ** 2)  # (l, l)
        self.query = nn.Linear(width, 8, bias=False)
        self.key = nn.Linear(width, 8, bias=False)
        self.left = nn.Linear(width, products, bias=False)
        self.right = nn.Linear(width, products, bias=False)
        nn.init.zeros_(self.query.weight)
        for part in (self.left, self.right):
            nn.init.normal_(part.weight, std=width**-0.5)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Smoothed tokens, and their products."""
        match = self.query(tokens) @ self.key(tokens).transpose(1, 2) / 8**0.5  # (b, l, l)
        smooth = torch.softmax(match + self.near, dim=-1) @ tokens  # (b, l, d)
        return smooth, self.left(smooth) * self.right(smooth)  # (b, l, d), (b, l, p)


class ResidualModel(nn.Module):
    """From EEG tokens, one a lag, to what the ridge leaves of BOLD."""

    def __init__(self, shape: Shape, size: Size) -> None:
        super().__init__()
        rank, lags = min(size.rank, shape.channels), len(shape.lags_s)
        self.bank = Bank(shape) if shape.samples else None
        bands = shape.bands + (FILTERS if shape.samples else 0)
        width = bands * rank
        self.filters = nn.Parameter(torch.zeros(bands, shape.channels, rank))  # (f, c, k)
        self.blocks = nn.ModuleList(Block(width, size.products, lags) for _ in range(size.depth))
        self.back = nn.ModuleList(nn.Linear(size.products, width, bias=False) for _ in range(size.depth - 1))
        self.lag = nn.Parameter(_response(shape.lags_s))  # (h, l)
        self.region = nn.Linear(size.products * len(PEAKS_S), shape.regions)
        nn.init.zeros_(self.region.weight)
        nn.init.zeros_(self.region.bias)

    def start_from(self, filters: np.ndarray) -> None:
        """Begin with the principal filters (f, c, k) of the training rows."""
        with torch.no_grad():
            self.filters.copy_(torch.from_numpy(filters))

    def tokens(self, power: torch.Tensor, patch: torch.Tensor | None = None) -> torch.Tensor:
        """Filtered courses of standardised log power (b, l, c, f - g), and of raw patches (b, l, c, s) if there are."""
        if self.bank is not None and patch is not None:
            learned = self.bank(patch.flatten(0, 1)).view(*patch.shape[:3], -1)  # (b, l, c, g)
            power = torch.cat([power, learned], dim=-1)  # (b, l, c, f)
        banded = power.permute(3, 0, 1, 2).flatten(1, 2)  # (f, b * l, c)
        tokens = torch.bmm(banded, self.filters)  # (f, b * l, k)
        return tokens.view(len(tokens), *power.shape[:2], -1).permute(1, 2, 0, 3).flatten(2)  # (b, l, d)

    def lag_weight(self) -> torch.Tensor:
        """Weight of each lag in each head."""
        return torch.softmax(self.lag, dim=-1)  # (h, l)

    def forward(self, power: torch.Tensor, patch: torch.Tensor | None = None) -> torch.Tensor:
        """Residual of each region from standardised log power (b, l, c, f - g) and raw patches (b, l, c, s)."""
        smooth, product = self.blocks[0](self.tokens(power, patch))  # (b, l, d), (b, l, p)
        for back, block in zip(self.back, list(self.blocks)[1:], strict=True):
            smooth, product = block(smooth + back(product))  # (b, l, d), (b, l, p)
        pooled = torch.einsum("hl,blp->bhp", self.lag_weight(), product)  # (b, h, p)
        residual: torch.Tensor = self.region(pooled.flatten(1))  # (b, r)
        return residual


class Embedding(nn.Module):
    """One space for windows of EEG and of BOLD.

    Starts as the canonical axes of predicted and measured BOLD. The EEG side adds what its own courses tell, the BOLD
    side what attention between region tokens finds, both with weight 0 at the start.
    """

    def __init__(self, shape: Shape, courses: int) -> None:
        super().__init__()
        flat = WINDOW * shape.regions
        self.eeg_axes = nn.Linear(flat, shape.latent, bias=False)
        self.bold_axes = nn.Linear(flat, shape.latent, bias=False)
        self.own = nn.Linear(courses, shape.latent, bias=False)
        self.token = nn.Linear(WINDOW, 16)
        self.place = nn.Parameter(torch.randn(shape.regions, 16) * 0.1)  # (r, t)
        self.mix = nn.MultiheadAttention(16, 2, batch_first=True)
        self.beyond = nn.Linear(16, shape.latent, bias=False)
        self.sharpness = nn.Parameter(torch.tensor(10.0).log())
        self.to_bold = nn.Linear(shape.latent, flat)
        self.to_eeg = nn.Linear(shape.latent, courses)
        nn.init.zeros_(self.own.weight)
        nn.init.zeros_(self.beyond.weight)

    def start_from(self, eeg_axes: np.ndarray, bold_axes: np.ndarray) -> None:
        """Begin with the shared axes (w * r, z) of the training rows."""
        with torch.no_grad():
            self.eeg_axes.weight.copy_(torch.from_numpy(eeg_axes.T.copy()))
            self.bold_axes.weight.copy_(torch.from_numpy(bold_axes.T.copy()))

    def of_eeg(self, predicted: torch.Tensor, courses: torch.Tensor) -> torch.Tensor:
        """Embed windows of EEG: BOLD as it predicts it (b, w, r), and the mean of its courses (b, d)."""
        latent = self.eeg_axes(predicted.flatten(1)) + self.own(courses)  # (b, z)
        return functional.normalize(latent, dim=-1)  # (b, z)

    def of_bold(self, bold: torch.Tensor) -> torch.Tensor:
        """Embed windows (b, w, r) of BOLD as it was measured."""
        tokens = self.token(bold.transpose(1, 2)) + self.place  # (b, r, t)
        mixed, _ = self.mix(tokens, tokens, tokens, need_weights=False)  # (b, r, t)
        latent = self.bold_axes(bold.flatten(1)) + self.beyond(mixed.mean(dim=1))  # (b, z)
        return functional.normalize(latent, dim=-1)  # (b, z)

    def similarity(self, eeg: torch.Tensor, bold: torch.Tensor) -> torch.Tensor:
        """Logits of "the same moment" for all pairs of embedded windows."""
        return eeg @ bold.T * torch.exp(self.sharpness)  # (b, b)


def _response(lags_s: tuple[float, ...]) -> torch.Tensor:
    """Where the logarithm of the lag weights starts (h, l)."""
    lags = np.maximum(np.asarray(lags_s), 0.5)
    bumps = np.stack([gamma.pdf(lags, peak + 1) for peak in PEAKS_S])
    return torch.from_numpy(np.log(bumps / bumps.sum(axis=1, keepdims=True) + 1e-3).astype(np.float32))

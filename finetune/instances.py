"""Long clips as bags of windows: each window is judged, and the clip from its windows.

Source: Carbonneau et al. 2018, "Multiple instance learning: A survey", section 2; attention as in
Ilse et al. 2018, "Attention-based Deep Multiple Instance Learning", equation 8.
"""

from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from ssl_audio.config import Config

CombinationName = Literal["mean", "max", "attention", "noisy_or"]
_ATTENTION_DIM = 64


class WindowConfig(Config):
    """How a clip is cut and what becomes of its windows.

    Attributes:
        seconds: length of a window.
        hop_seconds: from the start of one to that of the next.
        combination: from the windows' probabilities to the clip's. ``noisy_or``, the probability
            that not all windows lack a class, needs a multilabel head.
    """

    seconds: float = Field(default=2.0, ge=0.1, le=30)
    hop_seconds: float = Field(default=1.0, ge=0.05, le=30)
    combination: CombinationName = "mean"

    @model_validator(mode="after")
    def _leave_no_gap(self) -> Self:
        if self.hop_seconds > self.seconds:
            raise ValueError(
                f"hop_seconds must be at most seconds = {self.seconds:g}, or nobody hears what is "
                f"between two windows; got {self.hop_seconds:g}"
            )
        return self


@dataclass(frozen=True)
class Windows:
    """The windows of a batch of clips, clip after clip.

    Attributes:
        waveform: (windows, samples) float32, zero after the end of a clip.
        num_samples: (windows,) int64 true lengths.
        clip: (windows,) int64, the row of the clip that each is of.
        place: (windows,) int64, which one of its clip it is.
    """

    waveform: Tensor
    num_samples: Tensor
    clip: Tensor
    place: Tensor

    def bags(self, values: Tensor, filling: float) -> Tensor:
        """(windows, size) values to (clips, most windows, size), completed with ``filling``."""
        shape = (int(self.clip[-1]) + 1, int(self.place.max()) + 1, *values.shape[1:])
        bags = values.new_full(shape, filling)
        return bags.index_put((self.clip, self.place), values)


def cut_windows(waveform: Tensor, num_samples: Tensor, window: int, hop: int) -> Windows:
    """Cuts clips so that every sample is in a window; what pads them is in none of its own.

    Args:
        waveform: (batch, samples) float32.
        num_samples: (batch,) int64 true lengths, at least 1.
        window: length in samples; the last one of a clip may be shorter.
        hop: samples from one start to the next.
    """
    counts = 1 + (num_samples - window + hop - 1).clamp(0).div(hop, rounding_mode="floor")
    clip = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    first = counts.cumsum(0) - counts
    place = torch.arange(len(clip), device=clip.device) - first[clip]
    is_outside = torch.arange(waveform.shape[1], device=clip.device) >= num_samples[:, None]
    missing = int((counts.max() - 1) * hop + window) - waveform.shape[1]
    sound = functional.pad(waveform.masked_fill(is_outside, 0.0), (0, max(0, missing)))
    every = sound.unfold(1, window, hop)
    # The windows of a single clip share its memory: it may be hours long.
    cut = every[0, : len(clip)] if len(every) == 1 else every[clip, place]
    lengths = (num_samples[clip] - place * hop).clamp(max=window)
    return Windows(cut, lengths, clip, place)


class Combination(nn.Module):
    """From the windows' logits to the clip's, computed in logarithms.

    Args:
        name: see ``WindowConfig``.
        dim: of a window's embedding.
        exclusive: exactly one class is right.
    """

    def __init__(self, name: CombinationName, dim: int, exclusive: bool) -> None:
        super().__init__()
        if name == "noisy_or" and exclusive:
            raise ValueError(
                "windows.combination noisy_or needs a multilabel head: choose mean, max, attention"
            )
        self.name = name
        self.exclusive = exclusive
        if name == "attention":
            self.score = nn.Sequential(
                nn.LayerNorm(dim), nn.Linear(dim, _ATTENTION_DIM), nn.Tanh(),
                nn.Linear(_ATTENTION_DIM, 1),
            )  # fmt: skip

    def forward(self, logits: Tensor, embedding: Tensor, windows: Windows) -> Tensor:
        """(windows, classes) and (windows, dim) to logits (clips, classes) float32."""
        logits = logits.float()
        if self.exclusive:
            logits = logits.log_softmax(1)
            if self.name == "max":
                return windows.bags(logits, -torch.inf).amax(1)
            return _mix(logits, self._log_weights(embedding, windows), windows)
        if self.name == "max":
            return windows.bags(logits, -torch.inf).amax(1)
        if self.name == "noisy_or":
            absent = windows.bags(functional.logsigmoid(-logits), 0.0).sum(1)
            return _log_one_minus_exp(absent) - absent
        weights = self._log_weights(embedding, windows)
        present, absent = (
            _mix(functional.logsigmoid(s * logits), weights, windows) for s in (1, -1)
        )
        return present - absent

    def _log_weights(self, embedding: Tensor, windows: Windows) -> Tensor:
        """(windows,) logarithms of weights that sum to one in each clip."""
        scores = self.score(embedding) if self.name == "attention" else embedding[:, :1] * 0
        scores = scores.float()
        whole = windows.bags(scores, -torch.inf).logsumexp(1)
        return (scores - whole[windows.clip])[:, 0]


def _mix(values: Tensor, log_weights: Tensor, windows: Windows) -> Tensor:
    """Logarithm of the weighted mean of exponentials: (windows, classes) to (clips, classes)."""
    return windows.bags(values + log_weights[:, None], -torch.inf).logsumexp(1)


def _log_one_minus_exp(values: Tensor) -> Tensor:
    """``log(1 - exp(values))`` of negative values, exact near 0 and far from it."""
    values = values.clamp(max=-1e-30)
    near = values > -0.6931
    # Each branch is given what it can stand, or its gradient would be NaN where it isn't taken.
    close = torch.where(near, values, -0.5)
    far = torch.where(near, -1.0, values)
    return torch.where(near, torch.log(-torch.expm1(close)), torch.log1p(-torch.exp(far)))

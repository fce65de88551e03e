"""Mixing pairs of training clips and their targets, batched, on the device.

Partners come from the same batch, so a mixed clip depends on its batch, but on nothing else that
changes from run to run: all draws are functions of the clips' keys (see ``ssl_audio.draws``).
"""

from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Discriminator, Field, Tag, model_validator
from torch import Tensor

from finetune.augmentation import draw_bands
from ssl_audio.config import Variant, kind_or
from ssl_audio.draws import Stream, uniform


class MixupConfig(Variant):
    """Settings of mixup.

    Attributes:
        kind: names the way of mixing.
        alpha: of the Beta(alpha, alpha) that a clip's share is drawn from; small ones leave most
            clips nearly themselves, 1 makes all shares equally likely.
        probability: share of clips that are mixed.
    """

    kind: Literal["mixup"] = "mixup"
    alpha: float = Field(default=0.2, gt=0, le=100)
    probability: float = Field(default=1.0, gt=0, le=1)


class SpecMixConfig(Variant):
    """Settings of SpecMix.

    Attributes:
        kind: names the way of mixing.
        probability: share of clips that are mixed.
        time_bands: stretches of time pasted from the partner.
        freq_bands: ranges of mel bands pasted from it.
        time_share: longest stretch, as a share of the frames that both clips have.
        freq_share: widest range, as a share of the mel bands.
    """

    kind: Literal["specmix"] = "specmix"
    probability: float = Field(default=0.5, gt=0, le=1)
    time_bands: int = Field(default=2, ge=0)
    freq_bands: int = Field(default=2, ge=0)
    time_share: float = Field(default=0.2, gt=0, le=1)
    freq_share: float = Field(default=0.2, gt=0, le=1)

    @model_validator(mode="after")
    def _check_bands(self) -> Self:
        if not self.time_bands + self.freq_bands:
            raise ValueError(
                "time_bands and freq_bands must not both be 0: paste a band or leave mixing out"
            )
        return self


MixingConfig = Annotated[
    Annotated[MixupConfig, Tag("mixup")] | Annotated[SpecMixConfig, Tag("specmix")],
    Discriminator(kind_or(None)),
]
"""Of any way of mixing, told by ``kind``; where clips may stay unmixed, None stands beside it."""


class Mixing(ABC):
    """A way of mixing: how a clip and its partner become one."""

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def mix(
        self,
        log_mel: Tensor,
        num_frames: Tensor,
        targets: Tensor,
        keys: Tensor,
        groups: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Mixes clips of a batch, each with a partner of its group.

        Args:
            log_mel: (batch, mel, frames) float32, normalised.
            num_frames: (batch,) int64 true lengths, which stay; frames beyond are left as they are.
            targets: (batch, classes) float32 in [0, 1].
            keys: (batch,) int64, see ``ssl_audio.draws``.
            groups: (batch,) int64, e.g. genders; clips are mixed within their group only, and one
                that is alone in it stays itself. None makes all one group.

        Returns:
            (batch, mel, frames) float32, and (batch, classes) float32: the targets of a clip and of
            its partner, weighted by their shares.
        """
        log_mel, targets = log_mel.float(), targets.float()
        itself = torch.arange(len(keys), device=keys.device)
        chosen = uniform(keys, Stream.MIX, 1)[:, 0] < self.probability
        partners = torch.where(chosen, draw_partners(keys, groups), itself)
        mixed, own_share = self.blend(log_mel, num_frames, partners, keys)
        # A clip mixed with itself keeps its targets to the last bit.
        own_share = torch.where(partners == itself, 1.0, own_share)[:, None]
        return mixed, own_share * targets + (1 - own_share) * targets[partners]

    @abstractmethod
    def blend(
        self, log_mel: Tensor, num_frames: Tensor, partners: Tensor, keys: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The mixed spectrograms, and how much of each is the clip's own.

        Args:
            log_mel: (batch, mel, frames) float32.
            num_frames: (batch,) int64 true lengths.
            partners: (batch,) int64 rows; a clip whose partner it is itself comes back unchanged.
            keys: (batch,) int64.

        Returns:
            (batch, mel, frames) float32 and (batch,) float32 in [0, 1].
        """


class Mixup(Mixing):
    """Weighted means of two clips.

    Where the partner has ended its frames are the floor. A share is the larger one of the pair
    lambda, 1 - lambda: the clip gives the mixture its length, so it shall not be its smaller part.

    Source: Zhang et al. 2018 (mixup), section 2; the larger share as in Berthelot et al. 2019
    (MixMatch), section 3.3. We differ: each clip has a share of its own, not the whole batch.
    """

    def __init__(self, config: MixupConfig) -> None:
        super().__init__(config.probability)
        self.alpha = config.alpha

    def blend(
        self, log_mel: Tensor, num_frames: Tensor, partners: Tensor, keys: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See ``Mixing.blend``."""
        own_share = draw_larger_shares(keys, self.alpha)
        mean = torch.lerp(log_mel[partners], log_mel, own_share[:, None, None])
        return torch.where(_own_frames(log_mel, num_frames), mean, log_mel), own_share


class SpecMix(Mixing):
    """Bands in time and in frequency pasted from a partner, within the frames that both have.

    A clip's share is that of the cells of its own frames that it keeps.

    Source: Kim et al. 2021, "SpecMix: A Mixed Sample Data Augmentation Method for Training with
    Time-Frequency Domain Features". Ours: bands have any width up to the widest, like
    SpecAugment's, and cells are counted without padding.
    """

    def __init__(self, config: SpecMixConfig) -> None:
        super().__init__(config.probability)
        self.config = config

    def blend(
        self, log_mel: Tensor, num_frames: Tensor, partners: Tensor, keys: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See ``Mixing.blend``."""
        config = self.config
        _, n_mels, frames = log_mel.shape
        both = torch.minimum(num_frames, num_frames[partners])
        bands = torch.full_like(num_frames, n_mels)
        times = draw_bands(
            keys, Stream.TIME_BAND, config.time_bands, config.time_share, both, frames
        )
        mels = draw_bands(
            keys, Stream.FREQ_BAND, config.freq_bands, config.freq_share, bands, n_mels
        )
        pasted = (times[:, None, :] | mels[:, :, None]) & _own_frames(log_mel, both)
        kept_share = 1 - pasted.sum((1, 2)).double() / (n_mels * num_frames)
        return torch.where(pasted, log_mel[partners], log_mel), kept_share.float()


MIXINGS: dict[str, Any] = {"mixup": Mixup, "specmix": SpecMix}
"""Ways of mixing by the ``kind`` of their configuration."""


def draw_partners(keys: Tensor, groups: Tensor | None = None) -> Tensor:
    """A partner for every clip: the next one in a circle of its group, in an order drawn anew.

    Args:
        keys: (batch,) int64, see ``ssl_audio.draws``.
        groups: (batch,) int64; None makes all clips one group.

    Returns:
        (batch,) int64 rows, each once; a clip is its own partner only if its group has no other.
    """
    groups = torch.zeros_like(keys) if groups is None else groups
    by_draw = uniform(keys, Stream.PARTNER, 1)[:, 0].argsort(stable=True)
    order = by_draw[groups[by_draw].argsort(stable=True)]
    ordered = groups[order]
    first = torch.searchsorted(ordered, ordered)
    following = torch.arange(1, len(keys) + 1, device=keys.device)
    last = torch.searchsorted(ordered, ordered, right=True) == following
    return torch.empty_like(order).scatter(0, order, order[torch.where(last, first, following)])


def draw_larger_shares(keys: Tensor, alpha: float) -> Tensor:
    """(batch,) float32 in [0.5, 1]: the larger of lambda and 1 - lambda, lambda ~ Beta(a, a).

    Exact for any alpha, without rejecting draws: the abscissa t of a point drawn in polar
    coordinates is t-distributed with 2 alpha degrees of freedom, and 1/2 + t / (2 sqrt(2 alpha +
    t^2)) follows the symmetric Beta.

    Args:
        keys: (batch,) int64, see ``ssl_audio.draws``.
        alpha: positive.

    Source: Bailey 1994, "Polar generation of random variates with the t-distribution"; Devroye
    1996, "Random variate generation in one line of code".
    """
    draws = uniform(keys, Stream.MIX_SHARE, 2).double()
    centre = (1 - draws[:, 0]) ** (1 / alpha)
    abscissa = (1 - centre) * (2 * torch.pi * draws[:, 1]).cos().square()
    return (0.5 + 0.5 * (abscissa / (centre + abscissa)).sqrt()).float()


def _own_frames(log_mel: Tensor, num_frames: Tensor) -> Tensor:
    """(batch, 1, frames) bool, True up to each clip's end."""
    return torch.arange(log_mel.shape[2], device=log_mel.device) < num_frames[:, None, None]

"""A network on pictures of sound: its training step, its augmentation, its answers."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.systems.base import Floats
from ssl_audio.config import Config
from ssl_audio.draws import Stream, uniform
from ssl_audio.objectives.base import StepOutput


class Augmentation(Config):
    """What is done to the pictures of training clips.

    Attributes:
        num_masks: bands hidden in time, and as many in frequency.
        mask_columns: widest band in time.
        mask_rows: widest band in frequency.
        shift_columns: farthest move in time, either way.
    """

    num_masks: int = Field(default=2, ge=0)
    mask_columns: int = Field(default=45, ge=0)
    mask_rows: int = Field(default=16, ge=0)
    shift_columns: int = Field(default=23, ge=0)


class PictureClassifier(nn.Module):
    """A network on pictures, and what the training loop sees of it.

    Args:
        network: from timm, (batch, 3, 128, 455) float32 to logits.
        channels: (3,) which of the stored channels each of the network's three is.
        mean: (3,) of ImageNet's pictures in [0, 1].
        std: the same, standard deviation.
        augmentation: of training pictures.
        label_smoothing: share of the target spread over all classes.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        channels: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        augmentation: Augmentation,
        label_smoothing: float,
    ) -> None:
        super().__init__()
        self.network = network
        self.channels = list(channels)
        self.augmentation = augmentation
        self.label_smoothing = label_smoothing
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, batch: dict[str, Tensor]) -> StepOutput:
        """Loss and accuracy of one batch of augmented pictures."""
        pictures = augment(batch["inputs"].float() / 255, batch["keys"], self.augmentation)
        logits = self.classify(pictures)
        loss = functional.cross_entropy(
            logits.float(), batch["labels"], label_smoothing=self.label_smoothing
        )
        accuracy = (logits.argmax(1) == batch["labels"]).float().mean()
        return StepOutput(loss, {"training_accuracy": accuracy.detach()})

    def classify(self, pictures: Tensor) -> Tensor:
        """(batch, stored channels, 128, 455) float32 in [0, 1] to (batch, classes) logits."""
        logits: Tensor = self.network((pictures[:, self.channels] - self.mean) / self.std)
        return logits


def augment(pictures: Tensor, keys: Tensor, augmentation: Augmentation) -> Tensor:
    """Moves each picture in time and hides bands of it, as its key says.

    Args:
        pictures: (batch, channels, rows, columns) float32 in [0, 1]; what is hidden becomes 0.
        keys: (batch,) int64, see ``draws``.
        augmentation: how far and how much.

    Source: Park et al. 2019 (SpecAugment), section 2, without time warping.
    """
    rows, columns = pictures.shape[2:]
    far = augmentation.shift_columns
    shift = (uniform(keys, Stream.CROP, 1) * (2 * far + 1)).long() - far
    source = torch.arange(columns, device=pictures.device) - shift
    inside = (source >= 0) & (source < columns)
    index = source.clamp(0, columns - 1)[:, None, None].expand_as(pictures)
    moved = pictures.gather(3, index) * inside[:, None, None]
    hidden_columns = _draw_bands(
        keys, columns, augmentation.mask_columns, augmentation.num_masks, 0
    )
    hidden_rows = _draw_bands(keys, rows, augmentation.mask_rows, augmentation.num_masks, 1)
    hidden = hidden_columns[:, None, None] | hidden_rows[:, None, :, None]
    return moved.masked_fill(hidden, 0.0)


def _draw_bands(keys: Tensor, size: int, widest: int, count: int, view: int) -> Tensor:
    """(batch, size) bool, True inside one of ``count`` bands of 0 to ``widest`` places."""
    draws = uniform(keys, Stream.MASK, 2 * count, view)
    widths = (draws[:, :count] * (min(widest, size) + 1)).long()
    starts = (draws[:, count:] * (size - widths + 1)).long()
    places = torch.arange(size, device=keys.device)
    inside = (places >= starts[..., None]) & (places < (starts + widths)[..., None])
    return inside.any(1)


@torch.no_grad()
def predict_pictures(module: PictureClassifier, pictures: npt.NDArray[np.uint8]) -> Floats:
    """(clips, classes) float64 probabilities.

    One picture at a time in float32, so that none depends on another to the last bit.
    """
    device = next(module.parameters()).device
    logits = [
        module.classify(torch.from_numpy(picture[None]).to(device).float() / 255)
        for picture in pictures
    ]
    return torch.cat(logits).double().softmax(1).cpu().numpy()

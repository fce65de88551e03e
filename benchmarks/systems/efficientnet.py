"""An ImageNet network on a picture of the sound (HackerEarth, 3rd place).

The original planned mel spectrogram, chromagram and STFT as the three channels; what it submitted
has the mel spectrogram in all three, which is the default here. Its augmentation is not known; here
it is what sound allows: bands in time and frequency are hidden and the clip is moved in time. There
are no flips and no rotations: a sound moved up in frequency turns a man into a child.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, field_validator

from benchmarks.systems.base import Floats, Int16, LabelledClips, System, UnlabelledClips
from benchmarks.systems.neural import (
    UNREADABLE,
    ArrayStream,
    Watch,
    fit_network,
    refuse_seed,
    with_seed,
)
from benchmarks.systems.picture_network import Augmentation, PictureClassifier, predict_pictures
from benchmarks.systems.sound_pictures import sound_picture
from finetune import metrics
from ssl_audio.checkpoint import file_sha256
from ssl_audio.config import Config
from ssl_audio.errors import UserError
from ssl_audio.session import TrainConfig

Channel = Literal["mel", "chroma", "stft"]


class EfficientNetTrainConfig(TrainConfig):
    """``TrainConfig`` with the defaults of this system."""

    max_steps: int = Field(default=1200, gt=0)
    warmup_steps: int = Field(default=60, ge=0)
    # Batch norm needs two clips.
    batch_size: int = Field(default=32, ge=2)
    lr: float = Field(default=1e-3, gt=0)


class EfficientNetSettings(Config):
    """Network, picture and training.

    Attributes:
        model: timm's name with its full tag, as a plain name can change its weights.
        pretrained: ``auto`` takes ImageNet weights that are in the local cache of Hugging Face or
            torch, else random ones; true insists on them; false is random; or a file of them.
        channels: of the picture, see ``sound_pictures``.
        dropout: before the last layer.
        label_smoothing: share of the target spread over all classes.
        augmentation: of training pictures; a column is 11 ms.
        evaluate_every: steps between looks at the validation clips.
        train: see ``ssl_audio.training``.
    """

    model: str = Field(default="efficientnet_b0.ra_in1k", pattern=r"^\w+\.\w+$")
    pretrained: Literal["auto"] | bool | Path = "auto"
    channels: tuple[Channel, Channel, Channel] = ("mel", "mel", "mel")
    dropout: float = Field(default=0.2, ge=0, lt=1)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    augmentation: Augmentation = Augmentation()
    evaluate_every: int = Field(default=60, gt=0)
    train: EfficientNetTrainConfig = EfficientNetTrainConfig()

    @field_validator("train")
    @classmethod
    def _leave_the_seed_alone(cls, train: EfficientNetTrainConfig) -> EfficientNetTrainConfig:
        return refuse_seed(train)


class EfficientNet(System[EfficientNetSettings]):
    """Any of timm's ImageNet networks, EfficientNet-B0 by default."""

    title = "ImageNet CNN"
    settings_type = EfficientNetSettings

    @classmethod
    def suffix(cls, settings: EfficientNetSettings) -> str:
        """Which network, and whether its weights are random, as of now and here."""
        name = settings.model.partition(".")[0]
        return f", {name}" + ("" if find_weights(settings) else ", random weights")

    @classmethod
    def check(cls, settings: EfficientNetSettings) -> None:
        """There is such a network, and its weights are there if the recipe insists on them."""
        import timm

        if not timm.is_model(settings.model) or not timm.get_pretrained_cfg(settings.model):
            raise UserError(f"model: timm knows no {settings.model}")
        wanted, found = settings.pretrained, find_weights(settings)
        if wanted is True and found is None:
            raise UserError(
                f"pretrained: {settings.model} is not in the local cache, and nothing is "
                "downloaded unasked: run hf download "
                f"timm/{settings.model}, name a file, or take pretrained: auto"
            )
        if isinstance(wanted, Path) and found is None:
            raise UserError(f"pretrained: {wanted} is no file")

    def fit(self, train: LabelledClips, validation: LabelledClips) -> None:
        """Trains every weight and keeps the best step by UAR on validation."""
        settings = self.settings
        torch.manual_seed(self.seed)
        distinct = list(dict.fromkeys(settings.channels))
        network = build_network(settings, len(self.classes))
        module = self._module = PictureClassifier(
            network,
            [distinct.index(channel) for channel in settings.channels],
            network.pretrained_cfg["mean"],
            network.pretrained_cfg["std"],
            settings.augmentation,
            settings.label_smoothing,
        )
        stream = ArrayStream(self._pictures(train.waveforms), train.labels, self.seed)
        shown = self._pictures(validation.waveforms)

        def score() -> float:
            answer = predict_pictures(module, shown)
            return float(metrics.uar(metrics.confusion_matrix(validation.labels, answer)))

        watch = Watch(settings.evaluate_every, score)
        self._trained = fit_network(module, stream, with_seed(settings.train, self.seed), watch)

    def predict(self, clips: UnlabelledClips) -> Floats:
        """The network's softmax."""
        return predict_pictures(self._module, self._pictures(clips.waveforms))

    @property
    def parameters(self) -> int | None:
        """Of the network with its new last layer."""
        return sum(weight.numel() for weight in self._module.parameters())

    @property
    def pretraining_data(self) -> str:
        """ImageNet, or unknown for a file."""
        if find_weights(self.settings) is None:
            return ""
        return "unknown" if isinstance(self.settings.pretrained, Path) else "ImageNet-1k (images)"

    @property
    def weights(self) -> str:
        """Timm's name, or the file's."""
        found = find_weights(self.settings)
        if found is None:
            return ""
        own = isinstance(self.settings.pretrained, Path)
        return f"{found.name if own else self.settings.model} {file_sha256(found)}"

    @property
    def notes(self) -> tuple[str, ...]:
        """Whether training was cut."""
        return self._trained.notes

    @property
    def choices(self) -> dict[str, Any]:
        """Precision and device."""
        return self._trained.choices

    def _pictures(self, waveforms: Sequence[Int16]) -> npt.NDArray[np.uint8]:
        """(clips, different channels, 128, 455)."""
        distinct = dict.fromkeys(self.settings.channels)
        channels = [
            self.cache.extract(waveforms, sound_picture, channel=channel) for channel in distinct
        ]
        return np.stack(channels, axis=1)


def find_weights(settings: EfficientNetSettings) -> Path | None:
    """The file of pretrained weights that a run starts from; None starts from random ones."""
    import timm
    from huggingface_hub import try_to_load_from_cache

    if isinstance(settings.pretrained, Path):
        return settings.pretrained if settings.pretrained.is_file() else None
    config = timm.get_pretrained_cfg(settings.model)
    if settings.pretrained is False or config is None:
        return None
    for name in ("model.safetensors", "pytorch_model.bin"):
        cached = try_to_load_from_cache(str(config.hf_hub_id), name)
        if isinstance(cached, str):
            return Path(cached)
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(str(config.url)).name
    return file if file.is_file() else None


def build_network(settings: EfficientNetSettings, num_classes: int) -> Any:
    """Timm's network with a new last layer.

    Raises:
        UserError: the file of weights does not fit.
    """
    import timm

    network: Any = timm.create_model(
        settings.model, num_classes=num_classes, drop_rate=settings.dropout
    )
    file = find_weights(settings)
    if file is None:
        return network
    last = f"{network.pretrained_cfg['classifier']}."
    try:
        weights = timm.models.load_state_dict(str(file))
        kept = {name: weight for name, weight in weights.items() if not name.startswith(last)}
        missing, unexpected = network.load_state_dict(kept, strict=False)
    except UNREADABLE as error:
        raise UserError(f"{file} does not fit {settings.model}: {error}") from None
    wrong = [name for name in (*missing, *unexpected) if not name.startswith(last)]
    if wrong:
        raise UserError(
            f"{file} does not fit {settings.model}: {len(wrong)} weights are missing or left over, "
            f"first {wrong[0]}"
        )
    return network

"""Our encoder with its head: from scratch or pretrained, fine-tuned or frozen.

Trained by ``finetune.learning``, as ``python -m finetune train`` does: the best step is chosen on
the validation clips by UAR.
"""

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pydantic import Field, field_validator
from transformers.utils import logging as transformers_logging

from benchmarks.figures.label_efficiency import name_of_share
from benchmarks.systems.base import FeatureCache, Floats, LabelledClips, System, UnlabelledClips
from benchmarks.systems.neural import hold, refuse_seed, with_seed
from finetune.augmentation import refuse_other_genders
from finetune.config import ClassifierConfig, FinetuneTrainConfig
from finetune.crops import refuse_unheard
from finetune.evaluate import predict_clips
from finetune.heads import HEADS
from finetune.labels import GENDERS, SingleLabel
from finetune.learning import learn, load_best, read_encoder_config
from finetune.material import Material
from finetune.pretraining import Pretraining
from finetune.self_training import enlarge, open_unlabelled
from finetune.train import TYPICAL_SECONDS
from ssl_audio.audit.copies import find_copies_between
from ssl_audio.build import count_tokens
from ssl_audio.data.audio import Int16
from ssl_audio.data.manifest import Clip
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.errors import ConfigError
from ssl_audio.session import open_session


class OursSettings(ClassifierConfig):
    """Those of ``finetune train``, but for the clips.

    Attributes:
        crop_seconds: of a training clip; None takes whole clips, as validation and test do.
    """

    crop_seconds: float | None = Field(default=3.0, gt=0, le=30)

    @field_validator("train")
    @classmethod
    def _leave_the_seed_alone(cls, train: FinetuneTrainConfig) -> FinetuneTrainConfig:
        return refuse_seed(train)


class Ours(System[OursSettings]):
    """A transformer over spectrogram patches, a pooling and a linear head."""

    title = "Ours"
    settings_type = OursSettings

    def __init__(
        self, settings: OursSettings, classes: tuple[str, ...], seed: int, cache: FeatureCache
    ) -> None:
        super().__init__(settings, classes, seed, cache)
        self._pretraining = Pretraining.read(settings.encoder)
        self._remarks: tuple[str, ...] = ()
        self._pool: PreparedCorpus | None = None
        self._choices: dict[str, Any] = {}

    @classmethod
    def suffix(cls, settings: OursSettings) -> str:
        """Where the encoder comes from, whether it learns here, and from how much."""
        share = settings.training_share
        return f", {settings.start}" + (name_of_share(share) if share < 1 else "")

    @classmethod
    def check(cls, settings: OursSettings) -> None:
        """The encoder's folder holds one of ours, the unlabelled corpus unlabelled clips."""
        read_encoder_config(settings)
        if settings.self_training:
            open_unlabelled(settings.self_training.corpus)

    def fit(self, train: LabelledClips, validation: LabelledClips) -> None:
        """Trains, and keeps the best step; of self-training twice."""
        transformers_logging.disable_progress_bar()
        settings = self.settings.model_copy(
            update={"train": with_seed(self.settings.train, self.seed)}
        )
        material = self._material(train, validation)
        if material.task not in (tasks := HEADS[settings.head.kind].tasks):
            raise ConfigError(
                f"head {settings.head.kind} is for tasks {', '.join(tasks)}, not {material.task}"
            )
        refuse_other_genders(settings.augment, material.task)
        material = material.thin(settings.training_share, self.seed)
        if settings.self_training:
            pool = open_unlabelled(settings.self_training.corpus)
            self._pool = pool
            self._fit(settings.model_copy(update={"self_training": None}), material)
            wanted = settings.self_training.wanted_accuracy
            enlarged = enlarge(material, self._classifier, pool, wanted)
            self._fit(settings, enlarged.material)
            self._remarks = (*self._remarks, enlarged.note)
        else:
            self._fit(settings, material)

    def _fit(self, settings: OursSettings, material: Material) -> None:
        refuse_unheard(settings, settings.crop_seconds, "crop_seconds", material)
        shape = read_encoder_config(settings)
        tokens = count_tokens(shape, settings.crop_seconds or TYPICAL_SECONDS)
        with TemporaryDirectory(prefix="ssl-audio-") as folder:
            session = open_session(Path(folder), False, settings, settings.train, "", shape, tokens)
            state = learn(settings, settings.crop_seconds, session, material)
            self._classifier = load_best(session, state, settings, material)
        self._choices = {
            **session.choices,
            "device": str(session.accelerator.device),
            "level": self._classifier.config.level,
        }
        cut = f"budget cut at step {state.step} of {settings.train.max_steps}"
        self._remarks = (cut,) if state.cut else ()

    def predict(self, clips: UnlabelledClips) -> Floats:
        """The head's softmax, clip by clip, so that none depends on another to the last bit."""
        corpus = hold(clips.waveforms)
        return predict_clips(self._classifier, corpus, np.arange(len(corpus)), batch_size=1)

    def saw(self, clips: UnlabelledClips) -> bool:
        """Whether encoder or self-training met the audio of one of these clips.

        Of what self-training met, changed copies count as well.
        """
        hashes = [_hash(waveform) for waveform in clips.waveforms]
        if self._pretraining.saw(hashes):
            return True
        if self._pool is None:
            return False
        known = {clip.audio_sha256 for clip in self._pool.clips}
        return not known.isdisjoint(hashes) or bool(
            find_copies_between(hold(clips.waveforms), self._pool)
        )

    @property
    def parameters(self) -> int | None:
        """Of encoder, pooling and head."""
        return int(self._classifier.num_parameters())

    @property
    def pretraining_data(self) -> str:
        """The encoder's pool by name."""
        return self._pretraining.pool

    @property
    def weights(self) -> str:
        """The encoder's."""
        return self._pretraining.weights

    @property
    def training_share(self) -> float:
        """As set."""
        return self.settings.training_share

    @property
    def notes(self) -> tuple[str, ...]:
        """Of the pretraining, and whether training was cut."""
        return (*self._pretraining.notes, *self._remarks)

    @property
    def choices(self) -> dict[str, Any]:
        """Precision and form of attention, as probed, and the level that the head reads."""
        return self._choices

    def _material(self, train: LabelledClips, validation: LabelledClips) -> Material:
        labels = [*train.labels.tolist(), *validation.labels.tolist()]
        speakers = [*train.speakers, *validation.speakers]
        waveforms = [*train.waveforms, *validation.waveforms]
        # Of joint classes the gender is in the class; of others nothing asks for it.
        clips = [
            Clip(
                clip_id=str(number),
                path="",
                speaker=speaker,
                gender=self.classes[label].partition("_")[0],
                emotion=self.classes[label],
                audio_sha256=_hash(waveform),
            )
            for number, (speaker, label, waveform) in enumerate(
                zip(speakers, labels, waveforms, strict=True)
            )
        ]
        corpus = hold(waveforms, clips)
        places = np.arange(len(corpus))
        num_training = len(train.labels)
        parts = (places[:num_training], places[num_training:])
        joint = all(name.partition("_")[0] in GENDERS for name in self.classes)
        task = "gender-emotion" if joint else "single"
        return Material(corpus, *parts, SingleLabel(self.classes), task)


def _hash(waveform: Int16) -> str:
    """As a manifest's ``audio_sha256``."""
    return hashlib.sha256(waveform.tobytes()).hexdigest()

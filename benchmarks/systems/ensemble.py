"""Several systems that answer as one: by vote, by mean, or by weights of validation.

The competition's third place voted among six networks, and a public RAVDESS notebook among five
trainings of one network; ``finetune.ensemble`` says how the answers are combined.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from benchmarks.systems import SYSTEMS, find_system
from benchmarks.systems.base import Floats, LabelledClips, System, UnlabelledClips
from benchmarks.systems.feature_cache import FeatureCache
from benchmarks.systems.selection import inner_splits
from finetune.ensemble import Ensemble
from finetune.metrics import Ints
from ssl_audio.config import Config, build_config
from ssl_audio.errors import ConfigError, UserError


class MemberConfig(Config):
    """One of the systems, once or several times."""

    system: str = ""
    """A name in ``SYSTEMS``; the member's own name if empty."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """What differs from the system's defaults."""
    repeats: int = Field(default=1, gt=0)
    """How often it is trained, each time from another seed; each training has a vote."""

    @property
    def system_type(self) -> type[System[Any]]:
        """The class behind its name."""
        return find_system(self.system)

    def build_settings(self) -> Config:
        """The system's own settings.

        Raises:
            ConfigError: they don't fit it.
        """
        return build_config(self.system_type.settings_type, self.settings)

    def complete(self, name: str) -> "MemberConfig":
        """With the system's name and every setting, so that a run's record says what decided it.

        Args:
            name: of the member.

        Raises:
            ConfigError: an unknown system, or settings that don't fit it.
        """
        named = self.model_copy(update={"system": self.system or name})
        if named.system not in SYSTEMS:
            raise ConfigError(
                f"unknown system {named.system!r}: choose one of {', '.join(SYSTEMS)}"
            )
        settings = named.build_settings().model_dump(mode="json")
        return named.model_copy(update={"settings": settings})

    def describe(self, name: str) -> str:
        """The member in the name of a row: how often, and what its settings add to any name."""
        added = self.system_type.suffix(self.build_settings()).removeprefix(", ")
        times = f"{self.repeats} x " if self.repeats > 1 else ""
        return f"{times}{name} ({added})" if added else f"{times}{name}"


class EnsembleSettings(Config):
    """Who answers, and how the answers become one.

    Attributes:
        rule: see ``finetune.ensemble``.
        members: by name; the default is two cheap ones that hear different features.
    """

    rule: Literal["mode", "mean", "weighted"] = "mean"
    members: dict[str, MemberConfig] = Field(
        default={"logmel_statistics": MemberConfig(), "mfcc_svm": MemberConfig()},
        validate_default=True,
    )

    @field_validator("members")
    @classmethod
    def _complete_members(cls, members: dict[str, MemberConfig]) -> dict[str, MemberConfig]:
        complete = {}
        for name, member in members.items():
            try:
                complete[name] = member.complete(name)
            except ConfigError as error:
                raise ValueError(f"{name}: {error}") from None
        return complete

    @model_validator(mode="after")
    def _have_two(self) -> Self:
        count = sum(member.repeats for member in self.members.values())
        if count < 2:
            raise ValueError(
                f"an ensemble has at least two members, and here it has {count}: "
                "name another one, or raise its repeats"
            )
        return self


class SystemEnsemble(System[EnsembleSettings]):
    """Members of any system, each fitted as it would be alone.

    The weights of ``weighted`` are fitted to answers on the validation clips. Those may have chosen
    a member's settings or its best step, as they do for a member alone, so the weights favour a
    member that chose much by them a little. Where the protocol has inner folds, members learn from
    the validation clips in the end; then each member is trained once more for each inner fold,
    without it, and the weights are those of its answers there, on every training speaker.
    """

    title = "Ensemble"
    settings_type = EnsembleSettings

    def __init__(
        self, settings: EnsembleSettings, classes: tuple[str, ...], seed: int, cache: FeatureCache
    ) -> None:
        super().__init__(settings, classes, seed, cache)
        self._members = dict(self._build())
        self._ensemble = Ensemble(settings.rule)

    @classmethod
    def suffix(cls, settings: EnsembleSettings) -> str:
        """The rule and the members: ``, mean of logmel_statistics and 5 x mfcc_xgboost``."""
        *first, last = [member.describe(name) for name, member in settings.members.items()]
        names = f"{', '.join(first)} and {last}" if first else last
        return f", {settings.rule} of {names}"

    @classmethod
    def check(cls, settings: EnsembleSettings) -> None:
        """Every member can be run here.

        Raises:
            UserError: the first one that can't, and what it misses.
        """
        for name, member in settings.members.items():
            try:
                member.system_type.check(member.build_settings())
            except UserError as error:
                raise UserError(f"members.{name}: {error}") from None

    def fit(self, train: LabelledClips, validation: LabelledClips) -> None:
        """Fits every member, and the weights if there are to be any."""
        for member in self._members.values():
            member.fit(train, validation)
        if self._ensemble.learns:
            self._ensemble.fit(*self._answer_held_out(train, validation))

    def predict(self, clips: UnlabelledClips) -> Floats:
        """The members' answers, combined."""
        return self._ensemble.combine(_answer(self._members, clips))

    def saw(self, clips: UnlabelledClips) -> bool:
        """Whether the weights of any member saw one of these clips before."""
        return any(member.saw(clips) for member in self._members.values())

    @property
    def training_share(self) -> float:
        """The largest of the members', in which the others' clips are."""
        return max(member.training_share for member in self._members.values())

    @property
    def choices(self) -> dict[str, Any]:
        """Of the members by name; the devices of all; and the weights, if there are any."""
        choices = {name: member.choices for name, member in self._members.items()}
        devices = sorted({str(one.get("device", "cpu")) for one in choices.values()})
        joined = {"device": " and ".join(devices), "members": choices}
        if self._ensemble.weights is None:
            return joined
        weights = zip(choices, self._ensemble.weights.tolist(), strict=True)
        return {**joined, "weights": dict(weights)}

    @property
    def parameters(self) -> int | None:
        """Of all members; None if the count means nothing for one of them."""
        counts = [member.parameters for member in self._members.values()]
        return None if None in counts else sum(count for count in counts if count is not None)

    @property
    def pretraining_data(self) -> str:
        """The pools of all members."""
        return _join_texts(member.pretraining_data for member in self._members.values())

    @property
    def weights(self) -> str:
        """Pretrained ones, of all members."""
        return _join_texts(member.weights for member in self._members.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """Of the members, with their names."""
        return tuple(
            f"{name}: {note}" for name, member in self._members.items() for note in member.notes
        )

    def _answer_held_out(
        self, train: LabelledClips, validation: LabelledClips
    ) -> tuple[Floats, Ints]:
        """(members, clips, classes) answers on clips not learnt from, and their (clips,) labels."""
        answers, labels = [], []
        for rest, held_out in inner_splits(train, validation):
            judges = dict(self._build())
            for judge in judges.values():
                judge.fit(rest, held_out)
            answers.append(_answer(judges, UnlabelledClips(held_out.waveforms)))
            labels.append(held_out.labels)
        if not answers:
            clips = UnlabelledClips(validation.waveforms)
            return _answer(self._members, clips), validation.labels
        return np.concatenate(answers, axis=1), np.concatenate(labels)

    def _build(self) -> Iterator[tuple[str, System[Any]]]:
        """Members by name, not fitted; those of one name are numbered."""
        for name, member in self.settings.members.items():
            settings = member.build_settings()
            for repeat in range(member.repeats):
                numbered = f"{name} {repeat + 1}" if member.repeats > 1 else name
                seed = derive_seed(self.seed, repeat)
                yield numbered, member.system_type(settings, self.classes, seed, self.cache)


def derive_seed(seed: int, repeat: int) -> int:
    """The seed of a member's repeat; of the first, the row's own.

    Rows of neighbouring seeds would share members if repeats just counted on.

    Args:
        seed: of the row, below 2**32.
        repeat: from 0.
    """
    if repeat == 0:
        return seed
    return int(np.random.SeedSequence((seed, repeat)).generate_state(1)[0])


def _join_texts(texts: Iterable[str]) -> str:
    """Every different one that is not empty, by name."""
    return ", ".join(sorted({text for text in texts if text}))


def _answer(members: dict[str, System[Any]], clips: UnlabelledClips) -> Floats:
    """(members, clips, classes) float64."""
    return np.stack([member.predict(clips) for member in members.values()])

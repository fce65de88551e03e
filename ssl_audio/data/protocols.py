"""Protocols as files: clips of which corpora, under which classes, are dealt to which folds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from ssl_audio.config import Config, load_config
from ssl_audio.data import ravdess_splits, splits
from ssl_audio.data.folds import Folds
from ssl_audio.data.manifest import Clip
from ssl_audio.data.prepared import PreparedCorpus, fingerprint
from ssl_audio.errors import DataError, UserError

PROTOCOLS = Path(__file__).resolve().parents[2] / "configs" / "protocols"
"""Of a checkout; an installed package has none and knows those of its prepared corpora."""

Scheme = Callable[[str, Sequence[Clip], Sequence[str]], Folds]
SCHEMES: dict[str, Scheme] = {
    "emobox6": ravdess_splits.emobox6,
    "balanced6": ravdess_splits.balanced6,
    "text+speaker": ravdess_splits.text_and_speaker,
    "leave-one-speaker-out": splits.leave_one_speaker_out,
    "dedup5": splits.dedup5,
    "random5-LEAKY": splits.random5_leaky,
}
"""How the clips of one corpus are dealt."""


class Source(Config):
    """What a protocol takes from one prepared corpus."""

    corpus: str
    """Name of its reader, as ``prepare`` takes it."""
    split: str | None = None
    """Only clips that the corpus puts in this part, e.g. ``speech``; all if None."""
    emotions: dict[str, str] = Field(default_factory=dict)
    """Class by emotion of the corpus; clips of others are left out. Empty: as they are called."""

    def choose(self, clips: Sequence[Clip]) -> list[Clip | None]:
        """Per clip, the clip under its class; None if it is left out."""
        return [self._choose(clip) for clip in clips]

    def _choose(self, clip: Clip) -> Clip | None:
        if clip.emotion is None or self.split not in (None, clip.split):
            return None
        if not self.emotions:
            return clip
        emotion = self.emotions.get(clip.emotion)
        return replace(clip, emotion=emotion) if emotion else None


class Protocol(Config):
    """A row of the list of protocols, e.g. ``configs/protocols/ravdess-speech-8__emobox6.yaml``."""

    name: str
    """Full name, as in tables."""
    task: Literal["single", "multilabel", "gender-emotion"] = "single"
    sources: tuple[Source, ...] = Field(min_length=1, max_length=2)
    """One corpus, or the one to learn from and the one to be tested on."""
    classes: tuple[str, ...] = Field(min_length=2)
    """In their order; of ``gender-emotion`` each is ``gender_emotion``."""
    scheme: str | None = None
    """One of ``SCHEMES`` for one corpus; None for two."""
    development: bool = False
    """Recipes are chosen by it, so its figures are no evidence for them."""

    def apply(self, corpora: Sequence[PreparedCorpus]) -> tuple[PreparedCorpus, Folds]:
        """The clips that the protocol uses, under its classes, and their folds.

        Args:
            corpora: prepared; found by the names of their readers.

        Raises:
            UserError: a corpus is missing, or two hold a clip of the same name.
            DataError: clips, speakers or classes are missing.
        """
        parts = [self._take(source, _find(source.corpus, corpora)) for source in self.sources]
        names = [clip.clip_id for part in parts for clip in part.clips]
        if len(set(names)) < len(names):
            raise UserError(f"{self.name}: two corpora hold clips of the same name")
        corpus = parts[0] if len(parts) == 1 else _merge(parts, self.name)
        folds = self._deal(parts)
        if folds.classes != self.classes:
            missing = sorted(set(self.classes) - set(folds.classes))
            raise DataError(f"{self.name}: no clips of class {', '.join(missing)}")
        return corpus, replace(folds, protocol=self.name, task=self.task)

    def _take(self, source: Source, corpus: PreparedCorpus) -> PreparedCorpus:
        chosen = source.choose(corpus.clips)
        pairs = [(place, clip) for place, clip in enumerate(chosen) if clip is not None]
        if not pairs:
            raise DataError(f"{self.name}: {corpus.root} has no clip that it could use")
        clips = [self._relabel(clip) for _, clip in pairs]
        for clip in clips:
            if unknown := sorted(set(clip.emotions) - set(self.classes)):
                raise DataError(
                    f"{self.name}: clip {clip.clip_id} is {unknown[0]!r}, which is no class: say "
                    "with emotions what to take from its source"
                )
        # Speakers of two corpora are different people, whatever their numbers.
        if len(self.sources) > 1:
            clips = [
                replace(clip, speaker=clip.speaker and f"{source.corpus}:{clip.speaker}")
                for clip in clips
            ]
        taken = corpus.take([place for place, _ in pairs])
        return replace(taken, clips=tuple(clips), fingerprint=fingerprint(clips))

    def _relabel(self, clip: Clip) -> Clip:
        if self.task != "gender-emotion":
            return clip
        if clip.gender is None:
            raise DataError(f"{self.name}: the gender of clip {clip.clip_id} is unknown")
        return replace(clip, emotion=f"{clip.gender}_{clip.emotion}")

    def _deal(self, parts: Sequence[PreparedCorpus]) -> Folds:
        if len(parts) == 2:
            train, test = (part.clips for part in parts)
            return splits.train_on_test_on(self.name, train, test, self.classes)
        if self.scheme not in SCHEMES:
            raise UserError(
                f"{self.name}: scheme {self.scheme!r} is unknown: choose one of "
                f"{', '.join(SCHEMES)}"
            )
        return SCHEMES[self.scheme](self.name, parts[0].clips, self.classes)


@dataclass(frozen=True)
class OpenProtocol:
    """A protocol on the clips at hand."""

    corpus: PreparedCorpus
    """Its clips, under its classes."""
    folds: Folds
    development: bool = False
    """See ``Protocol``."""


def open_protocol(
    name_or_file: str, corpora: Sequence[PreparedCorpus], folder: Path
) -> OpenProtocol:
    """A protocol's file by name or path, or the folds that a corpus or a CSV file offers.

    Args:
        name_or_file: full name, a ``.yaml`` of a protocol, or a ``.csv`` of folds.
        corpora: prepared.
        folder: of protocols.

    Raises:
        UserError: none of these.
    """
    named = protocol_path(folder, name_or_file)
    path = Path(name_or_file) if name_or_file.endswith(".yaml") else named
    if path.is_file() or path is not named:
        protocol = load_protocol(path)
        return OpenProtocol(*protocol.apply(corpora), protocol.development)
    known = ", ".join(sorted(load_protocol(file).name for file in folder.glob("*.yaml")))
    if len(corpora) != 1:
        raise UserError(
            f"{name_or_file} is no protocol of several corpora, {folder} has: {known or 'none'}"
        )
    try:
        return OpenProtocol(corpora[0], corpora[0].folds(name_or_file))
    except DataError as error:
        if Path(name_or_file).is_file():
            raise
        raise DataError(f"{error}; {folder} has: {known or 'none'}") from None


def protocol_path(folder: Path, name: str) -> Path:
    """Where a folder of protocols has one: ``corpus__scheme.yaml``, with ``to`` for an arrow."""
    return folder / f"{name.replace('/', '__').replace('->', '-to-')}.yaml"


def load_protocol(path: Path) -> Protocol:
    """Reads a protocol's file.

    Raises:
        ConfigError: no such file, or something in it that does not fit.
    """
    return load_config(Protocol, path)


def _find(name: str, corpora: Sequence[PreparedCorpus]) -> PreparedCorpus:
    for corpus in corpora:
        if corpus.name == name:
            return corpus
    given = ", ".join(f"{corpus.root} ({corpus.name})" for corpus in corpora)
    raise UserError(
        f"a prepared {name} is needed, got {given or 'none'}: make one with "
        f"python -m ssl_audio prepare {name}"
    )


def _merge(parts: Sequence[PreparedCorpus], name: str) -> PreparedCorpus:
    clips = tuple(clip for part in parts for clip in part.clips)
    return PreparedCorpus(
        root=parts[0].root,
        name=name,
        clips=clips,
        num_samples=np.concatenate([part.num_samples for part in parts]),
        fingerprint=fingerprint(clips),
        views=tuple(view for part in parts for view in part.views),
    )

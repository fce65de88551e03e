"""What a model had heard of the clips that it is scored on: where scores are not honest ones."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssl_audio.data.corpora.joined import utterance_ids
from ssl_audio.data.manifest import Clip, read_manifest
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.errors import UserError
from ssl_audio.run_record import SEEN_CLIPS

TRAINING_CLIPS = "training.parquet"
"""Manifest, beside a model, of the clips whose labels it learnt from or was chosen by."""
_HEARD_UNLABELLED = "heard_unlabelled.parquet"
"""The same of the clips that its encoder was pretrained on, where they are known."""

Indices = npt.NDArray[np.int64]


def keep_pretraining_clips(encoder: Path | None, model: Path) -> None:
    """Beside the model, as the encoder's folder may go its own way."""
    if encoder is not None and (encoder / SEEN_CLIPS).is_file():
        shutil.copyfile(encoder / SEEN_CLIPS, model / _HEARD_UNLABELLED)


def describe_heard(model: Path, clips: Sequence[Clip], same_corpus: bool) -> Iterator[str]:
    """Lines on what the model had heard of clips, none if that is nothing.

    Args:
        model: folder that ``finetune train`` wrote.
        clips: on which it is scored.
        same_corpus: of the corpus that it learnt from. Of another one, which shares no audio with
            it, speakers may have the same names by chance: then that is said.
    """
    learnt = Heard.labelled(model)
    same = [clip for clip in clips if learnt.clip(clip)]
    others = [clip for clip in clips if not learnt.clip(clip) and learnt.speaker(clip)]
    if same:
        yield f"not honest: the model learnt from, or was chosen by, {len(same)} of these clips"
    if others:
        names = ", ".join(sorted({str(clip.speaker) for clip in others}))
        told = f"{len(others)} are other clips of its training and validation speakers: {names}"
        certain = same or same_corpus
        yield (
            f"not honest: {told}" if certain else f"not honest if these are the same people: {told}"
        )
    if (model / _HEARD_UNLABELLED).is_file():
        seen = Heard.of(read_manifest(model / _HEARD_UNLABELLED))
        if num_seen := sum(map(seen.clip, clips)):
            yield f"transductive: the encoder was pretrained, without labels, on {num_seen} of them"


@dataclass(frozen=True)
class Heard:
    """Clips that a model has met, by what they can be known by again.

    Attributes:
        audio: sha256 of their samples.
        names: their clip_ids, for the utterances that clips are joined from.
        speakers: their names without the corpus that a protocol of several puts before them.
    """

    audio: frozenset[str]
    names: frozenset[str]
    speakers: frozenset[str]

    @classmethod
    def of(cls, clips: Sequence[Clip]) -> "Heard":
        """What is known of these."""
        return cls(
            frozenset(clip.audio_sha256 for clip in clips if clip.audio_sha256),
            frozenset(clip.clip_id for clip in clips),
            frozenset(_person(clip.speaker) for clip in clips if clip.speaker),
        )

    @classmethod
    def labelled(cls, model: Path) -> "Heard":
        """What a model learnt from or was chosen by."""
        return cls.of(read_manifest(model / TRAINING_CLIPS))

    def clip(self, clip: Clip) -> bool:
        """Whether it, or an utterance that it is joined from, is one of them."""
        if clip.audio_sha256 in self.audio:
            return True
        return len(clip.emotions) > 1 and not self.names.isdisjoint(utterance_ids(clip))

    def speaker(self, clip: Clip) -> bool:
        """Whether somebody of that name is heard in one of them."""
        return clip.speaker is not None and _person(clip.speaker) in self.speakers


def _person(speaker: str) -> str:
    return speaker.rpartition(":")[2]


def find_unheard(
    model: Path, joined: PreparedCorpus, source: PreparedCorpus, classes: Sequence[str]
) -> Indices:
    """Joined clips of these classes whose speakers the model neither learnt from nor was chosen by.

    Speakers of other corpora count as the same if they have the same name.

    Returns:
        (clips,) int64 positions in ``joined``.

    Raises:
        UserError: there are none.
    """
    learnt = Heard.labelled(model)
    heard = {clip.clip_id for clip in source.clips if clip.audio_sha256 in learnt.audio}
    is_unheard = [
        not learnt.speaker(clip)
        and not learnt.clip(clip)
        and heard.isdisjoint(utterance_ids(clip))
        and set(classes).issuperset(clip.emotions)
        for clip in joined.clips
    ]
    if not any(is_unheard):
        raise UserError(
            f"{joined.root} has no clip of {', '.join(classes)} by a speaker of whom {model} has "
            "heard nothing"
        )
    return np.flatnonzero(is_unheard)

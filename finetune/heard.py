"""What a model had heard of the clips that it is scored on: where scores are not honest ones."""

import shutil
from collections.abc import Iterator, Sequence
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


def describe_heard(model: Path, clips: Sequence[Clip]) -> Iterator[str]:
    """Lines on what the model had heard of clips, none if that is nothing.

    Speakers of another corpus may have the same names by chance: where no audio is shared, only
    the names are told.

    Args:
        model: folder that ``finetune train`` wrote.
        clips: on which it is scored.
    """
    learnt = read_manifest(model / TRAINING_CLIPS)
    audio = {clip.audio_sha256 for clip in learnt}
    speakers = {clip.speaker for clip in learnt} - {None}
    same = [clip for clip in clips if clip.audio_sha256 in audio]
    others = [c for c in clips if c.audio_sha256 not in audio and c.speaker in speakers]
    if same:
        yield f"not honest: the model learnt from, or was chosen by, {len(same)} of these clips"
    if others:
        names = ", ".join(sorted({str(clip.speaker) for clip in others}))
        told = f"{len(others)} are other clips of speakers that it learnt from: {names}"
        yield f"not honest: {told}" if same else f"not honest if these are the same people: {told}"
    if (model / _HEARD_UNLABELLED).is_file():
        seen = {clip.audio_sha256 for clip in read_manifest(model / _HEARD_UNLABELLED)}
        if num_seen := sum(clip.audio_sha256 in seen for clip in clips):
            yield f"transductive: the encoder was pretrained, without labels, on {num_seen} of them"


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
    learnt = read_manifest(model / TRAINING_CLIPS)
    speakers = {clip.speaker for clip in learnt}
    audio, names = ({getattr(c, n) for c in learnt} for n in ("audio_sha256", "clip_id"))
    heard = {c.clip_id for c in source.clips if c.audio_sha256 in audio or c.clip_id in names}
    is_unheard = [
        clip.speaker not in speakers
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

"""Long clips that hold more than one emotion, joined from the utterances of one speaker."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ssl_audio.data.audio import Int16
from ssl_audio.data.corpora.base import CorpusReader, Listing, Stamp
from ssl_audio.data.corpora.files import existing
from ssl_audio.data.folds import Folds
from ssl_audio.data.manifest import BETWEEN_EMOTIONS, Clip
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.ravdess_splits import emobox6
from ssl_audio.errors import UserError

BETWEEN_UTTERANCES = "+"
"""In the clip_id of a joined clip."""


class Joined(CorpusReader):
    """Made from a prepared corpus whose speakers and emotions are known.

    Each utterance is in one clip at most, and a clip is of one speaker: folds by speakers keep
    everything of one utterance on one side.
    """

    name = "joined"

    def read(self, source: Path | None, columns: Mapping[str, str]) -> Listing:
        """See CorpusReader."""
        corpus = PreparedCorpus.load(existing(source, self.name))
        speech = [clip for clip in corpus.clips if clip.split != "song"]
        views = dict(zip((clip.clip_id for clip in corpus.clips), corpus.views, strict=True))
        groups = join(speech)
        if not groups:
            raise UserError(f"{source}: expected clips of known speakers with two emotions or more")

        def decode(clip: Clip) -> Iterator[tuple[Clip, Int16]]:
            parts = [views[name] for name in utterance_ids(clip)]
            yield clip, np.concatenate(parts)

        left = len(speech) - sum(map(len, groups))
        notes = (f"{left} clips could not be joined",) if left else ()

        def stamp(clip: Clip) -> Stamp:
            size = sum(views[name].nbytes for name in utterance_ids(clip))
            return Stamp(size, corpus.fingerprint)

        return Listing(tuple(map(to_clip, groups)), decode, notes=notes, stamp=stamp)

    def build_folds(self, clips: Sequence[Clip]) -> list[Folds]:
        """See CorpusReader: EmoBox's folds of RAVDESS."""
        folds = emobox6("ravdess-multilabel", clips)
        return [replace(folds, protocol="ravdess-multilabel/emobox6", task="multilabel")]


def join(clips: Sequence[Clip]) -> list[tuple[Clip, ...]]:
    """Two and three utterances in turn, of one speaker, each of another emotion.

    The next one comes from an emotion of which the speaker has most left, so that hardly any is
    left over; where that does not decide, and for their order, hashes of names do.

    Args:
        clips: with speakers and emotions; others are left out.

    Returns:
        The utterances of each joined clip, in the order in which they are heard.
    """
    by_speaker: defaultdict[str, defaultdict[str, list[Clip]]]
    by_speaker = defaultdict(lambda: defaultdict(list))
    for clip in sorted(clips, key=lambda clip: _hash(clip.clip_id)):
        if clip.speaker is not None and clip.emotion is not None:
            by_speaker[clip.speaker][clip.emotion].append(clip)
    groups: list[tuple[Clip, ...]] = []
    for _, left in sorted(by_speaker.items()):
        size = 2
        while len(left) >= 2:
            # Of emotions with equally many left, the next utterance's hash decides.
            order = {name: (-len(rest), _hash(rest[-1].clip_id)) for name, rest in left.items()}
            fullest = sorted(left, key=order.__getitem__)
            group = [left[name].pop() for name in fullest[:size]]
            groups.append(tuple(sorted(group, key=lambda clip: _hash(clip.clip_id))))
            for name in [name for name, rest in left.items() if not rest]:
                del left[name]
            size = 5 - size
    return groups


def to_clip(group: Sequence[Clip]) -> Clip:
    """The joined clip: its name and its label are those of its utterances, in their order."""
    name = BETWEEN_UTTERANCES.join(clip.clip_id for clip in group)
    return Clip(
        clip_id=name,
        path=name,
        speaker=group[0].speaker,
        gender=group[0].gender,
        emotion=BETWEEN_EMOTIONS.join(str(clip.emotion) for clip in group),
        split=group[0].split,
    )


def utterance_ids(clip: Clip) -> list[str]:
    """Of a joined clip, the clip_ids of its utterances in the order in which they are heard."""
    return clip.clip_id.split(BETWEEN_UTTERANCES)


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()

"""Copies of recordings, found from the audio alone: re-encoded, cut, changed, or overlapping.

Two indexes give candidates, and each candidate is looked at closely. Landmarks (``landmarks``,
``matches``) lead to recordings with the same waveform in them, anywhere and at any length, which
``alignment`` confirms sample by sample and ``kinds`` names. Shapes (``shapes``) lead to whole
recordings that were stretched, or shifted in pitch, and have no waveform in common any more.
Pieces of a recording that follow each other have little in common (``overlaps``) or nothing:
``joints`` tells them by their ends, of which one foresees (``prediction``) the other.
"""

from collections.abc import Iterable

from ssl_audio.audit.copies.finding import Copy, search
from ssl_audio.audit.copies.kinds import CopyKind
from ssl_audio.audit.copies.memory import recall, remember
from ssl_audio.data.prepared import PreparedCorpus

__all__ = ["Copy", "CopyKind", "find_copies", "find_copies_between"]


def find_copies(corpus: PreparedCorpus) -> tuple[Copy, ...]:
    """Every two clips of a corpus that hold the same recording in other samples.

    What was found is kept beside the corpus: the same clips are searched once.
    """
    known = recall(corpus)
    if known is None:
        known = _sorted(search(corpus.clips, corpus.views, lambda one, other: True))
        remember(corpus, known)
    return known


def find_copies_between(corpus: PreparedCorpus, other: PreparedCorpus) -> tuple[Copy, ...]:
    """Every clip of one corpus that holds a recording of another one in other samples.

    The first clip of each copy is of ``corpus``, the second of ``other``. What is only possible is
    left out.
    """
    count = len(corpus)
    found = search(
        (*corpus.clips, *other.clips),
        (*corpus.views, *other.views),
        lambda one, other: min(one, other) < count <= max(one, other),
    )
    return _sorted(copy for copy in found if copy.kind != "possible_split_parent")


def _sorted(copies: Iterable[Copy]) -> tuple[Copy, ...]:
    return tuple(sorted(copies, key=lambda copy: (copy.first, copy.second, copy.kind)))

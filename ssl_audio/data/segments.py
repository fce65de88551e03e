"""Long recordings to clips of at most 30 s, cut where it is quiet.

Every stretch is cut at its quietest 10 ms between 25 s and 30 s after the last cut, and what is
left at the end is cut near its middle, so no segment is shorter than 12.5 s. Where the cuts fall
follows from the audio alone, not from how it was read.

A segment is named ``PARENT@SECONDS``, e.g. ``talks/monday@000029.37``: the offset never changes
when another part of the recording does, six digits make the order of names that of time (up to
eleven days), and ``@`` and digits need no quoting in a shell, a file's name or CSV.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from ssl_audio.data.audio import Int16
from ssl_audio.data.manifest import SAMPLE_RATE, Clip

MOST_SECONDS = 30
"""Of one clip."""
_SEARCH_SECONDS = 5
_FRAME = SAMPLE_RATE // 100
"""Samples; cuts are multiples of it, so that two digits tell the offset exactly."""
_MOST = MOST_SECONDS * SAMPLE_RATE
_SEARCH = _SEARCH_SECONDS * SAMPLE_RATE
_NAME = re.compile(r"(?P<parent>.+)@\d{6}\.\d\d")


def split(clip: Clip, blocks: Iterable[Int16]) -> Iterator[tuple[Clip, Int16]]:
    """The clip itself if it is short, else its segments, which keep its labels.

    Args:
        clip: a recording.
        blocks: its audio, (samples,) int16 at 16 kHz each; about a minute of it is held.
    """
    for start, samples, whole in cut(blocks):
        yield (clip if whole else name_segment(clip, start)), samples


def cut(blocks: Iterable[Int16]) -> Iterator[tuple[int, Int16, bool]]:
    """Consecutive stretches of at most 30 s: first sample, audio, whether it is all there is."""
    start = 0
    held = np.zeros(0, np.int16)
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) > 2 * _MOST:
            place = _quietest(held, _MOST - _SEARCH, _MOST)
            yield start, held[:place].copy(), False
            start, held = start + place, held[place:]
    if len(held) > _MOST:
        middle = len(held) // 2
        low, high = middle - _SEARCH // 2, middle + _SEARCH // 2
        place = _quietest(held, max(low, len(held) - _MOST), min(high, _MOST))
        yield start, held[:place].copy(), False
        start, held = start + place, held[place:]
    if len(held):
        yield start, held, start == 0


def name_segment(clip: Clip, start: int) -> Clip:
    """The part of a recording that starts at a sample.

    >>> name_segment(Clip(clip_id="talk", path="talk.mp3", emotion="calm"), 469_920).clip_id
    'talk@000029.37'
    """
    offset_seconds = start / SAMPLE_RATE
    return replace(
        clip,
        clip_id=f"{clip.clip_id}@{offset_seconds:09.2f}",
        parent=clip.parent or clip.clip_id,
        offset_seconds=offset_seconds,
    )


def parent_in_name(clip_id: str) -> str | None:
    """Of what recording the clip is a segment by its name; None if the name is of another form."""
    match = _NAME.fullmatch(clip_id)
    return match["parent"] if match else None


def _quietest(samples: Int16, low: int, high: int) -> int:
    """Where the quietest frame starts, from sample ``low`` to ``high``; the first one of equals."""
    first, last = -(-low // _FRAME), high // _FRAME
    searched = samples[first * _FRAME : (last + 1) * _FRAME]
    frames = searched[: len(searched) // _FRAME * _FRAME].reshape(-1, _FRAME).astype(np.float64)
    return (first + int((frames**2).sum(axis=1).argmin())) * _FRAME

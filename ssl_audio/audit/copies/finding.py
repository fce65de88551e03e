"""From audio to copies: candidates from two indexes, each looked at closely, and neighbours."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import soxr

from ssl_audio.audit.copies.alignment import align
from ssl_audio.audit.copies.joints import find_joints
from ssl_audio.audit.copies.kinds import CopyKind, tell_kind
from ssl_audio.audit.copies.landmarks import NARROW_RATE, Landmarks, find_landmarks
from ssl_audio.audit.copies.matches import Match, find_matches
from ssl_audio.audit.copies.overlaps import find_overlaps
from ssl_audio.audit.copies.shapes import (
    FEWEST_FRAMES,
    Picture,
    compare_pictures,
    describe_picture,
    draw_picture,
    find_neighbours,
)
from ssl_audio.cores import count_cores
from ssl_audio.data.manifest import SAMPLE_RATE, Clip
from ssl_audio.progress import with_progress

Float = npt.NDArray[np.float32]
Int16 = npt.NDArray[np.int16]
Item = TypeVar("Item")
Result = TypeVar("Result")
Wanted = Callable[[int, int], bool]

_FULL_SCALE = np.float32(32_768)
_KEPT_PICTURES = 8192


@dataclass(frozen=True, slots=True)
class Copy:
    """Two clips that hold the same recording, in other samples."""

    first: str
    """clip_id."""
    second: str
    kind: CopyKind
    evidence: str
    """What was measured, in a few words."""


class _Traits(NamedTuple):
    landmarks: Landmarks
    description: Float | None
    """Of the picture; None if it is too short to tell anything."""


def search(clips: Sequence[Clip], views: Sequence[Int16], wanted: Wanted) -> Iterator[Copy]:
    """Every two clips that hold the same recording in other samples.

    Equal samples are looked at once, and what is found of them is told of every clip that has them.

    Args:
        clips: prepared.
        views: (samples,) int16 at 16 kHz of each.
        wanted: whether two clips, by position, are of interest.
    """
    holders: defaultdict[str | None, list[int]] = defaultdict(list)
    for place, clip in enumerate(clips):
        holders[clip.audio_sha256].append(place)
    groups = list(holders.values())
    looked_at = [views[group[0]] for group in groups]

    def any_wanted(one: int, other: int) -> bool:
        return any(wanted(a, b) for a in groups[one] for b in groups[other])

    for one, other, kind, evidence in _search_unequal(looked_at, any_wanted):
        for a in groups[one]:
            for b in groups[other]:
                if wanted(a, b):
                    first, second = sorted((a, b))
                    yield Copy(clips[first].clip_id, clips[second].clip_id, kind, evidence)


def _search_unequal(
    views: Sequence[Int16], wanted: Wanted
) -> Iterator[tuple[int, int, CopyKind, str]]:
    traits = list(_map(lambda view: _find_traits(view), views, "listen"))
    found = set()
    for match, told in _confirm(find_matches([each.landmarks for each in traits]), views, wanted):
        found.add((match.first, match.second))
        yield match.first, match.second, *told
    described = [
        (place, each.description)
        for place, each in enumerate(traits)
        if each.description is not None
    ]
    neighbours = find_neighbours([description for _, description in described])
    pairs = [(described[one][0], described[other][0]) for one, other in neighbours]
    pairs = [pair for pair in pairs if pair not in found and wanted(*pair)]
    for one, other, kind, evidence in _find_same_shape(pairs, views):
        found.add((one, other))
        yield one, other, kind, evidence
    for one, other, kind, evidence in _find_in_sequence(views):
        if (one, other) not in found and wanted(one, other):
            found.add((one, other))
            yield one, other, kind, evidence


def _find_in_sequence(views: Sequence[Int16]) -> Iterator[tuple[int, int, CopyKind, str]]:
    """Recordings of which one begins where, or shortly before, the other ends."""
    for overlap in find_overlaps(views):
        one, other = sorted((overlap.first, overlap.second))
        yield one, other, overlap.kind, overlap.evidence
    for joint in find_joints(views):
        one, other = sorted((joint.first, joint.second))
        yield one, other, joint.kind, joint.evidence


def _find_traits(view: Int16) -> _Traits:
    narrow = _narrow(view)
    picture = draw_picture(narrow)
    long_enough = picture.shape[1] >= FEWEST_FRAMES
    return _Traits(find_landmarks(narrow), describe_picture(picture) if long_enough else None)


def _confirm(
    matches: Sequence[Match], views: Sequence[Int16], wanted: Wanted
) -> Iterator[tuple[Match, tuple[CopyKind, str]]]:
    def tell(match: Match) -> tuple[CopyKind, str] | None:
        first, second = _waveform(views[match.first]), _waveform(views[match.second])
        alignment = align(first, second, match.lag)
        return None if alignment is None else tell_kind(first, second, alignment)

    matches = [match for match in matches if wanted(match.first, match.second)]
    for match, told in zip(matches, _map(tell, matches, "align"), strict=True):
        if told is not None:
            yield match, told


def _find_same_shape(
    pairs: Sequence[tuple[int, int]], views: Sequence[Int16]
) -> Iterator[tuple[int, int, CopyKind, str]]:
    @lru_cache(_KEPT_PICTURES)
    def picture(place: int) -> Picture:
        return draw_picture(_narrow(views[place]))

    likenesses = _map(lambda pair: compare_pictures(*map(picture, pair)), pairs, "compare")
    for (one, other), fit in zip(pairs, likenesses, strict=True):
        if fit.is_copy:
            evidence = (
                f"the same picture {fit.value:.2f}, {fit.even:.0%} of it even, at "
                f"{fit.stretch:.2f} times the length and {fit.semitones:+.1f} semitones"
            )
            yield one, other, "augmented_copies", evidence


def _map(
    function: Callable[[Item], Result], items: Sequence[Item], description: str
) -> Iterator[Result]:
    """In order, on every core: NumPy and SciPy release the GIL."""
    with ThreadPoolExecutor(count_cores()) as pool:
        yield from with_progress(pool.map(function, items), len(items), description, "clip")


def _waveform(view: Int16) -> Float:
    return view.astype(np.float32) / _FULL_SCALE


def _narrow(view: Int16) -> Float:
    narrow: Float = soxr.resample(_waveform(view), SAMPLE_RATE, NARROW_RATE, quality="MQ")
    return narrow

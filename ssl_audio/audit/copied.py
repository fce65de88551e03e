"""Clips made from other clips on both sides of a split: copies, augmented ones, segments."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ssl_audio.audit.parts import PAIRS, CopyPair, FoldClips
from ssl_audio.audit.report import Finding, count_of, name_some
from ssl_audio.data.manifest import Clip
from ssl_audio.data.segments import parent_in_name

KINDS = {
    "near_identical_audio": "near-identical recordings",
    "augmented_copies": "augmented copies",
    "split_parent": "segments of one recording",
}
"""Of copies that are surely such, and what they are called."""


def find_copied(fold: FoldClips) -> Iterator[Finding]:
    """One finding for every kind of copy and every two parts that it joins."""
    for kind, called in KINDS.items():
        for (first, second), groups in _find_across(fold, kind):
            yield fold.report_shared_audio(
                kind,
                (first, second),
                f"{first} and {second} hold {called}, {count_of(len(groups), 'group')}: "
                f"{_name_pairs(groups)}",
                groups,
            )


def find_neighbours(fold: FoldClips) -> Iterator[Finding]:
    """One warning for every two parts with pieces that seem to go on into each other."""
    for (first, second), groups in _find_across(fold, "possible_split_parent"):
        yield fold.report(
            "split_parent",
            "warning",
            f"{first} and {second} hold what may be neighbouring pieces of one recording, "
            f"{count_of(len(groups), 'group')}: {_name_pairs(groups)}",
            groups,
        )


def find_split_parents(fold: FoldClips) -> Iterator[Finding]:
    """One finding for every two parts with segments of one recording, as declared by the corpus."""
    recordings = {part: _by_parent(clips) for part, clips in fold.parts.items()}
    for first, second in PAIRS:
        a, b = recordings[first], recordings[second]
        groups = {key: sorted({*a[key], *b[key]}) for key in sorted(a.keys() & b.keys())}
        # A clip that both parts name is the same recording, found as such.
        groups = {key: group for key, group in groups.items() if len(group) > 1}
        if groups:
            yield fold.report_shared_audio(
                "split_parent",
                (first, second),
                f"{first} and {second} hold segments of {count_of(len(groups), 'recording')}: "
                f"{name_some(list(groups))}",
                groups.values(),
            )


def note_copies(copies: Sequence[CopyPair]) -> Iterator[Finding]:
    """A note for every kind of copy that a corpus holds."""
    for kind, called in KINDS.items():
        groups = connect((copy.first, copy.second) for copy in copies if copy.kind == kind)
        if groups:
            yield Finding(
                kind=kind,
                severity="note",
                evidence=f"the corpus holds {called}, {count_of(len(groups), 'group')}: "
                f"{_name_pairs(groups)}",
                groups=groups,
            )


def connect(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
    """Groups of clips that pairs join, each sorted, in the order of their first names.

    >>> connect([("b", "a"), ("d", "c"), ("c", "e")])
    (('a', 'b'), ('c', 'd', 'e'))
    """
    joined = sorted({(min(pair), max(pair)) for pair in pairs})
    if not joined:
        return ()
    names, places = np.unique(np.array(joined, dtype=object), return_inverse=True)
    ends = places.reshape(-1, 2)
    links = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(names),) * 2)
    _, labels = connected_components(links, directed=False)
    groups: defaultdict[int, list[str]] = defaultdict(list)
    for name, label in zip(names.tolist(), labels.tolist(), strict=True):
        groups[label].append(name)
    return tuple(sorted(tuple(group) for group in groups.values()))


def parent_of(clip: Clip) -> str:
    """The recording that a clip is of: itself, unless it is declared or named as a segment."""
    if clip.parent is not None:
        return clip.parent
    return parent_in_name(clip.clip_id) or clip.clip_id


def _find_across(
    fold: FoldClips, kind: str
) -> Iterator[tuple[tuple[str, str], tuple[tuple[str, ...], ...]]]:
    """Groups of copies of a kind by the two parts that they join."""
    ids = {part: {clip.clip_id for clip in clips} for part, clips in fold.parts.items()}
    copies = [copy for copy in fold.copies if copy.kind == kind]
    for first, second in PAIRS:
        a, b = ids[first], ids[second]
        across = [
            (copy.first, copy.second)
            for copy in copies
            if (copy.first in a and copy.second in b) or (copy.first in b and copy.second in a)
        ]
        if across:
            yield (first, second), connect(across)


def _name_pairs(groups: Sequence[Sequence[str]]) -> str:
    return name_some([" ~ ".join(group[:2]) for group in groups])


def _by_parent(clips: Sequence[Clip]) -> dict[str, list[str]]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for clip in clips:
        groups[parent_of(clip)].append(clip.clip_id)
    return dict(groups)

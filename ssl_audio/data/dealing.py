"""Dealing clips to the parts of folds: what every scheme is made of."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from ssl_audio.data.folds import PARTS, Fold, Folds
from ssl_audio.data.manifest import BETWEEN_EMOTIONS, Clip
from ssl_audio.errors import DataError

ROW_COLUMNS = ("clip_id", "speaker", "fold", "seed", "label")
"""Columns of stored predictions, beside which each class has one of its own name."""

Deal = Callable[[Clip], str | None]
"""Says which part of a fold a clip belongs to; None: it has no place in this fold."""


def assemble_folds(
    name: str,
    scheme: str,
    order: Sequence[str] | None,
    clips: Sequence[Clip],
    deals: Sequence[Deal],
    inner: Sequence[Mapping[str, int]] = (),
) -> Folds:
    """Folds from what deals the clips to each one.

    Args:
        name: what the protocol's name starts with.
        scheme: what it ends with.
        order: of the classes; alphabetical by default. Classes without clips are left out.
        clips: labelled ones.
        deals: for each fold, which part a clip belongs to.
        inner: for each fold, the inner fold of each speaker, counted from 0; empty if it has none.

    Raises:
        DataError: under two classes, an odd name of one, or one that some fold can't train on.
    """
    present = {emotion for clip in clips for emotion in clip.emotions}
    classes = tuple(emotion for emotion in order or sorted(present) if emotion in present)
    if len(classes) < 2:
        raise DataError(f"folds need at least 2 classes, got {', '.join(classes) or 'none'}")
    refuse_odd_names(classes)
    folds = []
    for number, deal in enumerate(deals, 1):
        parts: dict[str, list[Clip]] = {part: [] for part in PARTS}
        for clip in clips:
            if part := deal(clip):
                parts[part].append(clip)
        trained = {emotion for clip in parts["train"] for emotion in clip.emotions}
        if untrained := [emotion for emotion in classes if emotion not in trained]:
            raise DataError(
                f"class {untrained[0]!r} has no training clip in fold {number} of {scheme}: "
                "add clips of it from other speakers, or drop or merge the class"
            )
        learnt = [*parts["train"], *parts["validation"]]
        folds.append(
            Fold(
                number,
                train=_sorted_ids(parts["train"]),
                validation=_sorted_ids(parts["validation"]),
                test=_sorted_ids(parts["test"]),
                inner=_group(learnt, inner[number - 1]) if inner else (),
            )
        )
    return Folds(f"{name}-{len(classes)}/{scheme}", classes, tuple(folds))


def by_group(
    group_of: Callable[[Clip], str],
    test: Sequence[AbstractSet[str]],
    validation: Sequence[AbstractSet[str]],
) -> list[Deal]:
    """Deals from the groups (speakers, recordings) that each fold tests and validates on."""

    def build_deal(tested: AbstractSet[str], validated: AbstractSet[str]) -> Deal:
        def deal(clip: Clip) -> str:
            group = group_of(clip)
            return "test" if group in tested else "validation" if group in validated else "train"

        return deal

    return [build_deal(*groups) for groups in zip(test, validation, strict=True)]


def by_speaker(
    test: Sequence[AbstractSet[str]], validation: Sequence[AbstractSet[str]]
) -> list[Deal]:
    """Deals from the speakers that each fold tests and validates on; the others train."""
    return by_group(speaker_of, test, validation)


def next_ones(test: Sequence[AbstractSet[str]]) -> list[AbstractSet[str]]:
    """For each fold, the groups that the next one tests."""
    return [*test[1:], test[0]]


def speaker_of(clip: Clip) -> str:
    """Its speaker, which must be known."""
    return str(clip.speaker)


def id_of(clip: Clip) -> str:
    """Its clip_id."""
    return clip.clip_id


def refuse_odd_names(classes: Iterable[str]) -> None:
    """Refuses names that a file of folds or of predictions could not give back.

    Raises:
        DataError: such a name.
    """
    for name in classes:
        if BETWEEN_EMOTIONS in name:
            raise DataError(f"class {name!r}: a name must not hold {BETWEEN_EMOTIONS!r}, rename it")
        if name in ROW_COLUMNS:
            raise DataError(
                f"class {name!r}: predictions have a column of this name beside those of the "
                "classes, rename it"
            )


def _group(clips: Sequence[Clip], group_of: Mapping[str, int]) -> tuple[tuple[str, ...], ...]:
    numbers = sorted(set(group_of.values()))
    return tuple(
        _sorted_ids([clip for clip in clips if group_of[speaker_of(clip)] == number])
        for number in numbers
    )


def _sorted_ids(clips: Sequence[Clip]) -> tuple[str, ...]:
    return tuple(sorted(clip.clip_id for clip in clips))

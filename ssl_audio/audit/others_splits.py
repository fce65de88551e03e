"""Other people's splits as folds: three lists, folds in any shape, a column of the manifest."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ssl_audio.audit.fold_shapes import read_fold_rows
from ssl_audio.audit.names import ClipNames
from ssl_audio.audit.part_names import PART_OF_NAME, are_parts
from ssl_audio.audit.tables import read_names
from ssl_audio.data.folds import PARTS, Fold, Folds
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError, UserError


def read_lists(
    lists: Mapping[str, Path], names: ClipNames, columns: Mapping[str, str]
) -> tuple[Folds, int]:
    """One fold of up to three lists, and how many names are of files that were set aside.

    Args:
        lists: files by part.
        names: of the corpus.
        columns: of tables, by field.

    Raises:
        UserError: a list that can't be read, names that match no clip, or a single list.
    """
    if len(lists) < 2:
        (part,) = lists
        raise UserError(
            f"--{part} alone can't leak: give at least two of --train, --validation and --test"
        )
    named = {part: read_names(path, columns) for part, path in lists.items()}
    found = {part: names.find_all(named[part], path) for part, path in lists.items()}
    fold = _make_fold(1, found)
    everything = [name for part in named.values() for name in part]
    return Folds("the given lists", (), (fold,)), names.count_set_aside(everything)


def read_folds(path: Path, names: ClipNames, columns: Mapping[str, str]) -> tuple[Folds, int]:
    """Folds of our own files, or in any of the shapes that others write theirs in.

    Without parts, fold k tests its own clips and trains on all others.

    Raises:
        UserError: it can't be read, has another shape, or names clips that are not there.
    """
    rows = read_fold_rows(path, columns)
    names.find_all(filter(None, rows.names), path)
    found = [names.find(name) or () if name else () for name in rows.names]

    def clips_of(places: Iterable[int]) -> tuple[str, ...]:
        return tuple(sorted({clip_id for place in places for clip_id in found[place]}))

    folds = tuple(
        _make_fold(number, {part: clips_of(places) for part, places in parts.items()})
        for number, parts in rows.dealing.places(path).items()
    )
    for fold in folds:
        if sum(bool(getattr(fold, part)) for part in PARTS) < 2:
            raise DataError(
                f"{path}: fold {fold.number} has clips in one part only, which can't leak: it "
                "needs two of train, validation and test"
            )
    return Folds(rows.protocol, (), folds), names.count_set_aside(filter(None, rows.names))


def read_declared_split(clips: Sequence[Clip]) -> Folds | None:
    """The split that a corpus itself declares; None if it has none, or calls other things so."""
    if not are_parts(clip.split for clip in clips if clip.split is not None):
        return None
    ids: dict[str, list[str]] = {part: [] for part in PARTS}
    for clip in clips:
        if clip.split is not None:
            ids[PART_OF_NAME[clip.split.lower()]].append(clip.clip_id)
    return Folds("the corpus's own split", (), (_make_fold(1, ids),))


def _make_fold(number: int, ids: Mapping[str, Iterable[str]]) -> Fold:
    parts = {part: tuple(sorted(ids.get(part, ()))) for part in PARTS}
    return Fold(number, parts["train"], parts["validation"], parts["test"])

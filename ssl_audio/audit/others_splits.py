"""Other people's splits as folds: three lists, a table of folds, or a column of the manifest."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from ssl_audio.audit.names import ClipNames
from ssl_audio.audit.tables import cells, find_column, needed_clip_column, read_names, read_table
from ssl_audio.data.folds import Fold, Folds
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError, UserError

PART_OF_NAME = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""What parts are called."""


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
    fold = Fold(1, found.get("train", ()), found.get("validation", ()), found.get("test", ()))
    everything = [name for part in named.values() for name in part]
    return Folds("the given lists", (), (fold,)), names.count_set_aside(everything)


def read_folds(path: Path, names: ClipNames, columns: Mapping[str, str]) -> tuple[Folds, int]:
    """Folds of our own files, or of any table of clips with a column of folds, parts or both.

    Without parts, fold k tests its own rows and trains on all others.

    Raises:
        UserError: it can't be read, has neither column, or names clips that are not there.
    """
    table = read_table(path)
    ids = cells(table, needed_clip_column(table, path, columns))
    fold_column = find_column(table, "fold", columns)
    part_column = find_column(table, "split", columns)
    if fold_column is None and part_column is None:
        raise UserError(
            f"{path}: expected a column fold or split (train, validation, test), got "
            f"{', '.join(table.columns[:8])}: say which one with --map fold=COLUMN or split=COLUMN"
        )
    names.find_all(filter(None, ids), path)
    folds = cells(table, fold_column) if fold_column else ["1"] * len(ids)
    parts = _read_parts(cells(table, part_column), path) if part_column else None
    protocol = cells(table, "protocol")[0] if "protocol" in table.columns else path.stem
    rows: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for name, fold, part in zip(ids, folds, parts or ["test"] * len(ids), strict=True):
        if name and fold and part:
            rows[fold, part] |= set(names.find(name) or ())
    dealt = _assemble(rows) if parts else _rotate({fold: ids for (fold, _), ids in rows.items()})
    return Folds(protocol, (), dealt), names.count_set_aside(filter(None, ids))


def read_declared_split(clips: Sequence[Clip]) -> Folds | None:
    """The split that a corpus itself declares; None if it has none, or calls other things so."""
    named = {clip.split.lower() for clip in clips if clip.split is not None}
    if not named <= PART_OF_NAME.keys() or len({PART_OF_NAME[name] for name in named}) < 2:
        return None
    rows: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for clip in clips:
        if clip.split is not None:
            rows["1", PART_OF_NAME[clip.split.lower()]].add(clip.clip_id)
    return Folds("the corpus's own split", (), _assemble(rows))


def read_part(name: str) -> str | None:
    """``train``, ``validation`` or ``test`` by any of its names; None if it is none."""
    return PART_OF_NAME.get(name.lower())


def _read_parts(written: Sequence[str], path: Path) -> list[str]:
    """Of every row; empty where the table says nothing."""
    parts = [read_part(name) if name else "" for name in written]
    odd = sorted({name for name, part in zip(written, parts, strict=True) if part is None})
    if odd:
        raise DataError(
            f"{path}: expected parts train, validation and test, got {odd[0]!r}: rename it, or "
            "leave the column out with a table of folds alone"
        )
    return [str(part) for part in parts]


def _assemble(rows: Mapping[tuple[str, str], set[str]]) -> tuple[Fold, ...]:
    def ids(fold: str, part: str) -> tuple[str, ...]:
        return tuple(sorted(rows.get((fold, part), ())))

    return tuple(
        Fold(number, ids(fold, "train"), ids(fold, "validation"), ids(fold, "test"))
        for fold, number in _number({fold for fold, _ in rows}).items()
    )


def _rotate(tested: Mapping[str, set[str]]) -> tuple[Fold, ...]:
    if len(tested) < 2:
        raise DataError(
            "a table of folds without parts needs at least 2 folds, got "
            f"{', '.join(tested) or 'none'}: add a column split"
        )
    return tuple(
        Fold(
            number,
            train=tuple(sorted(set().union(*(ids for f, ids in tested.items() if f != fold)))),
            validation=(),
            test=tuple(sorted(tested[fold])),
        )
        for fold, number in _number(set(tested)).items()
    )


def _number(folds: set[str]) -> dict[str, int]:
    """Their own numbers, else numbers from 1 in the order of their names."""
    if all(fold.isdigit() for fold in folds) and len(set(map(int, folds))) == len(folds):
        return {fold: int(fold) for fold in sorted(folds, key=int)}
    return {fold: number for number, fold in enumerate(sorted(folds), 1)}

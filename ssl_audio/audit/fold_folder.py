"""Folders of lists, whose names tell of which fold and part they are.

``fold_1/ravdess_train_fold_1.jsonl`` beside ``fold_1/ravdess_test_fold_1.jsonl``, ``train_1.csv``
beside ``test_1.csv``, ``fold1.csv`` beside ``fold2.csv``.

Source: Ma et al. 2024, "EmoBox: Multilingual Multi-corpus Speech Emotion Recognition Toolkit and
Benchmark", whose folds lie so in https://github.com/emo-box/EmoBox below ``data/CORPUS``; each line
of a list is an object with the keys ``key``, ``wav`` and ``emo`` among others.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ssl_audio.audit.part_names import PART_OF_NAME
from ssl_audio.data.corpora.tables import TABLES
from ssl_audio.errors import DataError

LISTS = (*TABLES, ".txt")
"""Endings; of one list in several forms the first counts."""
_PARTS = "|".join(sorted(PART_OF_NAME, key=len, reverse=True))
_NUMBERS = (
    re.compile(r"(?P<word>fold|split|cv|session)[ _-]?(?P<number>\d+)"),
    re.compile(rf"(?P<word>{_PARTS})[ _-]?(?P<number>\d+)(?![a-z0-9])"),
    re.compile(rf"(?<![a-z0-9])(?P<number>\d+)[ _-]?(?P<word>{_PARTS})"),
    re.compile(r"(?P<word>^|/)(?P<number>\d+)(?=[/.])"),
)
"""Where a path tells its fold, the clearest first."""


@dataclass(frozen=True)
class FoundList:
    """One of the files."""

    path: Path
    fold: str
    """Number, or several as in ``1/0`` where it takes them to tell folds apart."""
    part: str
    """Empty where its name tells none."""


def find_lists(root: Path) -> list[FoundList]:
    """The lists below a folder: those of parts if there are any, else all that tell a fold.

    Raises:
        DataError: several lists for one part of one fold, or lists of parts of which only some
            tell a fold.
    """
    found: dict[str, tuple[FoundList, tuple[str, ...]]] = {}
    for path in sorted(root.rglob("*"), key=_rank):
        relative = PurePosixPath(path.relative_to(root).as_posix().lower())
        hidden = any(name.startswith(".") for name in relative.parts)
        if relative.suffix in LISTS and not hidden and path.is_file():
            one = FoundList(path, "", _find_part(relative))
            found.setdefault(relative.with_suffix("").as_posix(), (one, _find_numbers(relative)))
    named = [(one, numbers) for one, numbers in found.values() if one.part]
    if not named:
        return _name_folds([(one, numbers) for one, numbers in found.values() if numbers])
    _refuse_foldless(named)
    lists = _name_folds(named)
    refuse_doubles(lists)
    return lists


def refuse_doubles(lists: Sequence[FoundList]) -> None:
    """Lists that would become one without a word.

    Raises:
        DataError: several are of one part of one fold.
    """
    seen: dict[tuple[str, str], Path] = {}
    for one in lists:
        first = seen.setdefault((one.fold, one.part), one.path)
        if first != one.path:
            raise DataError(
                f"{one.path}: expected one list for {one.part or 'the clips'} of fold {one.fold}, "
                f"got {first} too: join them, or move away what is no such list"
            )


def _refuse_foldless(named: Sequence[tuple[FoundList, tuple[str, ...]]]) -> None:
    without = [one.path for one, numbers in named if not numbers]
    if without and len(without) < len(named):
        path = next(one.path for one, numbers in named if numbers)
        raise DataError(
            f"{without[0]}: expected the number of a fold in its name, as {path} has, got none: "
            "write one such list per fold, or move this one away"
        )


def _name_folds(lists: Sequence[tuple[FoundList, tuple[str, ...]]]) -> list[FoundList]:
    """By the numbers that differ: 0 and 2 for ``cv3/fold_0`` and ``cv3/fold_2``."""
    told = [numbers for _, numbers in lists]
    if len({len(numbers) for numbers in told}) == 1:
        columns = list(dict.fromkeys(zip(*told, strict=True)))
        differing = [column for column in columns if len(set(column)) > 1] or columns[-1:]
        told = list(zip(*differing, strict=True)) if differing else told
    # Lists of one fold may have no number.
    return [
        replace(one, fold="/".join(numbers) or "1")
        for (one, _), numbers in zip(lists, told, strict=True)
    ]


def _rank(path: Path) -> tuple[int, str]:
    ending = path.suffix.lower()
    return LISTS.index(ending) if ending in LISTS else len(LISTS), path.as_posix()


def _find_numbers(path: PurePosixPath) -> tuple[str, ...]:
    """All that may tell its fold, from the outermost; what folder and file both say counts once."""
    for pattern in _NUMBERS:
        found = pattern.finditer(path.as_posix())
        told = dict.fromkeys((match["word"], match["number"].lstrip("0") or "0") for match in found)
        if told:
            return tuple(number for _, number in told)
    return ()


def _find_part(path: PurePosixPath) -> str:
    """As the file's own name says, else a folder's; empty if several parts are named."""
    for name in (path.stem, *reversed(path.parts[:-1])):
        words = re.findall("[a-z]+", name)
        parts = {PART_OF_NAME[word] for word in words if word in PART_OF_NAME}
        if parts:
            return parts.pop() if len(parts) == 1 else ""
    return ""

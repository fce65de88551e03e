"""Folders of lists, whose names tell of which fold and part they are.

``fold_1/ravdess_train_fold_1.jsonl`` beside ``fold_1/ravdess_test_fold_1.jsonl``, ``train_1.csv``
beside ``test_1.csv``, ``fold1.csv`` beside ``fold2.csv``.

Source: Ma et al. 2024, "EmoBox: Multilingual Multi-corpus Speech Emotion Recognition Toolkit and
Benchmark", whose folds lie so in https://github.com/emo-box/EmoBox below ``data/CORPUS``; each line
of a list is an object with the keys ``key``, ``wav`` and ``emo`` among others.
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ssl_audio.audit.part_names import PART_OF_NAME
from ssl_audio.data.corpora.tables import TABLES

LISTS = (*TABLES, ".txt")
"""Endings; of one list in several forms the first counts."""
_PARTS = "|".join(sorted(PART_OF_NAME, key=len, reverse=True))
_NUMBERS = (
    re.compile(r"(?:fold|split|cv|session)[ _-]?(\d+)"),
    re.compile(rf"(?:{_PARTS})[ _-]?(\d+)(?![a-z0-9])"),
    re.compile(rf"(?<![a-z0-9])(\d+)[ _-]?(?:{_PARTS})"),
    re.compile(r"(?:^|/)(\d+)(?=[/.])"),
)
"""Where a path tells its fold, the clearest first."""


@dataclass(frozen=True)
class FoundList:
    """One of the files."""

    path: Path
    fold: str
    """Number; the file's own name where it has none."""
    part: str
    """Empty where its name tells none."""


def find_lists(root: Path) -> list[FoundList]:
    """The lists below a folder: those of parts if there are any, else all that tell a fold."""
    found: dict[tuple[str, str, str], FoundList] = {}
    for path in sorted(root.rglob("*"), key=_rank):
        relative = PurePosixPath(path.relative_to(root).as_posix().lower())
        hidden = any(name.startswith(".") for name in relative.parts)
        if relative.suffix in LISTS and not hidden and path.is_file():
            one = FoundList(path, _find_fold(relative), _find_part(relative))
            found.setdefault((one.fold, one.part, relative.with_suffix("").as_posix()), one)
    named = [one for one in found.values() if one.part]
    if named:
        # Lists of one fold have no number.
        return [FoundList(one.path, one.fold or "1", one.part) for one in named]
    return [one for one in found.values() if one.fold]


def _rank(path: Path) -> tuple[int, str]:
    ending = path.suffix.lower()
    return LISTS.index(ending) if ending in LISTS else len(LISTS), path.as_posix()


def _find_fold(path: PurePosixPath) -> str:
    for pattern in _NUMBERS:
        if match := pattern.search(path.as_posix()):
            return str(int(match[1]))
    return ""


def _find_part(path: PurePosixPath) -> str:
    """As the file's own name says, else a folder's; empty if several parts are named."""
    for name in (path.stem, *reversed(path.parts[:-1])):
        words = re.findall("[a-z]+", name)
        parts = {PART_OF_NAME[word] for word in words if word in PART_OF_NAME}
        if parts:
            return parts.pop() if len(parts) == 1 else ""
    return ""

"""One folder per class: the name of the top folder is the emotion; nothing is known of speakers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ssl_audio.data.corpora.base import CorpusReader, Listing
from ssl_audio.data.corpora.files import MEMBER, AudioFiles, choose_ids, existing
from ssl_audio.data.manifest import Clip

SPLITS = frozenset("train training test testing val valid validation dev eval".split())
"""Folders of these names, in any case, are parts of a corpus, and no classes."""


class Folder(CorpusReader):
    """``CLASS/.../NAME.wav``; files beside the class folders are unlabelled.

    The class folders may lie inside a single folder, or inside ``train``, ``test`` and the like.
    The whole may be a zip archive.
    """

    name = "folder"

    def read(self, source: Path | None, columns: Mapping[str, str]) -> Listing:
        """See CorpusReader."""
        files, inner = _find_files(existing(source, self.name))
        tree = find_classes(tuple(inner.values()))
        ids = choose_ids(inner.values())
        clips = tuple(
            replace(tree.read_clip(name, ids[name]), path=path) for path, name in inner.items()
        )
        notes = (*files.notes, *tree.notes)
        return Listing(clips, files.decode, files.quarantined, notes, files.stamp)


def _find_files(source: Path) -> tuple[AudioFiles, dict[str, str]]:
    """The files, and the path of each from the top of the folder or of the archive."""
    if source.is_dir() or source.suffix.lower() != ".zip":
        files = AudioFiles.in_folder(source)
        return files, {path: path for path in files.paths}
    files = AudioFiles.in_archives(source.parent, [source.name])
    start = len(source.name) + len(MEMBER)
    return files, {path: path[start:].replace("\\", "/") for path in files.paths}


@dataclass(frozen=True)
class Tree:
    """At which level of a tree the class folders lie."""

    level: int
    """Folders above them."""
    has_splits: bool = False
    """The folder right above names the split."""
    notes: tuple[str, ...] = ()

    def read_clip(self, path: str, clip_id: str) -> Clip:
        """What a path says."""
        folders = PurePosixPath(path).parts[:-1]
        return Clip(
            clip_id=clip_id,
            path=path,
            emotion=folders[self.level] if len(folders) > self.level else None,
            split=folders[self.level - 1].lower()
            if self.has_splits and len(folders) >= self.level
            else None,
        )


def find_classes(paths: Sequence[str]) -> Tree:
    """Passes over a single folder that holds only folders, and over folders named as splits."""
    folders = [PurePosixPath(path).parts[:-1] for path in paths]
    level = 0
    while _only_folders(folders, level) and not _are_splits(folders, level):
        level += 1
    notes = [f"the classes are the folders in {'/'.join(folders[0][:level])}"] if level else []
    if not _are_splits(folders, level):
        return Tree(level, notes=tuple(notes))
    names = ", ".join(sorted({parts[level] for parts in folders if len(parts) > level}))
    notes = [f"{names} are parts of the corpus, the classes are the folders in them"]
    return Tree(level + 1, has_splits=True, notes=(*notes, "folds are dealt anew over all parts"))


def _only_folders(folders: Sequence[tuple[str, ...]], level: int) -> bool:
    """Whether there is a single folder at this level, and no file in it."""
    deep = all(len(parts) > level + 1 for parts in folders)
    return deep and len({parts[level] for parts in folders}) == 1


def _are_splits(folders: Sequence[tuple[str, ...]], level: int) -> bool:
    names = {parts[level].lower() for parts in folders if len(parts) > level}
    return bool(names) and names <= SPLITS

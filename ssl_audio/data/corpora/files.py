"""Audio files below a folder, inside zip archives, or named one per line in a text file."""

import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from ssl_audio.data.audio import AUDIO_ENDINGS, Int16, open_audio
from ssl_audio.data.corpora.archives import find_trouble, open_archive, unpack
from ssl_audio.data.corpora.base import Quarantined, Stamp
from ssl_audio.data.manifest import Clip
from ssl_audio.data.segments import split
from ssl_audio.errors import DataError, UserError

MEMBER = "::"
"""Parts the path of an archive from the name inside it."""
VIDEO_ENDINGS = frozenset(".mp4 .m4v .mov .mkv .avi .webm .mpg .mpeg".split())
"""What holds sound that can't be read here."""


class AudioFiles:
    """Where the audio of a corpus lies; archives stay open as long as this object lives."""

    def __init__(
        self,
        root: Path,
        paths: Iterable[str],
        notes: Iterable[str] = (),
        archives: Mapping[str, zipfile.ZipFile] | None = None,
        quarantined: Iterable[Quarantined] = (),
    ) -> None:
        """Use one of the class methods, or give the paths yourself.

        Args:
            root: folder that the paths start from.
            paths: POSIX paths of files, or ``archive.zip::member``.
            notes: what was passed over while searching.
            archives: open archives by the first part of their members' paths.
            quarantined: what can't be read, as was seen without opening it.
        """
        self.root = root
        self.paths = tuple(sorted(paths))
        self.notes = tuple(notes)
        self.quarantined = tuple(quarantined)
        self._archives = dict(archives or {})

    @classmethod
    def in_folder(cls, root: Path) -> "AudioFiles":
        """Every audio file below a folder, by ending; hidden files are passed over.

        Links are followed, but no folder is searched twice.

        Raises:
            UserError: no such folder.
        """
        if not root.is_dir():
            raise UserError(f"{root}: expected a folder, {_what_is(root)}")
        paths, unreadable = _walk(root)
        chosen, notes = _choose_audio(paths)
        usable, unusable = _part_usable(root, chosen)
        return cls(root, usable, notes, quarantined=[*unreadable, *unusable])

    @classmethod
    def in_archives(cls, root: Path, archives: Iterable[str]) -> "AudioFiles":
        """Every audio file inside zip archives, named relative to the folder they are in.

        Raises:
            UserError: none of them is a zip archive.
        """
        opened: dict[str, zipfile.ZipFile] = {}
        quarantined, mistakes = [], []
        for archive in archives:
            try:
                opened[archive] = open_archive(root / archive)
            except UserError as error:
                quarantined.append(Quarantined(archive, str(error)))
                mistakes.append(error)
        if mistakes and not opened:
            raise mistakes[0]
        troubles = {
            f"{archive}{MEMBER}{member.filename}": find_trouble(member)
            for archive, content in opened.items()
            for member in content.infolist()
            if not member.is_dir()
        }
        chosen, notes = _choose_audio(troubles)
        usable = [path for path in chosen if troubles[path] is None]
        quarantined += [Quarantined(path, why) for path in chosen if (why := troubles[path])]
        return cls(root, usable, notes, opened, quarantined)

    @classmethod
    def in_list(cls, path: Path) -> "AudioFiles":
        """The files that a text file names, one per line, relative to its own folder.

        Raises:
            UserError: the list can't be read.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"list {path} can't be read: {error}") from None
        paths = {below(path.parent, line.strip()) for line in lines if line.strip()}
        usable, unusable = _part_usable(path.parent, sorted(paths))
        return cls(path.parent, usable, quarantined=unusable)

    def decode(self, clip: Clip) -> Iterator[tuple[Clip, Int16]]:
        """Decodes one file; ``Listing.decode`` of every corpus of files.

        Raises:
            DataError: it can't be read.
        """
        with self.open(clip.path) as file:
            yield from decode_file(clip, file)

    def stamp(self, clip: Clip) -> Stamp:
        """Size and time of the last change, inside an archive size and CRC.

        ``Listing.stamp`` of every corpus of files.
        """
        archive, in_archive, member = clip.path.partition(MEMBER)
        try:
            if in_archive and archive in self._archives:
                info = self._archives[archive].getinfo(member)
                return Stamp(info.file_size, f"CRC {info.CRC:08x}")
            status = (self.root / clip.path).stat()
            return Stamp(status.st_size, f"{status.st_mtime_ns} ns")
        except OSError:
            return Stamp(0, "missing")

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """One of the files; what is in an archive is unpacked to memory, or if large to disk.

        Raises:
            DataError: it is not there, or its archive is broken.
        """
        archive, in_archive, member = path.partition(MEMBER)
        try:
            if in_archive and archive in self._archives:
                opened: IO[bytes] = unpack(self._archives[archive], member)
            else:
                opened = (self.root / path).open("rb")
        except FileNotFoundError:
            raise DataError("no such file") from None
        except OSError as error:
            raise DataError(f"can't be opened: {error.strerror or error}") from None
        with opened:
            yield cast(BinaryIO, opened)


def decode_file(clip: Clip, file: BinaryIO) -> Iterator[tuple[Clip, Int16]]:
    """A clip or its segments, with the source fields filled in, and (samples,) int16 at 16 kHz.

    Raises:
        DataError: the file can't be decoded, maybe after some segments.
    """
    clip = clip.with_measured(source_bytes=file.seek(0, os.SEEK_END))
    file.seek(0)
    with open_audio(file) as (source, blocks):
        clip = clip.with_measured(
            source_sample_rate=source.sample_rate,
            source_channels=source.channels,
            source_format=source.format,
        )
        yield from split(clip, blocks)


def below(root: Path, path: str) -> str:
    """POSIX path from ``root`` to ``path``, which may be relative to it, absolute or outside."""
    return PurePosixPath(os.path.relpath(root / path.replace("\\", "/"), root)).as_posix()


def choose_ids(paths: Iterable[str]) -> dict[str, str]:
    """``clip_id`` of each file: its path without its ending.

    Where another file would get the same one (``a.wav`` beside ``a.mp3``), both keep their ending.

    >>> choose_ids(["x/1.wav", "a.wav", "a.mp3"])
    {'x/1.wav': 'x/1', 'a.wav': 'a.wav', 'a.mp3': 'a.mp3'}
    """
    bare = {path: PurePosixPath(path).with_suffix("").as_posix() for path in paths}
    count = Counter(bare.values())
    return {
        path: name if count[name] == 1 and name not in bare else path for path, name in bare.items()
    }


def find_trouble_of(path: Path) -> str | None:
    """Why something is no file that could be opened; None if it is one."""
    try:
        if path.is_file():
            return None
        if path.exists():
            return "is a folder" if path.is_dir() else "is not an ordinary file"
        return "a link that points to nothing" if path.is_symlink() else "no such file"
    except OSError as error:
        return f"can't be opened: {error.strerror}"
    except ValueError as error:
        return f"can't be opened: {error}"


def bare_name(path: str) -> str:
    """The file's own name: no archive, no folders, no ending."""
    return PurePosixPath(path.replace(MEMBER, "/")).stem


def existing(source: Path | None, corpus: str) -> Path:
    """The source, if it was given and is there.

    Raises:
        UserError: it is not.
    """
    if source is None:
        raise UserError(f"prepare {corpus} needs a SOURCE: the file or folder to read")
    if not source.exists():
        raise UserError(f"{source}: no such file or folder")
    return source


def _part_usable(root: Path, paths: Iterable[str]) -> tuple[list[str], list[Quarantined]]:
    """The paths of files, and the others with the reason."""
    troubles = {path: find_trouble_of(root / path) for path in paths}
    usable = [path for path, why in troubles.items() if why is None]
    return usable, [Quarantined(path, why) for path, why in troubles.items() if why]


def _walk(root: Path) -> tuple[list[str], list[Quarantined]]:
    """Everything below a folder that is no folder, and the folders that can't be searched."""
    paths: list[str] = []
    unreadable: list[Quarantined] = []

    def remember(error: OSError) -> None:
        folder = below(root, str(error.filename))
        unreadable.append(Quarantined(folder, f"can't be searched: {error.strerror}"))

    seen = {root.resolve()}
    for folder, folders, names in os.walk(root, onerror=remember, followlinks=True):
        here = Path(folder)
        paths += [(here / name).relative_to(root).as_posix() for name in names]
        new = {(here / name).resolve(): name for name in sorted(folders, reverse=True)}
        folders[:] = sorted(name for place, name in new.items() if place not in seen)
        seen |= new.keys()
    return paths, unreadable


def _choose_audio(paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """Audio files, and notes on the others. macOS leaves ``._NAME.wav`` that are no audio."""
    chosen, other, videos = [], Counter[str](), Counter[str]()
    for path in sorted(paths):
        pure = PurePosixPath(path.replace(MEMBER, "/").replace("\\", "/"))
        # Of a path that leads out of its archive the two dots are no hidden folder.
        parts = [part for part in pure.parts if part != ".."]
        if any(part.startswith(".") or part == "__MACOSX" for part in parts):
            continue
        ending = pure.suffix.lower()
        if ending in AUDIO_ENDINGS:
            chosen.append(path)
        else:
            (videos if ending in VIDEO_ENDINGS else other)[ending or "no ending"] += 1
    notes = []
    if other:
        notes.append(f"passed over files that are not audio: {_tell(other)}")
    if videos:
        notes.append(
            f"passed over videos: {_tell(videos)}; to read their sound, extract it first, e.g. "
            f"ffmpeg -i NAME{min(videos)} -vn NAME.wav"
        )
    return chosen, notes


def _tell(endings: "Counter[str]") -> str:
    return ", ".join(f"{count} {ending}" for ending, count in endings.most_common(5))


def _what_is(path: Path) -> str:
    return "got a file" if path.is_file() else "there is none"

"""Audio files below a folder, inside zip archives, or named one per line in a text file."""

import io
import os
import shutil
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from ssl_audio.data.audio import AUDIO_ENDINGS, Int16, open_audio
from ssl_audio.data.manifest import Clip
from ssl_audio.data.segments import split
from ssl_audio.errors import DataError, UserError

MEMBER = "::"
"""Parts the path of an archive from the name inside it."""
MOST_UNPACKED = 2**24
"""Bytes of one file of an archive that are held in memory."""


class AudioFiles:
    """Where the audio of a corpus lies; archives stay open as long as this object lives."""

    def __init__(
        self,
        root: Path,
        paths: Iterable[str],
        notes: Iterable[str] = (),
        archives: Mapping[str, zipfile.ZipFile] | None = None,
    ) -> None:
        """Use one of the class methods, or give the paths yourself.

        Args:
            root: folder that the paths start from.
            paths: POSIX paths of files, or ``archive.zip::member``.
            notes: what was passed over while searching.
            archives: open archives by the first part of their members' paths.
        """
        self.root = root
        self.paths = tuple(sorted(paths))
        self.notes = tuple(notes)
        self._archives = dict(archives or {})

    @classmethod
    def in_folder(cls, root: Path) -> "AudioFiles":
        """Every audio file below a folder, by ending; hidden files are passed over.

        Raises:
            UserError: no such folder.
        """
        if not root.is_dir():
            raise UserError(f"{root}: expected a folder, {_what_is(root)}")
        paths = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
        return cls(root, *_choose_audio(paths))

    @classmethod
    def in_archives(cls, root: Path, archives: Iterable[str]) -> "AudioFiles":
        """Every audio file inside zip archives, named relative to the folder they are in.

        Raises:
            UserError: not a zip archive.
        """
        opened = {archive: _open_archive(root / archive) for archive in archives}
        paths = [
            f"{archive}{MEMBER}{name}"
            for archive, content in opened.items()
            for name in content.namelist()
            if not name.endswith("/")
        ]
        return cls(root, *_choose_audio(paths), opened)

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
        return cls(
            path.parent, {below(path.parent, line.strip()) for line in lines if line.strip()}
        )

    def decode(self, clip: Clip) -> Iterator[tuple[Clip, Int16]]:
        """Decodes one file; ``Listing.decode`` of every corpus of files.

        Raises:
            DataError: it can't be read.
        """
        with self.open(clip.path) as file:
            clip = clip.with_measured(source_bytes=file.seek(0, os.SEEK_END))
            file.seek(0)
            with open_audio(file) as (source, blocks):
                clip = clip.with_measured(
                    source_sample_rate=source.sample_rate,
                    source_channels=source.channels,
                    source_format=source.format,
                )
                yield from split(clip, blocks)

    def stamp(self, clip: Clip) -> str:
        """What changes with a file's content; ``Listing.stamp`` of every corpus of files.

        Size and time of the last change, inside an archive size and CRC; ``missing`` if it is not
        there.
        """
        archive, in_archive, member = clip.path.partition(MEMBER)
        try:
            if in_archive and archive in self._archives:
                info = self._archives[archive].getinfo(member)
                return f"{info.file_size} bytes, CRC {info.CRC:08x}"
            status = (self.root / clip.path).stat()
            return f"{status.st_size} bytes, {status.st_mtime_ns} ns"
        except (OSError, KeyError):
            return "missing"

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """One of the files; what is in an archive is unpacked to memory, or if large to disk.

        Raises:
            DataError: it is not there, or its archive is broken.
        """
        archive, in_archive, member = path.partition(MEMBER)
        try:
            if in_archive and archive in self._archives:
                opened: IO[bytes] = _unpack(self._archives[archive], member)
            else:
                opened = (self.root / path).open("rb")
        except FileNotFoundError:
            raise DataError("no such file") from None
        except OSError as error:
            raise DataError(f"can't be opened: {error.strerror or error}") from None
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise DataError(f"can't be unpacked: {error}") from None
        with opened:
            yield cast(BinaryIO, opened)


def below(root: Path, path: str) -> str:
    """POSIX path from ``root`` to ``path``, which may be relative to it, absolute or outside."""
    return PurePosixPath(os.path.relpath(root / path.replace("\\", "/"), root)).as_posix()


def without_ending(path: str) -> str:
    """The path without what follows the last dot of its name."""
    return PurePosixPath(path).with_suffix("").as_posix()


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


def _unpack(archive: zipfile.ZipFile, member: str) -> IO[bytes]:
    size = archive.getinfo(member).file_size
    unpacked: IO[bytes] = io.BytesIO() if size <= MOST_UNPACKED else tempfile.TemporaryFile()
    with archive.open(member) as packed:
        shutil.copyfileobj(packed, unpacked)
    unpacked.seek(0)
    return unpacked


def _open_archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path}: expected a zip archive, got {error}: download it again") from None


def _choose_audio(paths: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Audio files, and a note on the others. macOS leaves ``._NAME.wav`` that are no audio."""
    chosen, other = [], Counter[str]()
    for path in sorted(paths):
        pure = PurePosixPath(path.replace(MEMBER, "/"))
        if any(part.startswith(".") or part == "__MACOSX" for part in pure.parts):
            continue
        if pure.suffix.lower() in AUDIO_ENDINGS:
            chosen.append(path)
        else:
            other[pure.suffix.lower() or "no ending"] += 1
    if not other:
        return tuple(chosen), ()
    endings = ", ".join(f"{count} {ending}" for ending, count in other.most_common(5))
    return tuple(chosen), (f"passed over files that are not audio: {endings}",)


def _what_is(path: Path) -> str:
    return "got a file" if path.is_file() else "there is none"

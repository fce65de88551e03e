"""Files as libsndfile reads them: once, from start to end, and none that is cut short."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import soundfile as sf

from ssl_audio.errors import DataError

_SIZES = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE
)
"""libsndfile's log where a header promises another number of bytes than the file holds."""
_SLOPPY_BYTES = 64
"""Some writers count the header in."""
_STREAMED_BYTES = 2**31 - 2**20
"""Writers that can't seek back leave a size like this one in the header."""


class ForwardFile(sf.SoundFile):
    """Read from start to end.

    soundfile would seek to where it is after every read, which makes libmpg123 forget the bits that
    an mp3 frame borrows from those before it: the audio would be damaged at every seam.
    """

    length_is_guessed = False
    """``frames`` is no promise of the file's."""

    def seekable(self) -> bool:
        """No."""
        return False


class _InMemory:
    """A file that is none of the system's, and that refuses bad places as the system does.

    Damaged files make libsndfile seek to before their start. An exception could not pass through
    it: a traceback would be printed instead.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._refused = False
        self.read = file.read

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> None:
        """Stays where it is if there is no such place; ``tell`` says so, once."""
        try:
            self._file.seek(offset, whence)
        except (ValueError, OverflowError):
            self._refused = True

    def tell(self) -> int:
        """The place, or -1 after a refusal."""
        refused, self._refused = self._refused, False
        return -1 if refused else self._file.tell()


@contextmanager
def by_descriptor(file: BinaryIO) -> Iterator["_InMemory | int"]:
    """The file's number, if it is one of the system's, at its start, and afterwards where it was.

    The file's own seek may move within its buffer alone, and its close relies on the place.
    """
    try:
        descriptor = file.fileno()
    except io.UnsupportedOperation:
        yield _InMemory(file)
        return
    place = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        yield descriptor
    finally:
        os.lseek(descriptor, place, os.SEEK_SET)


@contextmanager
def errors_translated() -> Iterator[None]:
    """Libsndfile's errors as DataError."""
    try:
        yield
    except sf.LibsndfileError as error:
        raise DataError(f"can't be decoded as audio: {error.error_string}") from None


def refuse_cut_short(file: sf.SoundFile) -> None:
    """Compares what the header promises with what libsndfile has found.

    Raises:
        DataError: bytes are missing.
    """
    for promised, found in _SIZES.findall(file.extra_info):
        if int(found) + _SLOPPY_BYTES < int(promised) < _STREAMED_BYTES:
            raise DataError(f"cut short: its header promises {promised} bytes, it holds {found}")


def refuse_missing(file: ForwardFile, num_read: int) -> None:
    """Once all is read.

    Raises:
        DataError: samples are missing.
    """
    if num_read < file.frames and not file.length_is_guessed:
        rate = file.samplerate
        raise DataError(
            f"cut short: its header promises {file.frames / rate:.2f} s, "
            f"{num_read / rate:.2f} s could be decoded"
        )

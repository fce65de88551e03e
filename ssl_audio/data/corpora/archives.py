"""Zip archives: which members may be unpacked, and unpacking one to memory or to a file aside.

Nothing is ever written under a member's own name.
"""

import io
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from ssl_audio.errors import DataError, UserError

MOST_BYTES = 2**32
"""Of one member when unpacked: 12 h of 48 kHz stereo."""
MOST_RATIO = 1000
"""Of unpacked to packed bytes, for members over ``RATIO_FROM_BYTES``: about what zeros give."""
RATIO_FROM_BYTES = 2**26
MOST_IN_MEMORY = 2**24
"""Bytes of one unpacked member; larger ones are unpacked to a temporary file."""

_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Others can't be unpacked in small pieces, so a lie about the size would fill the memory."""


def open_archive(path: Path) -> zipfile.ZipFile:
    """A zip archive, open for reading.

    Raises:
        UserError: it is none.
    """
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"{path}: expected a zip archive, got {error}: download it again") from None


def find_trouble(member: zipfile.ZipInfo) -> str | None:
    """Why a member should not be unpacked; None if it may be."""
    name = PurePosixPath(member.filename.replace("\\", "/"))
    size, packed = member.file_size, member.compress_size
    if name.is_absolute() or ".." in name.parts or ":" in "".join(name.parts[:1]):
        return "its name leads out of the archive: not unpacked"
    if member.flag_bits & _ENCRYPTED:
        return "encrypted: unpack the archive yourself and name the folder"
    if member.compress_type not in _METHODS:
        return f"packed by method {member.compress_type}: expected a zip that is deflated or stored"
    if size > MOST_BYTES:
        return f"would unpack to {size} bytes, at most {MOST_BYTES} are allowed: not unpacked"
    if size > RATIO_FROM_BYTES and size > MOST_RATIO * packed:
        return f"{packed} bytes would unpack to {size}: not unpacked"
    return None


def unpack(archive: zipfile.ZipFile, member: str) -> IO[bytes]:
    """A member's content, open for reading, never more than its entry says.

    Raises:
        DataError: it is damaged, or can't be read.
    """
    size = archive.getinfo(member).file_size
    unpacked: IO[bytes] = io.BytesIO() if size <= MOST_IN_MEMORY else tempfile.TemporaryFile()
    try:
        with archive.open(member) as packed:
            shutil.copyfileobj(packed, unpacked)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        unpacked.close()
        raise DataError(f"can't be unpacked: {error}") from None
    unpacked.seek(0)
    return unpacked

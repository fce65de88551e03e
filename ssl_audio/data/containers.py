"""Faults of Ogg and mp3 files that libsndfile does not see: both would come out shorter.

Sources: RFC 3533, section 6 (Ogg pages); ISO 11172-3 and 13818-3 (frames of MPEG audio layer III).
"""

import io
import re
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from ssl_audio.errors import DataError

_OGG_HEADER_BYTES = 27
_LAST_PAGE = 0x4
_LAYER_3 = 0b01
_KBIT_PER_S = {
    True: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Of layer III by its number from 1 on; True is MPEG 1, False are MPEG 2 and 2.5."""
_RATES_HZ = {
    0b11: (44_100, 48_000, 32_000),
    0b10: (22_050, 24_000, 16_000),
    0b00: (11_025, 12_000, 8_000),
}
"""By the number of the version."""
_LENGTH_TABLE = re.compile(
    rb"(?:Xing|Info)\0{3}(?:[\x02\x06\x0a\x0e]|[\x03\x07\x0b\x0f].{4})(?P<num_bytes>.{4})"
    rb"|Xing|Info|VBRI",
    re.DOTALL,
)
"""Flags say what a table holds: 1 the number of frames, then 2 that of bytes."""
_TABLE_WITHIN_BYTES = 64
_REMEDY = "if it plays whole, write it anew: ffmpeg -i OLD -c copy NEW"


def refuse_faults(file: BinaryIO) -> None:
    """Looks at the headers of a file's pages or frames; other formats are left to libsndfile.

    Args:
        file: open for reading; it is left at its start.

    Raises:
        DataError: the end is missing, or can't be found.
    """
    file.seek(0)
    if file.read(4) == b"OggS":
        _refuse_unended_ogg(file)
    else:
        _refuse_mp3_of_unknown_length(file)
    file.seek(0)


def has_guessed_length(file: BinaryIO) -> bool:
    """Whether it is an mp3 without a table of its length.

    libsndfile divides its bytes by the length of the first frame, and where some frames have a byte
    more (at 44.1 kHz most do) that promises up to a few percent more than there is.

    Args:
        file: open for reading; it is left at its start.
    """
    place = _skip_id3(file)
    file.seek(place)
    start = file.read(_TABLE_WITHIN_BYTES)
    file.seek(0)
    return _parse_frame(start[:4]) is not None and _LENGTH_TABLE.search(start) is None


def _refuse_unended_ogg(file: BinaryIO) -> None:
    """Every logical stream ends with a page that says so; a cut takes that page away."""
    num_bytes = file.seek(0, io.SEEK_END)
    place = 0
    open_streams: set[bytes] = set()
    while place < num_bytes:
        file.seek(place)
        header = file.read(_OGG_HEADER_BYTES)
        if len(header) < _OGG_HEADER_BYTES or not header.startswith(b"OggS"):
            break
        flags, stream = header[5], header[14:18]
        open_streams.add(stream)
        if flags & _LAST_PAGE:
            open_streams.discard(stream)
        lengths = file.read(header[26])
        place += _OGG_HEADER_BYTES + len(lengths) + sum(lengths)
    if place > num_bytes or open_streams:
        raise DataError(f"cut short: its last Ogg page is not there; {_REMEDY}")


def _refuse_mp3_of_unknown_length(file: BinaryIO) -> None:
    """Without a table of its length, an mp3 is as long as its first frame's bit rate says.

    That is true of constant bit rates only, and a table is that of the first of several files that
    were joined end to end. Of the others libsndfile would read a part.
    """
    place = _skip_id3(file)
    file.seek(place)
    match = _LENGTH_TABLE.search(file.read(_TABLE_WITHIN_BYTES))
    if match:
        num_bytes = int.from_bytes(match["num_bytes"] or b"")
        if num_bytes and len(list(islice(_frames(file, place + num_bytes), 3))) == 3:
            raise DataError(
                f"an mp3 that goes on after the {num_bytes} bytes it tells of; {_REMEDY}"
            )
    else:
        _refuse_varying_or_cut(file, place)


def _refuse_varying_or_cut(file: BinaryIO, place: int) -> None:
    """Of an mp3 without a table, whose first frame starts at a place."""
    first_kbit_per_s, num_frames = None, 0
    for kbit_per_s, num_bytes in _frames(file, place):
        first_kbit_per_s = first_kbit_per_s or kbit_per_s
        if kbit_per_s != first_kbit_per_s:
            raise DataError(f"an mp3 of varying bit rate that does not say its length; {_REMEDY}")
        place += num_bytes
        num_frames += 1
    if num_frames > 1 and place > file.seek(0, io.SEEK_END):
        raise DataError("cut short: it ends within an mp3 frame")


def _frames(file: BinaryIO, place: int) -> Iterator[tuple[int, int]]:
    """Bit rate in kbit/s and length in bytes of the frames that follow each other from a place."""
    while True:
        file.seek(place)
        frame = _parse_frame(file.read(4))
        if frame is None:
            return
        yield frame
        place += frame[1]


def _skip_id3(file: BinaryIO) -> int:
    """Where the first frame starts: after the tag, whose length is in seven bits a byte."""
    file.seek(0)
    tag = file.read(10)
    if len(tag) < 10 or not tag.startswith(b"ID3"):
        return 0
    return 10 + sum(byte << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))


def _parse_frame(header: bytes) -> tuple[int, int] | None:
    """Bit rate in kbit/s and length in bytes of an mp3 frame; None if it is no such header."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bit_rate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if layer != _LAYER_3 or version not in _RATES_HZ or bit_rate in (0, 15) or rate == 3:
        return None
    is_mpeg_1 = version == 0b11
    kbit_per_s = _KBIT_PER_S[is_mpeg_1][bit_rate - 1]
    # 1152 or 576 samples a frame, 8 bits a byte.
    factor = 144_000 if is_mpeg_1 else 72_000
    return kbit_per_s, factor * kbit_per_s // _RATES_HZ[version][rate] + padding

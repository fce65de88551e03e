"""The work of preparing in portions: each gives one shard, by itself and always the same.

What is in a portion depends on the listing alone, so equal sources give equal shards for any number
of threads and after any interruption.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from ssl_audio.data.audio import measure
from ssl_audio.data.corpora import Listing, Quarantined
from ssl_audio.data.manifest import Clip
from ssl_audio.data.segments import parent_in_name
from ssl_audio.data.shards import ShardWriter
from ssl_audio.errors import DataError

MOST_RECORDINGS = 128
MOST_BYTES = 2**26
"""Of a portion's files, unless it is a single one."""
_WAY = ("2", sf.__version__, sf.__libsndfile_version__, soxr.__version__, np.__version__)
"""How audio is decoded; a shard that was made another way is not taken over. The first number is to
be raised with every change to decoding, cutting or measuring."""


@dataclass(frozen=True)
class Portion:
    """Consecutive recordings of a listing."""

    clips: tuple[Clip, ...]
    num_bytes: int
    """Of their files."""
    key: str
    """Equal if the shard would be: sha256 over the clips, their files' stamps and the way."""


@dataclass(frozen=True)
class Outcome:
    """What a portion gave, beside its shard."""

    clips: tuple[Clip, ...]
    """Measured, in the shard's order; none: there is no shard."""
    quarantined: tuple[Quarantined, ...]


def divide(listing: Listing) -> tuple[list[Portion], list[Quarantined]]:
    """Portions by clip_id and path; and what is set aside for its name.

    Recordings that claim one clip_id are never parted, as one of them is to be set aside.
    """
    ids = {clip.clip_id for clip in listing.clips}
    line: list[Clip] = []
    quarantined = []
    for clip in sorted(listing.clips, key=lambda clip: (clip.clip_id, clip.path)):
        if trouble := _find_trouble(clip, ids):
            quarantined.append(Quarantined(clip.path, trouble))
        else:
            line.append(clip)
    return list(_divide(line, listing)), quarantined


def _find_trouble(clip: Clip, ids: set[str]) -> str | None:
    try:
        clip.path.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8: rename it"
    if (parent := parent_in_name(clip.clip_id)) in ids:
        return f"its name is that of a segment of {parent}: rename it"
    return None


def _divide(line: Sequence[Clip], listing: Listing) -> Iterator[Portion]:
    clips: list[Clip] = []
    stamps: list[tuple[int, str]] = []
    room = 0
    for clip in line:
        stamp = listing.stamp(clip) if listing.stamp else None
        num_bytes, change = (stamp.num_bytes, stamp.change) if stamp else (0, "")
        full = len(clips) >= MOST_RECORDINGS or num_bytes > room
        if clips and full and clip.clip_id != clips[-1].clip_id:
            yield _build_portion(clips, stamps)
            clips, stamps, room = [], [], MOST_BYTES
        room = (room if clips else MOST_BYTES) - num_bytes
        clips.append(clip)
        stamps.append((num_bytes, change))
    if clips:
        yield _build_portion(clips, stamps)


def _build_portion(clips: Sequence[Clip], stamps: Sequence[tuple[int, str]]) -> Portion:
    facts = [_WAY, [asdict(clip) for clip in clips], stamps]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return Portion(tuple(clips), sum(num_bytes for num_bytes, _ in stamps), key)


def decode_portion(
    portion: Portion, listing: Listing, shard: Path, advance: Callable[[int, int], None]
) -> Outcome:
    """Decodes the recordings one after another into a shard; holds about a minute of audio.

    Args:
        portion: what to decode.
        listing: that it is from.
        shard: file to write; removed again if no recording can be used.
        advance: is told how many recordings and samples are done; what it raises ends the work.
    """
    clips: list[Clip] = []
    last: list[Clip] = []
    quarantined = []
    with ShardWriter(shard) as writer:
        for recording in portion.clips:
            advance(1, 0)
            place = writer.place()
            decoded: list[Clip] = []
            try:
                for clip, samples in listing.decode(recording):
                    clip = clip.with_measured(**measure(samples))
                    writer.add(clip.clip_id, samples)
                    decoded.append(clip)
                    advance(0, len(samples))
                if last and recording.clip_id == _name_of(last[0]):
                    raise DataError(_compare_namesakes(last, decoded))
            except DataError as error:
                writer.go_back(place)
                quarantined.append(Quarantined(recording.path, str(error)))
                continue
            last = decoded
            clips += decoded
    if not clips:
        shard.unlink()
    return Outcome(tuple(clips), tuple(quarantined))


def _compare_namesakes(kept: Sequence[Clip], second: Sequence[Clip]) -> str:
    same = [clip.audio_sha256 for clip in kept] == [clip.audio_sha256 for clip in second]
    kept_emotion, emotion = kept[0].emotion, second[0].emotion
    labels = f", labelled {emotion} here, labelled {kept_emotion} there"
    return (
        f"second file of clip {_name_of(kept[0])}: {kept[0].path} is kept "
        f"({'same audio' if same else 'OTHER AUDIO'}{labels if emotion != kept_emotion else ''})"
    )


def _name_of(clip: Clip) -> str:
    """Of the file that a clip is from, as its corpus calls it."""
    return parent_in_name(clip.clip_id) or clip.clip_id

"""Files decoded ahead of the model that listens to them, in an order and amount that are bounded.

libsndfile and the resampler work without the interpreter's lock, so threads are enough.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from finetune.inputs import AudioInput
from ssl_audio.cores import count_cores
from ssl_audio.data.audio import Int16, open_audio
from ssl_audio.data.manifest import SAMPLE_RATE
from ssl_audio.errors import DataError

AHEAD_FILES = 256
AHEAD_BYTES = 2**24
"""Of encoded files that wait for the model; a larger file is decoded when its turn has come."""
PORTION_SECONDS = 600
PORTION_FILES = 256


@dataclass(frozen=True)
class Decoded:
    """A file and its audio, or why there is none.

    Attributes:
        file: as it was given.
        samples: (samples,) int16 mono at 16 kHz; None if it can't be read.
        error: the reason; empty if it can.
    """

    file: AudioInput
    samples: Int16 | None
    error: str = ""


def decode_file(file: AudioInput) -> Decoded:
    """Reads one file; what is wrong with it is part of the answer."""
    if file.trouble:
        return Decoded(file, None, file.trouble)
    try:
        with file.path.open("rb") as opened, open_audio(opened) as (_, blocks):
            parts = list(blocks)
            return Decoded(file, parts[0] if len(parts) == 1 else np.concatenate(parts))
    except DataError as error:
        return Decoded(file, None, str(error))
    except OSError as error:
        return Decoded(file, None, f"can't be opened: {error.strerror or error}")


def decode_ahead(files: Iterable[AudioInput]) -> Iterator[Decoded]:
    """The files in their order; while one is worked on, others are decoded in the background."""
    line = deque(files)
    waiting: deque[tuple[int, Future[Decoded]]] = deque()
    num_bytes = 0
    with ThreadPoolExecutor(count_cores(), "decode") as pool:
        try:
            while line or waiting:
                while line and len(waiting) < AHEAD_FILES:
                    size = line[0].num_bytes
                    if waiting and num_bytes + size > AHEAD_BYTES:
                        break
                    waiting.append((size, pool.submit(decode_file, line.popleft())))
                    num_bytes += size
                size, future = waiting.popleft()
                num_bytes -= size
                yield future.result()
                del future  # A long recording is not held while the next one is decoded.
        finally:
            pool.shutdown(cancel_futures=True)


def divide(decoded: Iterable[Decoded]) -> Iterator[list[Decoded]]:
    """Consecutive files that are worked on together: ten minutes of audio, or one longer file."""
    portion: list[Decoded] = []
    room = PORTION_SECONDS * SAMPLE_RATE
    for item in decoded:
        length = 0 if item.samples is None else len(item.samples)
        if portion and (length > room or len(portion) == PORTION_FILES):
            yield portion
            portion, room = [], PORTION_SECONDS * SAMPLE_RATE
        portion.append(item)
        room -= length
        del item
    if portion:
        yield portion

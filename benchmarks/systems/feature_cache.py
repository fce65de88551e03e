"""Features of clips, extracted once for each content, also for later processes.

Below the cache's folder lies one folder for each extractor and its options. A block of clips is one
``.npy`` file there, without pickles: written aside, flushed and renamed, so that one that is there
is whole, and read through a memory map, so that features held are features on disk.
"""

import ast
import functools
import hashlib
import inspect
import json
import os
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_audio.errors import DataError
from ssl_audio.progress import with_progress

Int16 = npt.NDArray[np.int16]
Array = npt.NDArray[Any]

FLUSH_BYTES = 2**24
FLUSH_SECONDS = 30.0
"""What a process that is killed loses at most."""


@dataclass
class Meter:
    """What features that were there already had cost when they were made."""

    spared_seconds: float = 0.0
    counted: set[tuple[str, str]] = field(default_factory=set)
    """Recipe and clip; what is asked for twice would have been made once."""


class FeatureCache:
    """Features of clips by their content, below a folder or, without one, in memory only."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._tables: dict[str, _Table] = {}
        self._digests: dict[int, tuple[weakref.ref[Int16], str]] = {}
        self._meter = Meter()

    def extract(
        self,
        waveforms: Sequence[Int16],
        extractor: Callable[..., Array],
        **options: int | float | str,
    ) -> Array:
        """Features of every clip; those seen before, under whatever name, are not made again.

        Features are those of another extractor if its file, a package that the file imports or an
        option differs; what else decides them, such as weights, has to be an option.

        Args:
            waveforms: per clip, (samples,) int16 at 16 kHz.
            extractor: a module's function of one waveform and the options, with an answer of one
                shape and type for every clip.
            options: its settings, part of what the features are stored under.

        Returns:
            (clips, ...) what the extractor gives, one row for each clip.
        """
        table = self._open_table(extractor, options)
        keys = [self._hash(waveform) for waveform in waveforms]
        self._count_spared(table, keys)
        new = {
            key: waveform
            for key, waveform in zip(keys, waveforms, strict=True)
            if key not in table.places
        }
        if new and not table.warm:
            # The first call loads libraries and compiles, which is not the price of a clip.
            extractor(next(iter(new.values())), **options)
            table.warm = True
        name = extractor.__name__.replace("_", " ")
        try:
            for key, waveform in with_progress(new.items(), len(new), name, "clip"):
                start = time.perf_counter()
                features = extractor(waveform, **options)
                table.add(key, time.perf_counter() - start, features)
        finally:
            table.flush()
        return np.stack([table.row(key)["features"] for key in keys])

    @contextmanager
    def metered(self) -> Iterator[Meter]:
        """Counts from here on what features already there had cost: wall time lacks that."""
        self._meter = meter = Meter()
        yield meter

    def _open_table(self, extractor: Callable[..., Array], options: dict[str, Any]) -> "_Table":
        file = Path(inspect.getfile(extractor))
        recipe = {
            "extractor": f"{extractor.__module__}.{extractor.__qualname__}",
            "options": options,
            **_read_origin(file),
        }
        text = json.dumps(recipe, indent=1, sort_keys=True)
        if text not in self._tables:
            name = f"{extractor.__name__}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
            folder = self._folder / name if self._folder else None
            self._tables[text] = _Table(text, folder)
        return self._tables[text]

    def _hash(self, waveform: Int16) -> str:
        """sha256 of the samples; audio that can't be written to, as in a corpus, is hashed once."""
        known = self._digests.get(id(waveform))
        if known and known[0]() is waveform:
            return known[1]
        digest = hashlib.sha256(np.ascontiguousarray(waveform).data).hexdigest()
        if not waveform.flags.writeable:
            self._digests[id(waveform)] = (weakref.ref(waveform), digest)
        return digest

    def _count_spared(self, table: "_Table", keys: Sequence[str]) -> None:
        for key in keys:
            if (table.recipe, key) not in self._meter.counted:
                self._meter.counted.add((table.recipe, key))
                if key in table.places:
                    self._meter.spared_seconds += float(table.row(key)["seconds"])


class _Table:
    """What one extractor with one set of options gave: per clip its hash, seconds and features."""

    def __init__(self, recipe: str, folder: Path | None) -> None:
        self.recipe = recipe
        self.places: dict[str, tuple[int, int]] = {}
        """Block and row by hash."""
        self.warm = False
        self._folder = folder
        self._blocks: list[Array] = []
        self._waiting: list[tuple[str, float, Array]] = []
        self._flushed = time.monotonic()
        if folder and folder.is_dir():
            for path in sorted(folder.glob("*.npy")):
                self._append(_open_block(path))

    def add(self, key: str, seconds: float, features: Array) -> None:
        """Takes one clip's features; every now and then what has come is written."""
        if not self._waiting:
            self._flushed = time.monotonic()
        self._waiting.append((key, seconds, features))
        waiting_bytes = len(self._waiting) * features.nbytes
        if waiting_bytes >= FLUSH_BYTES or time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Makes a block of what has come since the last one."""
        if not self._waiting:
            return
        keys, seconds, rows = zip(*self._waiting, strict=True)
        features = np.stack(rows)
        block = np.empty(
            len(keys),
            [
                ("sha256", "S64"),
                ("seconds", np.float64),
                ("features", features.dtype, features.shape[1:]),
            ],
        )
        block["sha256"], block["seconds"], block["features"] = keys, seconds, features
        self._waiting.clear()
        self._append(self._store(block) if self._folder else block)

    def row(self, key: str) -> Any:
        """Fields ``seconds`` and ``features`` of one clip."""
        number, place = self.places[key]
        return self._blocks[number][place]

    def _append(self, block: Array) -> None:
        for place, key in enumerate(block["sha256"]):
            self.places[key.decode()] = (len(self._blocks), place)
        self._blocks.append(block)

    def _store(self, block: Array) -> Array:
        """The block, read back from its file."""
        assert self._folder is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "recipe.json").write_text(self.recipe + "\n", encoding="utf-8")
        name = hashlib.sha256(block["sha256"].tobytes()).hexdigest()[:16]
        path = self._folder / f"{name}.npy"
        aside = self._folder / f".{name}.{os.getpid()}.partial"
        with aside.open("wb") as file:
            np.save(file, block, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        return _open_block(path)


def _open_block(path: Path) -> Array:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise DataError(f"{path} is not whole: {error}; delete it, and it is made again") from None


@functools.cache
def _read_origin(file: Path) -> dict[str, Any]:
    """What decides features besides options: the extractor's file, and what that file imports."""
    source = file.read_text(encoding="utf-8")
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.partition(".")[0])
    owners = metadata.packages_distributions()
    versions = {
        name: metadata.version(owners[name][0]) for name in sorted(imported) if name in owners
    }
    return {"source": hashlib.sha256(source.encode()).hexdigest(), "packages": versions}

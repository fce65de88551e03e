"""A prepared corpus: Arrow shards of int16 mono audio at 16 kHz, memory-mapped, and its manifest.

A folder holds ``data-*.arrow`` (Arrow IPC streams that ``datasets.load_from_disk`` reads too),
``manifest.parquet``, ``corpus.json``, ``quarantine.csv``, ``corpus.html`` and ``folds/*.csv``.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_audio.data.folds import Folds
from ssl_audio.data.manifest import Clip, read_manifest, write_manifest
from ssl_audio.data.shards import Int16, ShardWriter, open_shard
from ssl_audio.errors import DataError


@dataclass(frozen=True)
class PreparedCorpus:
    """Clips in manifest order with their audio; the audio stays on disk until it is touched."""

    root: Path
    name: str
    """The corpus reader that made it, e.g. ``ravdess``."""
    clips: tuple[Clip, ...]
    num_samples: npt.NDArray[np.int64]
    """(num_clips,) length of each clip at 16 kHz."""
    fingerprint: str
    """sha256 over ids, labels, speakers and audio: equal data, equal fingerprint."""
    views: tuple[Int16, ...]
    """Per clip, (samples,) int16, zero-copy into the memory map."""

    @classmethod
    def load(cls, root: Path) -> "PreparedCorpus":
        """Opens a prepared folder without reading its audio.

        Raises:
            DataError: not a prepared folder, or its files disagree.
        """
        try:
            about = json.loads((root / "corpus.json").read_text(encoding="utf-8"))
        except OSError:
            raise DataError(
                f"{root} is not a prepared corpus (it has no corpus.json): "
                "make one with python -m ssl_audio prepare"
            ) from None
        clips = tuple(read_manifest(root / "manifest.parquet"))
        rows = [row for shard in about["shards"] for row in open_shard(root / shard)]
        views = tuple(view for _, view in rows)
        lengths = np.array([len(view) for view in views], dtype=np.int64)
        if [(clip.clip_id, clip.num_samples) for clip in clips] != [
            (clip_id, len(view)) for clip_id, view in rows
        ]:
            raise DataError(f"{root}: shards and manifest disagree; prepare the corpus again")
        return cls(root, about["corpus"], clips, lengths, fingerprint(clips), views)

    def __len__(self) -> int:
        return len(self.clips)

    def indices(self, clip_ids: Iterable[str]) -> npt.NDArray[np.int64]:
        """Positions of clips in manifest order of this corpus.

        Raises:
            DataError: a clip id that the corpus does not hold.
        """
        ids = list(clip_ids)
        position = {clip.clip_id: index for index, clip in enumerate(self.clips)}
        missing = [clip_id for clip_id in ids if clip_id not in position]
        if missing:
            raise DataError(
                f"{self.root} lacks {len(missing)} of {len(ids)} clips, first {missing[0]}: "
                "the folds belong to another corpus, or the clip was set aside"
            )
        return np.array([position[clip_id] for clip_id in ids], dtype=np.int64)

    def take(self, places: Sequence[int]) -> "PreparedCorpus":
        """Only the clips at these places, in this order."""
        clips = tuple(self.clips[place] for place in places)
        return replace(
            self,
            clips=clips,
            num_samples=self.num_samples[list(places)],
            fingerprint=fingerprint(clips),
            views=tuple(self.views[place] for place in places),
        )

    def joined_with(self, other: "PreparedCorpus") -> "PreparedCorpus":
        """These clips and then the other's, of which every clip_id gets its corpus's folder."""
        theirs = (replace(c, clip_id=f"{other.root.name}/{c.clip_id}") for c in other.clips)
        clips = (*self.clips, *theirs)
        lengths = np.concatenate([self.num_samples, other.num_samples])
        views = (*self.views, *other.views)
        return replace(
            self, clips=clips, num_samples=lengths, fingerprint=fingerprint(clips), views=views
        )

    def fingerprint_of(self, folds: Folds) -> str:
        """sha256 over the clips of any fold, whatever else the corpus holds."""
        return fingerprint([self.clips[index] for index in self.indices(folds.clip_ids)])

    def folds(self, name_or_file: str) -> Folds:
        """A protocol of this corpus by its full name, or any folds file.

        Raises:
            DataError: neither, with the names that there are.
        """
        own = folds_path(self.root, name_or_file)
        if own.is_file():
            return Folds.load(own)
        if Path(name_or_file).is_file():
            return Folds.load(Path(name_or_file))
        names = sorted(Folds.load(path).protocol for path in (self.root / "folds").glob("*.csv"))
        raise DataError(
            f"{name_or_file} is neither a folds file nor a protocol of {self.root} "
            f"(it has: {', '.join(names) or 'none'})"
        )


def folds_path(root: Path, protocol: str) -> Path:
    """Where a prepared corpus keeps a protocol's folds: ``folds/corpus__name.csv``."""
    return root / "folds" / f"{protocol.replace('/', '__')}.csv"


def fingerprint(clips: Sequence[Clip]) -> str:
    """sha256 over ids, labels, speakers and audio in manifest order."""
    digest = hashlib.sha256()
    for clip in clips:
        facts = (clip.clip_id, clip.audio_sha256, clip.emotion, clip.speaker)
        digest.update(f"{json.dumps(facts)}\n".encode())
    return digest.hexdigest()


def write_corpus(
    root: Path, name: str, clips_with_audio: Iterable[tuple[Clip, Int16]], shard_bytes: int = 2**28
) -> tuple[Clip, ...]:
    """Writes a prepared corpus as its clips come.

    Args:
        root: an existing folder.
        name: of the corpus reader.
        clips_with_audio: measured clips, each with (samples,) int16 at 16 kHz.
        shard_bytes: a new shard starts when this many bytes of audio are in one.
    """
    clips: list[Clip] = []
    sizes: list[int] = []
    room = 0
    with ExitStack() as stack:
        for clip, audio in clips_with_audio:
            if not sizes or room < audio.nbytes:
                stack.close()
                shard = stack.enter_context(ShardWriter(root / shard_name(len(sizes))))
                sizes.append(0)
                room = shard_bytes
            shard.add(clip.clip_id, audio)
            sizes[-1] += 1
            room -= audio.nbytes
            clips.append(clip)
    describe_corpus(root, name, clips, sizes)
    return tuple(clips)


def describe_corpus(
    root: Path, name: str, clips: Sequence[Clip], clips_per_shard: Sequence[int]
) -> None:
    """Writes what belongs to shards that are there: manifest and ``corpus.json``.

    Args:
        root: where ``data-*.arrow`` are; ``corpus.json`` is written last: with it, it is whole.
        name: of the corpus reader.
        clips: of all shards, in their order.
        clips_per_shard: how many of them each shard holds.
    """
    shards = [shard_name(number) for number in range(len(clips_per_shard))]
    write_manifest(clips, root / "manifest.parquet")
    _describe_for_datasets(root, shards, fingerprint(clips))
    about = {
        "corpus": name,
        "shards": shards,
        "clips_per_shard": list(clips_per_shard),
        "num_clips": len(clips),
    }
    (root / "corpus.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def shard_name(number: int) -> str:
    """File name of a shard; they count from 0."""
    return f"data-{number:05d}.arrow"


def _describe_for_datasets(root: Path, shards: Sequence[str], corpus_fingerprint: str) -> None:
    """The two small files that make the folder loadable with ``datasets.load_from_disk``."""
    state: dict[str, Any] = {
        "_data_files": [{"filename": shard} for shard in shards],
        "_fingerprint": corpus_fingerprint[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    info = {
        "features": {
            "clip_id": {"dtype": "string", "_type": "Value"},
            "audio": {"feature": {"dtype": "int16", "_type": "Value"}, "_type": "List"},
        }
    }
    (root / "state.json").write_text(json.dumps(state), encoding="utf-8")
    (root / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")

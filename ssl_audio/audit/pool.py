"""Test clips that pretraining has seen, without their labels."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ssl_audio.audit.parts import CopyPair
from ssl_audio.audit.report import Finding, count_of, name_some
from ssl_audio.audit.sources import open_source
from ssl_audio.data.manifest import Clip, read_manifest
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.run_record import SEEN_CLIPS, read_run_record


@dataclass(frozen=True)
class Pool:
    """What pretraining saw."""

    name: str
    clips: tuple[Clip, ...]
    corpus: PreparedCorpus | None = None
    """With its audio, where that is at hand."""
    copies: tuple[CopyPair, ...] = ()
    """Clips under test and their copies in the pool, as far as they were looked for."""
    num_set_aside: int = 0
    """Files that can't be used."""


@contextmanager
def open_pool(path: Path) -> Iterator[Pool]:
    """Of a prepared folder, a manifest, or audio that is decoded into a folder of its own.

    Raises:
        UserError: none of these, or nothing in it can be read.
    """
    with open_source(path, {}) as source:
        yield Pool(str(path), source.clips, source.corpus, num_set_aside=len(source.set_aside))


def read_pool_of_run(run: Path) -> Pool | None:
    """Of a run of pretraining, or of the encoder that a fine-tuning run started from.

    Empty if the run learnt from scratch; None if nobody wrote down what was seen.

    Raises:
        DataError: no finished run.
    """
    origin = find_origin(run)
    if (origin / SEEN_CLIPS).is_file():
        return Pool(str(origin), tuple(read_manifest(origin / SEEN_CLIPS)))
    config = read_run_record(run)["config"]
    return Pool("none", ()) if config.get("encoder", "unknown") is None else None


def find_origin(run: Path) -> Path:
    """Where a run's encoder was made: the folder of its pretraining, else the run itself.

    Raises:
        DataError: no finished run.
    """
    started_from = read_run_record(run)["config"].get("encoder")
    return Path(started_from) if isinstance(started_from, str) else run


def find_pretraining_pool(
    clips: Sequence[Clip], pool: Pool, protocol: str | None = None, fold: int | None = None
) -> Iterator[Finding]:
    """A note if pretraining saw clips that are tested, or copies of them.

    Args:
        clips: the test clips of a fold, or all of a corpus that has no folds.
        pool: what pretraining saw.
        protocol: of the fold.
        fold: its number.
    """
    seen = {clip.audio_sha256: clip.clip_id for clip in pool.clips if clip.audio_sha256}
    ids = {clip.clip_id for clip in clips}
    groups = {
        (clip.clip_id, seen[clip.audio_sha256]) for clip in clips if clip.audio_sha256 in seen
    }
    groups |= {(copy.first, copy.second) for copy in pool.copies if copy.first in ids}
    if groups:
        tested = sorted({name for name, _ in groups})
        noun = "clip" if fold is None else "test clip"
        yield Finding(
            kind="pretraining_pool",
            severity="note",
            protocol=protocol,
            fold=fold,
            evidence=f"pretraining ({pool.name}) saw {len(tested)} of {count_of(len(ids), noun)}, "
            f"or copies of them: {name_some(tested)}",
            # A clip and what the pool calls it, once if that is the same.
            groups=tuple(tuple(dict.fromkeys(pair)) for pair in sorted(groups)),
        )

"""What is audited: a prepared corpus, a manifest, somebody else's table, a folder of audio."""

import csv
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from ssl_audio.data.audio import hash_samples
from ssl_audio.data.corpora import CORPORA, guess_corpus
from ssl_audio.data.corpora.tables import TABLES
from ssl_audio.data.folds import Folds
from ssl_audio.data.manifest import Clip, read_manifest
from ssl_audio.data.prepare import prepare
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.errors import DataError, UserError

MANIFEST = "manifest.parquet"


@dataclass(frozen=True)
class Source:
    """What is audited, and whether it was looked at as audio."""

    clips: tuple[Clip, ...]
    corpus: PreparedCorpus | None = None
    """With its audio; None for a manifest without any."""
    folds: tuple[Folds, ...] = ()
    """That it brings along."""
    set_aside: tuple[str, ...] = ()
    """Paths of files that can't be used."""


@contextmanager
def open_source(path: Path, columns: Mapping[str, str]) -> Iterator[Source]:
    """Opens what is to be audited; what is not prepared is decoded into a folder of its own.

    Args:
        path: a prepared folder, a manifest, a table of audio files, a folder or zip of audio.
        columns: of a table, by field.

    Raises:
        UserError: none of these, or nothing in it can be read.
    """
    if not path.exists():
        raise UserError(
            f"{path}: expected a prepared corpus or a manifest, a table of audio files or a folder "
            "of audio, there is no such file"
        )
    if path.is_dir() and (path / MANIFEST).is_file():
        yield _open_prepared(path)
    elif _is_manifest(path):
        yield _open_manifest(path)
    else:
        with tempfile.TemporaryDirectory(prefix="ssl-audio-audit-") as folder:
            yield _prepare(path, Path(folder) / "prepared", columns)


def _open_prepared(root: Path) -> Source:
    folds = tuple(Folds.load(file) for file in sorted(root.glob("folds/*.csv")))
    set_aside = _read_quarantine(root)
    if not (root / "corpus.json").is_file():
        return Source(tuple(read_manifest(root / MANIFEST)), None, folds, set_aside)
    corpus = PreparedCorpus.load(root)
    _refuse_other_audio(corpus)
    return Source(corpus.clips, corpus, folds, set_aside)


def _refuse_other_audio(corpus: PreparedCorpus) -> None:
    """What a manifest says of its audio is no evidence until it was heard."""
    for clip, view in zip(corpus.clips, corpus.views, strict=True):
        if clip.audio_sha256 != hash_samples(view):
            raise DataError(
                f"{corpus.root}: the audio of {clip.clip_id} is not what the manifest says; "
                "prepare the corpus again"
            )


def _open_manifest(path: Path) -> Source:
    """With its audio where it is a prepared corpus's own."""
    if path.name == MANIFEST:
        return _open_prepared(path.parent)
    return Source(tuple(read_manifest(path)))


def _is_manifest(path: Path) -> bool:
    """A parquet file that measures audio is ours, of whatever version; others are tables."""
    if path.suffix.lower() != ".parquet":
        return False
    try:
        return {"clip_id", "audio_sha256"} <= set(pq.read_schema(path).names)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read as parquet: {error}") from None


def _prepare(path: Path, output: Path, columns: Mapping[str, str]) -> Source:
    reader = "csv" if path.suffix.lower() in TABLES else guess_corpus(path)
    known = CORPORA[reader].fields
    fields = {field: column for field, column in columns.items() if field in known}
    preparation = prepare(reader, path, output, fields)
    set_aside = tuple(item.path for item in preparation.quarantined)
    # The folds that preparing offers are ours, not those that are to be audited.
    return Source(preparation.corpus.clips, preparation.corpus, (), set_aside)


def _read_quarantine(root: Path) -> tuple[str, ...]:
    try:
        with (root / "quarantine.csv").open(newline="", encoding="utf-8") as file:
            return tuple(row["path"] for row in csv.DictReader(file) if row.get("path"))
    except FileNotFoundError:
        return ()

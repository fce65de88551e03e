"""Corpus readers, one file each."""

from pathlib import Path

from ssl_audio.data.corpora import ravdess
from ssl_audio.data.corpora.base import CorpusReader, Listing, Quarantined
from ssl_audio.data.corpora.csv import Csv
from ssl_audio.data.corpora.emodb import EmoDb
from ssl_audio.data.corpora.folder import Folder
from ssl_audio.data.corpora.hackerearth import HackerEarth
from ssl_audio.data.corpora.joined import Joined
from ssl_audio.data.corpora.synthetic import Synthetic
from ssl_audio.errors import UserError

__all__ = ["CORPORA", "CorpusReader", "Listing", "Quarantined", "guess_corpus"]

CORPORA: dict[str, CorpusReader] = {
    reader.name: reader
    for reader in (
        *(ravdess.Ravdess(), HackerEarth(), EmoDb(), Folder(), Csv(), Synthetic()),
        Joined(),
    )
}
"""Readers by the name that ``prepare`` takes."""


def guess_corpus(source: Path) -> str:
    """Which reader fits: ``csv`` for a table, ``ravdess`` if most names say so, else ``folder``.

    Raises:
        UserError: no such file or folder, or a file that is no table.
    """
    if not source.exists():
        raise UserError(f"{source}: no such file or folder")
    if source.is_file() and source.suffix.lower() == ".csv":
        return "csv"
    if source.is_file() and source.suffix.lower() != ".zip":
        raise UserError(f"{source}: expected a folder, a .csv table or a .zip, got another file")
    paths = ravdess.find_files(source).paths
    num_named = sum(map(ravdess.is_name, paths))
    return "ravdess" if source.is_file() or num_named > len(paths) / 2 else "folder"

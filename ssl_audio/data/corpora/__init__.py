"""Corpus readers, one file each."""

from pathlib import Path

from ssl_audio.data.corpora import emodb, hackerearth, ravdess
from ssl_audio.data.corpora.base import CorpusReader, Listing, Quarantined
from ssl_audio.data.corpora.csv import Csv
from ssl_audio.data.corpora.folder import Folder
from ssl_audio.data.corpora.hf import HuggingFace, is_saved
from ssl_audio.data.corpora.joined import Joined
from ssl_audio.data.corpora.synthetic import Synthetic
from ssl_audio.data.corpora.tables import TABLES
from ssl_audio.errors import UserError

__all__ = ["CORPORA", "CorpusReader", "Listing", "Quarantined", "guess_corpus"]

CORPORA: dict[str, CorpusReader] = {
    reader.name: reader
    for reader in (
        *(ravdess.Ravdess(), hackerearth.HackerEarth(), emodb.EmoDb()),
        *(Folder(), Csv(), HuggingFace(), Synthetic(), Joined()),
    )
}
"""Readers by the name that ``prepare`` takes."""


def guess_corpus(source: Path) -> str:
    """Which reader fits a table, a zip or a folder.

    Folders are told by what they hold: the two folders of the competition, a saved dataset, or
    mostly files with the names of RAVDESS or of EMO-DB; any other is ``folder``. So is a zip that
    does not hold RAVDESS.

    Raises:
        UserError: no such file or folder, or a file that is no table.
    """
    if not source.exists():
        raise UserError(f"{source}: no such file or folder")
    if source.is_file():
        return _guess_file(source)
    if any((source / folder).is_dir() for folder in hackerearth.SPLITS):
        return "hackerearth"
    if is_saved(source):
        return "hf"
    paths = ravdess.find_files(source).paths
    for name, is_name in (("ravdess", ravdess.is_name), ("emodb", emodb.is_name)):
        if sum(map(is_name, paths)) > len(paths) / 2:
            return name
    return "folder"


def _guess_file(source: Path) -> str:
    ending = source.suffix.lower()
    if ending in TABLES:
        return "csv"
    if ending == ".zip":
        paths = ravdess.find_files(source).paths
        return "ravdess" if sum(map(ravdess.is_name, paths)) > len(paths) / 2 else "folder"
    raise UserError(
        f"{source}: expected a folder, a .zip, or a table ending in {', '.join(TABLES)}, "
        "got another file"
    )

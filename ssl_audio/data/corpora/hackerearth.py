"""HackerEarth's "Predict the Emotion": two folders of mp3 and wav, and a table of labels for one.

Nothing is known of speakers; many clips are there more than once.
"""

import csv
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ssl_audio.data.corpora.base import CorpusReader, Listing, Quarantined
from ssl_audio.data.corpora.files import AudioFiles, existing, without_ending
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError, UserError

SPLITS = {"TrainAudioFiles": "train", "TestAudioFiles": "test"}
TABLES = {"train": "train.csv", "test": "test.csv"}


class HackerEarth(CorpusReader):
    """A folder with ``train.csv``, ``test.csv``, ``TrainAudioFiles`` and ``TestAudioFiles``.

    The clips of the test are unlabelled: of use for pretraining, and for predictions.
    """

    name = "hackerearth"

    def read(self, source: Path | None, columns: Mapping[str, str]) -> Listing:
        """See CorpusReader."""
        root = existing(source, self.name)
        present = {folder: split for folder, split in SPLITS.items() if (root / folder).is_dir()}
        if not present:
            raise UserError(f"{root}: expected the folders {' and '.join(SPLITS)}, got neither")
        found = AudioFiles.in_folder(root)
        paths = [path for path in found.paths if PurePosixPath(path).parts[0] in present]
        clips: list[Clip] = []
        quarantined: list[Quarantined] = []
        notes = list(found.notes)
        for folder, split in present.items():
            rows = _read_table(root / TABLES[split])
            mine = [path for path in paths if PurePosixPath(path).parts[0] == folder]
            clips += [_to_clip(path, split, rows) for path in mine]
            names = {PurePosixPath(path).name for path in mine}
            quarantined += [
                Quarantined(f"{folder}/{name}", f"no such file, but {TABLES[split]} names it")
                for name in sorted(rows.keys() - names)
            ]
            if unnamed := len(names - rows.keys()):
                notes.append(f"{unnamed} files of {folder} are not in {TABLES[split]}: unlabelled")
        files = AudioFiles(root, paths)
        return Listing(tuple(clips), files.decode, tuple(quarantined), tuple(notes), files.stamp)


def _read_table(path: Path) -> dict[str, str | None]:
    """Label by file name; None where the table has none."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} can't be read as CSV in UTF-8: {error}") from None
    if rows and "filename" not in rows[0]:
        raise DataError(f"{path}: expected a column filename, got {', '.join(rows[0])}")
    return {row["filename"].strip(): (row.get("emotion") or "").strip() or None for row in rows}


def _to_clip(path: str, split: str, labels: Mapping[str, str | None]) -> Clip:
    return Clip(
        clip_id=without_ending(path),
        path=path,
        emotion=labels.get(PurePosixPath(path).name),
        split=split,
    )

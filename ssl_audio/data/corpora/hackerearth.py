"""HackerEarth's "Predict the Emotion": two folders of mp3 and wav, and a table of labels for one.

Nothing is known of speakers. Many clips are there more than once, and many are windows of one
recording that overlap; ``hackerearth_recordings.csv`` lists those, as the leak audit found them.
"""

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath

from ssl_audio.data.corpora.base import CorpusReader, Listing, Quarantined
from ssl_audio.data.corpora.files import AudioFiles, choose_ids, existing
from ssl_audio.data.corpora.tables import CsvTable, to_text
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError, UserError

SPLITS = {"TrainAudioFiles": "train", "TestAudioFiles": "test"}
TABLES = {"train": "train.csv", "test": "test.csv"}
RECORDINGS = Path(__file__).with_name("hackerearth_recordings.csv")
"""Columns recording, clip_id: the clips that share sound with another one."""


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
        ids = choose_ids(paths)
        clips: list[Clip] = []
        quarantined = list(found.quarantined)
        notes = list(found.notes)
        for folder, split in present.items():
            labels, unusable = _read_labels(root / TABLES[split])
            quarantined += unusable
            mine = [path for path in paths if PurePosixPath(path).parts[0] == folder]
            clips += [_to_clip(path, ids[path], split, labels) for path in mine]
            names = {PurePosixPath(path).name for path in mine}
            seen = {PurePosixPath(item.path).name for item in found.quarantined}
            quarantined += [
                Quarantined(f"{folder}/{name}", f"no such file, but {TABLES[split]} names it")
                for name in sorted(labels.keys() - names - seen)
            ]
            if unnamed := len(names - labels.keys()):
                notes.append(f"{unnamed} files of {folder} are not in {TABLES[split]}: unlabelled")
        files = AudioFiles(root, paths)
        return Listing(tuple(clips), files.decode, tuple(quarantined), tuple(notes), files.stamp)


def _read_labels(path: Path) -> tuple[dict[str, str | None], list[Quarantined]]:
    """Label by file name, None where the table has none, and the rows that are of no use."""
    table = CsvTable(path)
    if "filename" not in table.header:
        raise DataError(f"{path}: expected a column filename, got {', '.join(table.header)}")
    labels: dict[str, str | None] = {}
    unusable: list[Quarantined] = []
    for row in table.read(("filename", "emotion")):
        if isinstance(row, Quarantined):
            unusable.append(row)
            continue
        name, label = (to_text(row.cells.get(column)) for column in ("filename", "emotion"))
        if not name:
            unusable.append(Quarantined(row.place, "names no file"))
        elif name in labels:
            both = f"labelled {label or 'nothing'} here, {labels[name] or 'nothing'} there"
            unusable.append(Quarantined(row.place, f"second row of {name}: {both}"))
        else:
            labels[name] = label or None
    return labels, unusable


def _to_clip(path: str, clip_id: str, split: str, labels: Mapping[str, str | None]) -> Clip:
    return Clip(
        clip_id=clip_id,
        path=path,
        emotion=labels.get(PurePosixPath(path).name),
        split=split,
        parent=_read_recordings().get(clip_id),
    )


@cache
def _read_recordings() -> dict[str, str]:
    """Recording by clip, of the clips that share one."""
    with RECORDINGS.open(newline="", encoding="utf-8") as file:
        return {row["clip_id"]: f"recording {row['recording']}" for row in csv.DictReader(file)}

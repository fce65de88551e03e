"""A Hugging Face dataset: a local folder, or a name on the Hub."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from ssl_audio.data.audio import Int16
from ssl_audio.data.corpora import audiofolder
from ssl_audio.data.corpora.base import CorpusReader, Listing, Quarantined
from ssl_audio.data.corpora.csv import USUAL_COLUMNS, choose_columns, note_missing, to_clip
from ssl_audio.data.corpora.files import AudioFiles, decode_file
from ssl_audio.data.corpora.tables import to_text
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError, UserError

if TYPE_CHECKING:
    from datasets import Dataset

_ON_THE_HUB = re.compile(r"(?P<name>[\w.-]+(?:/[\w.-]+)?)(?::(?P<config>[\w.-]+))?")
_BATCH_ROWS = 1000


class HuggingFace(CorpusReader):
    """What ``datasets`` loads, with a column of audio, as files' bytes or as paths.

    ``SOURCE`` is a folder (from ``save_to_disk``, or of parquet, Arrow or audio files), a dataset's
    name on the Hub, or ``NAME:CONFIGURATION``. Clips of several splits are named ``SPLIT/NAME``,
    after the audio's own file or, if those are unknown or equal, after the number of the row.
    """

    name = "hf"
    fields = tuple(USUAL_COLUMNS)

    def read(self, source: Path | None, columns: Mapping[str, str]) -> Listing:
        """See CorpusReader."""
        if source is None:
            raise UserError("prepare hf needs a SOURCE: a dataset's folder, or its name on the Hub")
        if audiofolder.is_one(source):
            return audiofolder.read(source, columns)
        parts = [
            _Part.open(name, dataset, source, columns) for name, dataset in _load(source).items()
        ]
        by_name = {part.name: part for part in parts}
        clips: list[Clip] = []
        quarantined: list[Quarantined] = []
        for part in parts:
            part_clips, unusable = part.list_clips()
            clips += part_clips
            quarantined += unusable

        def decode(clip: Clip) -> Iterator[tuple[Clip, Int16]]:
            part, _, row = clip.path.rpartition("/")
            yield from by_name[part].decode(clip, int(row))

        notes = dict.fromkeys(note for part in parts for note in part.notes)
        return Listing(tuple(clips), decode, tuple(quarantined), tuple(notes))


def is_saved(folder: Path) -> bool:
    """Whether ``save_to_disk`` of ``datasets`` made a folder; a prepared corpus looks alike."""
    one = all((folder / name).is_file() for name in ("state.json", "dataset_info.json"))
    several = (folder / "dataset_dict.json").is_file()
    return (one or several) and not (folder / "corpus.json").is_file()


@dataclass(frozen=True)
class _Part:
    """One split of a dataset."""

    name: str
    """Empty where the dataset has no splits."""
    dataset: "Dataset"
    """Its audio is not decoded."""
    chosen: Mapping[str, str]
    """Column by field of Clip; ``path`` is the audio."""
    folder: Path
    """What the paths of the audio start from."""

    @classmethod
    def open(
        cls, name: str, dataset: "Dataset", source: Path, columns: Mapping[str, str]
    ) -> "_Part":
        """Chooses the columns.

        Raises:
            UserError: there are none such.
        """
        from datasets import Audio

        audio = [name for name, kind in dataset.features.items() if isinstance(kind, Audio)]
        for column in audio:
            dataset = dataset.cast_column(column, Audio(decode=False))
        columns = {"path": audio[0], **columns} if audio else columns
        chosen = choose_columns(dataset.column_names, columns, str(source))
        if "path" not in chosen:
            raise UserError(
                f"{source}: expected a column of audio, got {', '.join(dataset.column_names)}: "
                "say which one it is with --map path=COLUMN"
            )
        return cls(name, dataset, chosen, source if source.is_dir() else Path())

    @property
    def notes(self) -> tuple[str, ...]:
        """On what is unknown."""
        return note_missing(self.dataset.column_names, self.chosen)

    def list_clips(self) -> tuple[list[Clip], list[Quarantined]]:
        """The clips by row, and the rows that are of no use."""
        rows = list(self._rows())
        clips: list[Clip] = []
        quarantined: list[Quarantined] = []
        for number, (name, cells) in enumerate(
            zip(_name_rows([cells.pop("path") for cells in rows]), rows, strict=True)
        ):
            place = f"{self.name}/{number}" if self.name else str(number)
            try:
                values = {field: to_text(cell) for field, cell in cells.items()}
            except DataError as error:
                quarantined.append(Quarantined(place, str(error)))
                continue
            values["split"] = values.get("split") or self.name
            clip_id = f"{self.name}/{name}" if self.name else name
            clips.append(to_clip(clip_id, {**values, "path": place}))
        return clips, quarantined

    def decode(self, clip: Clip, row: int) -> Iterator[tuple[Clip, Int16]]:
        """One row's audio; as ``Listing.decode``.

        Raises:
            DataError: there is none, or it can't be decoded.
        """
        with _open_cell(self.dataset[row][self.chosen["path"]], self.folder) as file:
            yield from decode_file(clip, file)

    def _rows(self) -> Iterator[dict[str, Any]]:
        """Cells by field of Clip, with names instead of numbers of classes; audio's paths only."""
        chosen = self.dataset.select_columns(sorted(set(self.chosen.values())))
        for batch in chosen.with_format("arrow").iter(_BATCH_ROWS):
            cells = {
                field: self._read(batch.column(column), field, column)
                for field, column in self.chosen.items()
            }
            yield from (
                dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)
            )

    def _read(self, column: pa.ChunkedArray, field: str, name: str) -> list[Any]:
        if field == "path":
            return _own_paths(column)
        cells = column.to_pylist()
        kind = self.dataset.features[name]
        if not hasattr(kind, "int2str"):
            return cells
        # A dataset's unlabelled rows hold -1.
        return [None if cell is None or cell < 0 else kind.int2str(cell) for cell in cells]


def _load(source: Path) -> dict[str, "Dataset"]:
    """Splits by name; the name is empty if there are none.

    Raises:
        UserError: no such dataset, or it can't be loaded.
    """
    import datasets
    from datasets.exceptions import DatasetsError

    try:
        if is_saved(source):
            loaded = datasets.load_from_disk(str(source))
        elif source.is_dir():
            loaded = datasets.load_dataset(str(source))
        elif match := _ON_THE_HUB.fullmatch(source.as_posix()):
            loaded = datasets.load_dataset(match["name"], match["config"])
        else:
            raise UserError(
                f"{source}: expected a folder, or NAME or NAME:CONFIGURATION on the Hub"
            )
    except (OSError, ValueError, ImportError, DatasetsError, pa.ArrowException) as error:
        raise UserError(f"{source} can't be loaded as a dataset: {_first_cause(error)}") from None
    return dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"": loaded}


def _first_cause(error: BaseException) -> str:
    """What went wrong at the bottom of a chain of errors, one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _own_paths(column: pa.ChunkedArray) -> list[str | None]:
    """The names that a column of audio gives its files."""
    if pa.types.is_struct(column.type):
        names = [field.name for field in column.type]
        if "path" not in names:
            return [None] * len(column)
        column = pc.struct_field(column, "path")
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    return column.to_pylist() if is_text else [None] * len(column)


def _name_rows(paths: Sequence[str | None]) -> list[str]:
    """Every row's own name: of its file without its ending, else its number."""
    names = [_own_name(path) for path in paths]
    if len(set(names) - {""}) == len(names):
        return names
    return [f"{number:06d}" for number in range(len(names))]


def _own_name(path: str | None) -> str:
    """Without the folders of another machine."""
    pure = PurePosixPath((path or "").replace("\\", "/"))
    kept = pure.name if pure.is_absolute() or ".." in pure.parts else pure.as_posix()
    return PurePosixPath(kept).with_suffix("").as_posix() if pure.name else ""


@contextmanager
def _open_cell(cell: Any, folder: Path) -> Iterator[BinaryIO]:
    """The bytes of an audio file, or the file that is named.

    Raises:
        DataError: neither is there.
    """
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    path = cell.get("path") if isinstance(cell, dict) else cell
    if isinstance(content, bytes):
        with io.BytesIO(content) as file:
            yield file
    elif isinstance(path, str) and path:
        with AudioFiles(folder, ()).open(path) as file:
            yield file
    else:
        raise DataError("expected an audio file's bytes or path, got neither")

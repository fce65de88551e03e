"""Tables of raters' votes, which make soft targets."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from finetune.labels import LabelSpace, MultiLabel, Shares
from ssl_audio.data.corpora.base import Quarantined
from ssl_audio.data.corpora.tables import CsvTable, Row
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError


def read_votes(path: Path, classes: Sequence[str]) -> dict[str, Shares]:
    """Raters' votes as shares, by clip_id.

    A column ``raters`` says how many were asked, each of whom may have chosen several classes;
    without it a row's votes are all that there were.

    Args:
        path: CSV with the column clip_id and one column of counts for each class.
        classes: in their order.

    Returns:
        (classes,) float32 in [0, 1] for each clip.

    Raises:
        DataError: no such file, other columns, or a row that makes no sense, with its line.
    """
    table = CsvTable(path)
    for name in ("clip_id", *classes, "raters"):
        if table.header.count(name) > 1:
            raise DataError(f"votes {path}: there are several columns {name}")
    needed = ("clip_id", *classes)
    if not {*needed} <= {*table.header}:
        raise DataError(f"votes {path}: expected rows under the columns {', '.join(needed)}")
    votes: dict[str, Shares] = {}
    for row in table.read(needed):
        if isinstance(row, Quarantined):
            raise DataError(f"votes {row.path}: {row.reason}")
        clip_id = str(row.cells.get("clip_id") or "")
        if not clip_id:
            raise DataError(f"votes {row.place}: names no clip")
        if clip_id in votes:
            raise DataError(f"votes {row.place}: {clip_id} is there twice")
        votes[clip_id] = _read_vote(row, classes)
    if not votes:
        raise DataError(f"votes {path}: expected rows below its header")
    return votes


def put_votes(
    targets: Shares, clips: Sequence[Clip], votes: Mapping[str, Shares], space: LabelSpace
) -> Shares:
    """(clips, classes) targets with the votes of the clips that were voted on in place of theirs.

    Where a clip has exactly one of the classes its shares are made to sum to one.
    """
    changed = targets.copy()
    for row, clip in enumerate(clips):
        if clip.clip_id in votes:
            shares = votes[clip.clip_id]
            changed[row] = shares if isinstance(space, MultiLabel) else shares / shares.sum()
    return changed


def _read_vote(row: Row, classes: Sequence[str]) -> Shares:
    try:
        counts = np.array([float(str(row.cells.get(name))) for name in classes])
        asked = str(row.cells.get("raters") or "").strip()
        raters = float(asked) if asked else counts.sum()
    except ValueError:
        raise DataError(f"votes {row.place}: expected a number for each class") from None
    sane = np.isfinite(counts).all() and (counts >= 0).all() and counts.any()
    if not sane or not np.isfinite(raters) or counts.max() > raters:
        raise DataError(
            f"votes {row.place}: expected votes of 0 to {raters:g} raters and at least one, got "
            f"{', '.join(f'{count:g}' for count in counts)}"
        )
    return (counts / raters).astype(np.float32)

"""Leaks in a table of features: made-up rows, frames, whose statistics it was normalised with."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ssl_audio.audit.components import find_leaked_components
from ssl_audio.audit.feature_table import FeatureTable, Side
from ssl_audio.audit.jittered import find_jittered
from ssl_audio.audit.normalised import (
    Normalisation,
    find_leaked_constants,
    find_normalised_groups,
)
from ssl_audio.audit.oversampled import MOST_ROWS, MadeUp, find_between, find_repeated
from ssl_audio.audit.report import Finding, Severity, count_of, name_some
from ssl_audio.data.manifest import Clip

Places = npt.NDArray[np.int64]


def check_table(
    table: FeatureTable, sides: Sequence[Side], clips: Sequence[Clip]
) -> Iterator[Finding]:
    """Every finding on a table, fold by fold.

    Args:
        table: of features.
        sides: where its rows are in each fold.
        clips: of the corpus.
    """
    made_up = find_made_up(table, clips)
    for side in sides:
        yield from find_oversampled(table, side, made_up)
        yield from find_split_frames(table, side)
        yield from find_speaker_statistics(table, side)
        yield from find_normalisation(table, side, made_up)
    if not sides and made_up:
        yield _report(
            None, "oversampled_rows", "note", _tell(table, made_up), _name(table, made_up)
        )


def find_made_up(table: FeatureTable, clips: Sequence[Clip]) -> list[MadeUp]:
    """Rows between two others, given twice, or repeated with noise.

    Copies of one recording are not made up, nor are rows of one clip out of each other, nor is a
    row repeated with noise that has its own clip.
    """
    audio = {clip.clip_id: clip.audio_sha256 for clip in clips}

    def is_copied_recording(made: MadeUp) -> bool:
        ids = [table.clip_ids[row] for row in (made.row, *made.origins)]
        hashes = {audio[clip_id] for clip_id in ids if clip_id is not None}
        return len(set(ids)) == len(ids) and len(hashes) == 1 and None not in hashes | set(ids)

    def is_of_one_clip(made: MadeUp) -> bool:
        ids = {table.clip_ids[row] for row in (made.row, *made.origins)}
        return len(ids) == 1 and None not in ids

    few_enough = len(table) <= MOST_ROWS
    between = find_between(table.values, table.labels) if few_enough else []
    between = [made for made in between if not is_of_one_clip(made)]
    repeated = [made for made in find_repeated(table.values) if not is_copied_recording(made)]
    explained = [*between, *repeated]
    doubtful = np.array([clip_id is None for clip_id in table.clip_ids])
    doubtful[[made.row for made in explained]] = False
    jittered = find_jittered(table.values, table.labels, doubtful) if few_enough else []
    return [*explained, *jittered]


def find_oversampled(
    table: FeatureTable, side: Side, made_up: Sequence[MadeUp]
) -> Iterator[Finding]:
    """A leak if a made-up row and what it is made of are on two sides; a note if on one."""
    leaks: defaultdict[tuple[str, str], list[MadeUp]] = defaultdict(list)
    inside: defaultdict[str, list[MadeUp]] = defaultdict(list)
    for made in made_up:
        parts = {str(side.parts[row]) for row in (made.row, *made.origins)} - {""}
        if len(parts) > 1:
            kind = "oversampled_rows" if "test" in parts else "validation_in_training"
            leaks[kind, " and ".join(sorted(parts, reverse=True))].append(made)
        elif parts:
            inside[parts.pop()].append(made)
    for (kind, parts_named), found in leaks.items():
        evidence = f"{_tell(table, found)}, across {parts_named}"
        yield _report(side, kind, "leak", evidence, _name(table, found))
    if leaks:
        return  # what is made up inside a part is the lesser trouble
    for part, found in inside.items():
        severity: Severity = "note" if part == "train" else "warning"
        evidence = f"{_tell(table, found)}, within {part}"
        yield _report(side, "oversampled_rows", severity, evidence, _name(table, found))


def find_split_frames(table: FeatureTable, side: Side) -> Iterator[Finding]:
    """A leak if rows of one clip are on two sides."""
    rows = _places_of(table.clip_ids, side.parts != "")
    for first, second in (("train", "test"), ("validation", "test"), ("train", "validation")):
        split = [
            name
            for name, places in rows.items()
            if {first, second} <= set(side.parts[places].tolist())
        ]
        if split:
            kind = "split_parent" if second == "test" else "validation_in_training"
            evidence = (
                f"{first} and {second} hold rows of {count_of(len(split), 'clip')}: "
                f"{name_some(split)}"
            )
            yield _report(side, kind, "leak", evidence, [(name,) for name in split])


def find_speaker_statistics(table: FeatureTable, side: Side) -> Iterator[Finding]:
    """A leak if test speakers were normalised with their own clips."""
    tested = _places_of(table.speakers, side.parts == "test")
    single = list(_places_of(table.clip_ids, side.parts == "test").values())
    how, normalised = find_normalised_groups(table.values, tested, single)
    if normalised and len(normalised) >= len(tested) / 2:
        yield _report(
            side,
            "speaker_statistics",
            "leak",
            f"the features of {len(normalised)} of {count_of(len(tested), 'test speaker')} have "
            f"{how} by themselves: normalised with their own test clips: {name_some(normalised)}",
            [table.name_group(tested[name]) for name in normalised],
        )


def find_normalisation(
    table: FeatureTable, side: Side, made_up: Sequence[MadeUp]
) -> Iterator[Finding]:
    """A leak if constants come from test rows too; before or after rows were made up."""
    if next(find_speaker_statistics(table, side), None):
        return  # whoever is normalised speaker by speaker is so over all speakers too
    made = np.isin(np.arange(len(table)), [one.row for one in made_up])
    nameless = np.array([clip_id is None for clip_id in table.clip_ids])
    measured = [~made, ~made & ~nameless] if made.any() else []
    for known in (np.ones(len(table), dtype=bool), *measured):
        train, validation, test = (
            (side.parts == part) & known for part in ("train", "validation", "test")
        )
        if not train.any() or not test.any():
            continue
        innocent = {"train": train, "train and validation": train | validation}
        leaking = {
            "train and test": train | test,
            "train, validation and test": train | validation | test,
            "all rows": known,
            "test": test,
        }
        rows = _to_places(innocent), _to_places(leaking)
        found = find_leaked_constants(table.values, *rows) or find_leaked_components(
            table.values, *rows
        )
        if found is not None:
            yield _report_normalisation(
                table, side, found, np.flatnonzero(leaking[found.population])
            )
            return


def _report_normalisation(
    table: FeatureTable, side: Side, found: Normalisation, rows: Places
) -> Finding:
    """With the features that show it, and as its group the test clips that it was computed from."""
    tested = rows[side.parts[rows] == "test"]
    features = [table.features[column] for column in found.columns]
    return _report(
        side,
        "normalisation_leak",
        "leak",
        f"{count_of(len(features), 'feature')} of {len(table.features)} ({name_some(features)}) "
        f"have {found.how} over {found.population}, and not over train: computed from these "
        f"{len(rows)} rows, {len(tested)} of them test",
        [table.name_group(tested)],
    )


def _to_places(masks: dict[str, npt.NDArray[np.bool_]]) -> dict[str, Places]:
    return {name: np.flatnonzero(mask) for name, mask in masks.items()}


def _places_of(names: Sequence[str | None], among: npt.NDArray[np.bool_]) -> dict[str, Places]:
    """Rows by name; those without one are left out."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for row in np.flatnonzero(among).tolist():
        if (name := names[row]) is not None:
            places[name].append(row)
    return {name: np.array(rows) for name, rows in places.items()}


def _tell(table: FeatureTable, found: Sequence[MadeUp]) -> str:
    first = found[0]
    counts = Counter(made.how for made in found)
    told = [f"{count_of(number, 'row')} {how}" for how, number in counts.items()]
    origins = " and ".join(table.names[row] for row in first.origins)
    return f"{' and '.join(told)}, e.g. {table.names[first.row]} from {origins}"


def _name(table: FeatureTable, found: Iterable[MadeUp]) -> list[tuple[str, ...]]:
    return [table.name_group((made.row, *made.origins)) for made in found]


def _report(
    side: Side | None,
    kind: str,
    severity: Severity,
    evidence: str,
    groups: Iterable[Sequence[str]],
) -> Finding:
    return Finding(
        kind=kind,
        severity=severity,
        protocol=side.protocol if side else None,
        fold=side.fold if side else None,
        evidence=f"feature table: {evidence}",
        groups=tuple(tuple(group) for group in groups),
    )

"""Folds: which clips train, validate and test; stored as CSV files, speaker-disjoint by default."""

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError

PARTS = ("train", "validation", "test")
NUM_SPEAKER_FOLDS = 6
LEAST_SPEAKERS = 3
"""One to train on, one to validate on, one to test."""
NUM_DEDUP_FOLDS = 5
EMOBOX_TEST_ACTORS = (
    ("01", "11", "20", "21"),
    ("04", "10", "12", "14"),
    ("08", "09", "19", "23"),
    ("03", "05", "07", "24"),
    ("02", "15", "16", "18"),
    ("06", "13", "17", "22"),
)
"""RAVDESS actors that each fold tests. Source: EmoBox (Ma et al. 2024), its fold lists."""


TAKEN_NAMES = frozenset(("clip_id", "speaker", "fold", "seed", "label"))
"""Columns of stored predictions, beside which each class has one of its own name."""
BETWEEN_CLASSES = "|"
"""In the files of folds."""


@dataclass(frozen=True)
class Fold:
    """One split of a corpus by clip ids, each part sorted."""

    number: int
    """Counts from 1, as papers do."""
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True)
class Folds:
    """Every fold of a protocol."""

    protocol: str
    """Full name, e.g. ``ravdess-speech-8/emobox6``."""
    classes: tuple[str, ...]
    folds: tuple[Fold, ...]

    def fold(self, number: int) -> Fold:
        """The fold with this number.

        Raises:
            DataError: there is none.
        """
        for fold in self.folds:
            if fold.number == number:
                return fold
        raise DataError(f"{self.protocol} has folds 1 to {len(self.folds)}, asked for {number}")

    def save(self, path: Path) -> None:
        """Writes columns protocol, classes (``a|b|c``), fold, part, clip_id."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["protocol", "classes", "fold", "part", "clip_id"])
            for fold in self.folds:
                for part in PARTS:
                    for clip_id in getattr(fold, part):
                        classes = BETWEEN_CLASSES.join(self.classes)
                        writer.writerow([self.protocol, classes, fold.number, part, clip_id])

    @classmethod
    def load(cls, path: Path) -> "Folds":
        """Reads what ``save`` wrote.

        Raises:
            DataError: no such file, other columns, or an unknown part.
        """
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"folds {path} can't be read: {error}") from None
        needed = {"protocol", "classes", "fold", "part", "clip_id"}
        if not rows or not needed <= set(rows[0]):
            raise DataError(f"folds {path}: expected columns {', '.join(sorted(needed))}")
        parts: dict[int, dict[str, list[str]]] = {}
        for line, row in enumerate(rows, 2):
            if row["part"] not in PARTS or not row["fold"].isdigit():
                raise DataError(
                    f"folds {path}, line {line}: expected a fold number and one of "
                    f"{', '.join(PARTS)}, got {row['fold']!r} and {row['part']!r}"
                )
            fold = parts.setdefault(int(row["fold"]), {part: [] for part in PARTS})
            fold[row["part"]].append(row["clip_id"])
        folds = tuple(
            Fold(number, *(tuple(sorted(fold[part])) for part in PARTS))
            for number, fold in sorted(parts.items())
        )
        classes = tuple(rows[0]["classes"].split(BETWEEN_CLASSES))
        return cls(rows[0]["protocol"], classes, folds)

    @property
    def fingerprint(self) -> str:
        """sha256 of the protocol's name and every fold."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


def build_folds(name: str, clips: Sequence[Clip], classes: Sequence[str] | None = None) -> Folds:
    """The folds for any labelled corpus: by speakers, or ``dedup5`` if no speaker is known.

    Args:
        name: what the protocol's name starts with, e.g. ``csv``.
        clips: prepared clips; those without an emotion are left out.
        classes: their order; alphabetical by default. Classes without clips are left out.

    Raises:
        DataError: too few clips, classes or speakers.
    """
    labelled = [clip for clip in clips if clip.emotion is not None]
    if not labelled:
        raise DataError("no clip has a label")
    if all(clip.speaker is None for clip in labelled):
        return dedup5(name, labelled, classes)
    return speakers6(name, labelled, classes)


def emobox6(clips: Sequence[Clip], classes: Sequence[str]) -> Folds:
    """EmoBox's six folds of RAVDESS speech, with validation actors.

    The published lists name test actors. For validation, the actors of each gender stand in the
    order in which they are tested, as in a ring; fold k takes the two men and the two women at
    places 2k + 2 and 2k + 3. So each actor validates exactly once, never where he or she is tested.

    Args:
        clips: speech clips of all 24 actors.
        classes: the emotions in their order.

    Raises:
        DataError: an actor or a class is missing.
    """
    actors = {clip.speaker for clip in clips}
    if missing := sorted(set(chain(*EMOBOX_TEST_ACTORS)) - actors):
        raise DataError(f"emobox6 needs all 24 actors, without clips are {', '.join(missing)}")
    validation: list[set[str]] = [set() for _ in EMOBOX_TEST_ACTORS]
    for is_male in (True, False):
        line = [actor for actor in chain(*EMOBOX_TEST_ACTORS) if (int(actor) % 2 == 1) is is_male]
        for index, actors_of_fold in enumerate(validation):
            actors_of_fold |= {line[(2 * index + place) % len(line)] for place in (3, 4)}
    test = [set(actors) for actors in EMOBOX_TEST_ACTORS]
    return _assemble("ravdess-speech", "emobox6", classes, clips, _speaker_of, test, validation)


def speakers6(name: str, clips: Sequence[Clip], classes: Sequence[str] | None = None) -> Folds:
    """Six speaker-disjoint folds, balanced by gender and number of clips.

    Speakers stand in line by gender, then most clips first, then by name, and are dealt to the
    folds in turn. Each fold validates on the speakers that the next one tests. Three to five
    speakers get one fold each, and the protocol's name says so: ``speakers3`` to ``speakers5``.
    Clips without a speaker are left out: nobody can say on which side they belong.

    Raises:
        DataError: under three speakers, or a class that some fold could not train on.
    """
    known = [clip for clip in clips if clip.speaker is not None and clip.emotion is not None]
    num_clips = Counter(_speaker_of(clip) for clip in known)
    if len(num_clips) < LEAST_SPEAKERS:
        raise DataError(
            f"speaker-disjoint folds need at least {LEAST_SPEAKERS} speakers, "
            f"there are {len(num_clips)}"
        )
    genders = {_speaker_of(clip): clip.gender or "unknown" for clip in known}
    line = sorted(num_clips, key=lambda speaker: (genders[speaker], -num_clips[speaker], speaker))
    num_folds = min(NUM_SPEAKER_FOLDS, len(line))
    test = [set(line[index::num_folds]) for index in range(num_folds)]
    scheme = f"speakers{num_folds}"
    return _assemble(name, scheme, classes, known, _speaker_of, test, _next_ones(test))


def dedup5(name: str, clips: Sequence[Clip], classes: Sequence[str] | None = None) -> Folds:
    """Five stratified folds that keep identical audio together, for corpora without speakers.

    The different recordings of each class stand in line by the hash of their audio, an order as
    good as random, and are dealt to the folds in turn; each fold validates on what the next tests.

    Raises:
        DataError: a class with fewer different recordings than folds.
    """
    labelled = [clip for clip in clips if clip.emotion is not None]
    emotions: dict[str, str] = {}
    for clip in labelled:
        emotions.setdefault(_audio_of(clip), str(clip.emotion))
    for emotion, count in sorted(Counter(emotions.values()).items()):
        if count < NUM_DEDUP_FOLDS:
            raise DataError(
                f"class {emotion!r} has {count} different recordings, {NUM_DEDUP_FOLDS} folds need "
                f"at least {NUM_DEDUP_FOLDS}: add clips, or drop or merge the class"
            )
    line = sorted(emotions, key=lambda audio: (emotions[audio], audio))
    test = [set(line[index::NUM_DEDUP_FOLDS]) for index in range(NUM_DEDUP_FOLDS)]
    return _assemble(name, "dedup5", classes, labelled, _audio_of, test, _next_ones(test))


def random5_leaky(
    name: str, clips: Sequence[Clip], classes: Sequence[str] | None = None, seed: int = 0
) -> Folds:
    """Five random stratified folds: speakers on both sides. Only to show what that inflates.

    A sixth of what is not tested validates, so that on RAVDESS as many clips train (960) as in
    ``emobox6``.

    Raises:
        DataError: a class that some fold could not train on.
    """
    from sklearn.model_selection import StratifiedKFold, train_test_split

    labelled = [clip for clip in clips if clip.emotion is not None]
    ids = [clip.clip_id for clip in labelled]
    emotions = [clip.emotion for clip in labelled]
    test, validation = [], []
    for rest, tested in StratifiedKFold(5, shuffle=True, random_state=seed).split(ids, emotions):
        _, validated = train_test_split(
            rest,
            test_size=round(len(rest) / 6),
            random_state=seed,
            stratify=[emotions[index] for index in rest],
        )
        test.append({ids[index] for index in tested})
        validation.append({ids[index] for index in validated})
    return _assemble(name, "random5-LEAKY", classes, labelled, _id_of, test, validation)


def _assemble(
    name: str,
    scheme: str,
    order: Sequence[str] | None,
    clips: Sequence[Clip],
    group_of: Callable[[Clip], str],
    test: Sequence[AbstractSet[str]],
    validation: Sequence[AbstractSet[str]],
) -> Folds:
    """Folds from the groups (speakers, recordings) that each one tests and validates on."""
    present = {clip.emotion for clip in clips if clip.emotion is not None}
    classes = tuple(emotion for emotion in order or sorted(present) if emotion in present)
    if len(classes) < 2:
        raise DataError(f"folds need at least 2 classes, got {', '.join(classes) or 'none'}")
    _refuse_odd_names(classes)
    folds = []
    for number, (tested, validated) in enumerate(zip(test, validation, strict=True), 1):
        parts: dict[str, list[str]] = {part: [] for part in PARTS}
        trained = set()
        for clip in clips:
            group = group_of(clip)
            part = "test" if group in tested else "validation" if group in validated else "train"
            parts[part].append(clip.clip_id)
            if part == "train":
                trained.add(clip.emotion)
        if untrained := [emotion for emotion in classes if emotion not in trained]:
            raise DataError(
                f"class {untrained[0]!r} has no training clip in fold {number} of {scheme}: "
                "add clips of it from other speakers, or drop or merge the class"
            )
        folds.append(Fold(number, *(tuple(sorted(parts[part])) for part in PARTS)))
    return Folds(f"{name}-{len(classes)}/{scheme}", classes, tuple(folds))


def _refuse_odd_names(classes: Sequence[str]) -> None:
    """Names that a file of folds or of predictions could not give back."""
    for name in classes:
        if BETWEEN_CLASSES in name:
            raise DataError(f"class {name!r}: a name must not hold {BETWEEN_CLASSES!r}, rename it")
        if name in TAKEN_NAMES:
            raise DataError(
                f"class {name!r}: predictions have a column of this name beside those of the "
                "classes, rename it"
            )


def _next_ones(test: Sequence[AbstractSet[str]]) -> list[AbstractSet[str]]:
    return [*test[1:], test[0]]


def _speaker_of(clip: Clip) -> str:
    return str(clip.speaker)


def _audio_of(clip: Clip) -> str:
    return str(clip.audio_sha256)


def _id_of(clip: Clip) -> str:
    return clip.clip_id

"""How clips are dealt to folds: speaker-disjoint schemes, and the one that leaks on purpose."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from ssl_audio.data.dealing import (
    assemble_folds,
    by_group,
    by_speaker,
    id_of,
    next_ones,
    refuse_odd_names,
    speaker_of,
)
from ssl_audio.data.folds import Folds
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError

NUM_SPEAKER_FOLDS = 6
LEAST_SPEAKERS = 3
"""One to train on, one to validate on, one to test."""
NUM_DEDUP_FOLDS = 5
NUM_INNER_FOLDS = 5


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
    refuse_odd_names(sorted({str(clip.emotion) for clip in labelled}))
    if all(clip.speaker is None for clip in labelled):
        return dedup5(name, labelled, classes)
    return speakers6(name, labelled, classes)


def leave_one_speaker_out(
    name: str, clips: Sequence[Clip], classes: Sequence[str] | None = None
) -> Folds:
    """One fold for each speaker, with five inner folds of the others for every choice.

    The other speakers stand in line by gender and name and are dealt to the inner folds in turn, so
    these are as even as ``GroupKFold(5)`` makes them and balanced by gender. Who needs a single
    validation part, as for early stopping, has inner fold k mod 5 in the k-th fold.

    Raises:
        DataError: under six speakers, or a class that some fold could not train on.
    """
    genders = {speaker_of(clip): clip.gender or "" for clip in clips if clip.speaker is not None}
    line = sorted(genders, key=lambda speaker: (genders[speaker], speaker))
    if len(line) <= NUM_INNER_FOLDS:
        raise DataError(
            f"leaving one speaker out with {NUM_INNER_FOLDS} inner folds needs more than "
            f"{NUM_INNER_FOLDS} speakers, there are {len(line)}"
        )
    test, validation, inner = [], [], []
    for number, speaker in enumerate(sorted(line), 1):
        others = [other for other in line if other != speaker]
        groups = [set(others[index::NUM_INNER_FOLDS]) for index in range(NUM_INNER_FOLDS)]
        test.append({speaker})
        validation.append(groups[number % NUM_INNER_FOLDS])
        inner.append({other: index for index, group in enumerate(groups) for other in group})
    known = [clip for clip in clips if clip.speaker is not None]
    scheme = f"loso{len(line)}"
    return assemble_folds(name, scheme, classes, known, by_speaker(test, validation), inner)


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
    test = _deal_speakers(known)
    scheme = f"speakers{len(test)}"
    return assemble_folds(name, scheme, classes, known, by_speaker(test, next_ones(test)))


def train_on_test_on(
    name: str,
    train: Sequence[Clip],
    test: Sequence[Clip],
    classes: Sequence[str] | None = None,
) -> Folds:
    """One fold: learns from one corpus, is tested on the whole of another.

    A sixth of the first one's speakers validates: those that the first fold of ``speakers6`` tests.

    Raises:
        DataError: under three speakers to learn from, or a class that only the test has.
    """
    held_out = _deal_speakers(train)[0]
    tested = {clip.clip_id for clip in test}

    def deal(clip: Clip) -> str | None:
        if clip.clip_id in tested:
            return "test"
        return "validation" if speaker_of(clip) in held_out else "train"

    return assemble_folds(name, "cross", classes, [*train, *test], [deal])


def dedup5(name: str, clips: Sequence[Clip], classes: Sequence[str] | None = None) -> Folds:
    """Five stratified folds for corpora without speakers: no recording is on two sides.

    Identical audio stays together, and so do the segments of one recording. The different
    recordings of each class stand in line by the hash of their first clip's name, an order as good
    as random, and are dealt to the folds in turn; each fold validates on what the next tests.

    Raises:
        DataError: a class with fewer different recordings than folds.
    """
    labelled = [clip for clip in clips if clip.emotion is not None]
    first = _find_recordings(sorted(labelled, key=id_of))
    firsts = {clip.clip_id: clip for clip in first.values()}
    counts = Counter(str(clip.emotion) for clip in firsts.values())
    for emotion, count in sorted(counts.items()):
        if count < NUM_DEDUP_FOLDS:
            raise DataError(
                f"class {emotion!r} has {count} different recordings, {NUM_DEDUP_FOLDS} folds need "
                f"at least {NUM_DEDUP_FOLDS}: add clips, or drop or merge the class"
            )
    line = sorted(firsts.values(), key=lambda clip: (str(clip.emotion), _shuffled(clip.clip_id)))
    test = [{id_of(clip) for clip in line[k::NUM_DEDUP_FOLDS]} for k in range(NUM_DEDUP_FOLDS)]

    def recording_of(clip: Clip) -> str:
        return first[clip.clip_id].clip_id

    deals = by_group(recording_of, test, next_ones(test))
    return assemble_folds(name, "dedup5", classes, labelled, deals)


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

    labelled = sorted((clip for clip in clips if clip.emotion is not None), key=id_of)
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
    deals = by_group(id_of, test, validation)
    return assemble_folds(name, "random5-LEAKY", classes, labelled, deals)


def _deal_speakers(clips: Sequence[Clip]) -> list[AbstractSet[str]]:
    """Up to six groups of speakers, even in gender and clips."""
    num_clips = Counter(speaker_of(clip) for clip in clips)
    if len(num_clips) < LEAST_SPEAKERS:
        raise DataError(
            f"speaker-disjoint folds need at least {LEAST_SPEAKERS} speakers, "
            f"there are {len(num_clips)}"
        )
    genders = {speaker_of(clip): clip.gender or "unknown" for clip in clips}
    line = sorted(num_clips, key=lambda speaker: (genders[speaker], -num_clips[speaker], speaker))
    num_folds = min(NUM_SPEAKER_FOLDS, len(line))
    return [set(line[index::num_folds]) for index in range(num_folds)]


def _find_recordings(clips: Sequence[Clip]) -> dict[str, Clip]:
    """By clip_id, the first clip of the same recording.

    Two clips are of one if they share their audio or their parent, directly or by way of others.
    """
    from scipy.cluster.hierarchy import DisjointSet

    recordings = DisjointSet(clip.clip_id for clip in clips)
    seen: dict[str, str] = {}
    for clip in clips:
        for trait in (f"audio {clip.audio_sha256}", f"parent {clip.parent or clip.clip_id}"):
            recordings.merge(seen.setdefault(trait, clip.clip_id), clip.clip_id)
    first: dict[str, Clip] = {}
    for clip in clips:
        first.setdefault(recordings[clip.clip_id], clip)
    return {clip.clip_id: first[recordings[clip.clip_id]] for clip in clips}


def _shuffled(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()

from collections import Counter
from itertools import chain

import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from ssl_audio.data.corpora.ravdess import EMOTIONS, Ravdess, parse_clip
from ssl_audio.data.dealing import ROW_COLUMNS
from ssl_audio.data.folds import Folds
from ssl_audio.data.manifest import Clip
from ssl_audio.data.ravdess_splits import EMOBOX_TEST_ACTORS, emobox6
from ssl_audio.data.splits import build_folds, dedup5, random5_leaky, speakers6
from ssl_audio.errors import DataError

ACTORS = [f"{actor:02d}" for actor in range(1, 25)]


def ravdess_speech():
    """All 1440 published clips."""
    return [
        parse_clip(f"03-01-{emotion:02d}-0{intensity}-0{statement}-0{repetition}-{actor}.wav")
        for actor in ACTORS
        for emotion in range(1, 9)
        for intensity in ((1,) if emotion == 1 else (1, 2))
        for statement in (1, 2)
        for repetition in (1, 2)
    ]


def make_clips(num_speakers, per_class=2, classes=("a", "b", "c"), gender_of=lambda number: None):
    return [
        Clip(
            clip_id=f"s{speaker:02d}-{emotion}-{number}",
            path="",
            speaker=f"s{speaker:02d}",
            gender=gender_of(speaker),
            emotion=emotion,
            audio_sha256=f"{speaker}{emotion}{number}",
        )
        for speaker in range(num_speakers)
        for emotion in classes
        for number in range(per_class)
    ]


def speakers_of(clips, ids):
    by_id = {clip.clip_id: clip for clip in clips}
    return {by_id[clip_id].speaker for clip_id in ids}


def assert_partition(folds, clips):
    """Each fold holds every clip once; over the folds, each clip is tested once."""
    everything = sorted(clip.clip_id for clip in clips)
    for fold in folds.folds:
        assert sorted(chain(fold.train, fold.validation, fold.test)) == everything
        for part in (fold.train, fold.validation, fold.test):
            assert part == tuple(sorted(part)) and part
    assert sorted(chain(*(fold.test for fold in folds.folds))) == everything


def assert_speaker_disjoint(folds, clips):
    for fold in folds.folds:
        train, validation, test = (
            speakers_of(clips, part) for part in (fold.train, fold.validation, fold.test)
        )
        assert not train & validation and not train & test and not validation & test


def test_emobox6_is_the_published_list():
    clips = ravdess_speech()
    assert len(clips) == 1440
    (folds,) = Ravdess().build_folds(clips)
    assert folds.protocol == "ravdess-speech-8/emobox6"
    assert folds.classes == EMOTIONS
    assert_partition(folds, clips)
    assert_speaker_disjoint(folds, clips)
    for fold, actors in zip(folds.folds, EMOBOX_TEST_ACTORS, strict=True):
        assert speakers_of(clips, fold.test) == set(actors)
        assert (len(fold.train), len(fold.validation), len(fold.test)) == (960, 240, 240)


def test_emobox6_validates_each_actor_once_two_of_each_gender():
    clips = ravdess_speech()
    counts = Counter()
    for fold in emobox6("ravdess-speech", clips, EMOTIONS).folds:
        actors = speakers_of(clips, fold.validation)
        assert sum(int(actor) % 2 for actor in actors) == 2 and len(actors) == 4
        counts.update(actors)
    assert counts == dict.fromkeys(ACTORS, 1)


def test_emobox6_never_changes():
    """Stored results hang on it."""
    validated = [
        sorted(speakers_of(ravdess_speech(), fold.validation))
        for fold in emobox6("ravdess-speech", ravdess_speech(), EMOTIONS).folds
    ]
    assert validated == [
        ["09", "12", "14", "19"],
        ["03", "08", "23", "24"],
        ["02", "05", "07", "16"],
        ["06", "13", "15", "18"],
        ["01", "17", "20", "22"],
        ["04", "10", "11", "21"],
    ]


def test_emobox6_needs_every_actor():
    clips = [clip for clip in ravdess_speech() if clip.speaker not in ("03", "17")]
    with pytest.raises(DataError, match="needs all 24 actors, without clips are 03, 17"):
        emobox6("ravdess-speech", clips, EMOTIONS)
    (folds,) = Ravdess().build_folds(clips)
    assert folds.protocol == "ravdess-speech-8/speakers6"
    assert_partition(folds, clips)
    assert_speaker_disjoint(folds, clips)


def test_songs_are_in_no_fold():
    songs = [parse_clip(f"03-02-03-01-01-01-{actor}.wav") for actor in ACTORS]
    (folds,) = Ravdess().build_folds([*ravdess_speech(), *songs])
    assert_partition(folds, ravdess_speech())
    with pytest.raises(DataError, match="no clip has a label"):
        Ravdess().build_folds(songs)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["female", "male", None]), st.integers(1, 4)), min_size=6)
)
def test_speakers6_is_disjoint_and_even(voices):
    clips = [
        Clip(clip_id=f"{n}-{e}-{k}", path="", speaker=f"{n:03d}", gender=gender, emotion=e)
        for n, (gender, count) in enumerate(voices)
        for e in ("a", "b")
        for k in range(count)
    ]
    folds = build_folds("some", clips)
    assert folds.protocol == "some-2/speakers6"
    assert_partition(folds, clips)
    assert_speaker_disjoint(folds, clips)
    for values in (["female"], ["male"], ["female", "male", None]):
        ids = {f"{n:03d}" for n, (gender, _) in enumerate(voices) if gender in values}
        tested = [len(speakers_of(clips, fold.test) & ids) for fold in folds.folds]
        assert max(tested) - min(tested) <= 1
    validated = Counter(chain(*(speakers_of(clips, fold.validation) for fold in folds.folds)))
    assert set(validated.values()) == {1} and len(validated) == len(voices)


@pytest.mark.parametrize("num_speakers", [3, 4, 5, 6, 7])
def test_few_speakers_get_a_fold_each(num_speakers):
    clips = make_clips(num_speakers)
    folds = build_folds("some", clips)
    num_folds = min(num_speakers, 6)
    assert folds.protocol == f"some-3/speakers{num_folds}" and len(folds.folds) == num_folds
    assert_partition(folds, clips)
    assert_speaker_disjoint(folds, clips)


def test_speakers6_spreads_talkative_speakers():
    clips = make_clips(12, per_class=1) + [
        Clip(clip_id=f"more-{s}-{k}", path="", speaker=f"s{s:02d}", emotion="a")
        for s in range(0, 12, 2)
        for k in range(30)
    ]
    sizes = [len(fold.test) for fold in speakers6("some", clips).folds]
    assert len(set(sizes)) == 1


def test_speakers6_leaves_unknown_speakers_and_unlabelled_clips_out():
    known = make_clips(7)
    others = [
        Clip(clip_id="nobody", path="", emotion="a"),
        Clip(clip_id="unlabelled", path="", speaker="s01"),
    ]
    assert_partition(build_folds("some", known + others), known)


def test_folds_do_not_depend_on_the_order_of_clips():
    clips = make_clips(9)
    nameless = [
        Clip(clip_id=c.clip_id, path="", emotion=c.emotion, audio_sha256=c.clip_id) for c in clips
    ]
    for some in (clips, nameless):
        assert build_folds("some", some) == build_folds("some", some[::-1])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), min_size=15, max_size=90))
def test_dedup5_keeps_identical_audio_together_and_is_stratified(pairs):
    recordings = {}
    for emotion, audio in pairs:
        recordings.setdefault(f"{audio:03d}", emotion)
    assume(min(Counter(recordings.values()).values()) >= 5 and len(set(recordings.values())) > 1)
    clips = [
        Clip(
            clip_id=str(n), path="", emotion=recordings[f"{audio:03d}"], audio_sha256=f"{audio:03d}"
        )
        for n, (_, audio) in enumerate(pairs)
    ]
    folds = build_folds("some", clips)
    assert folds.protocol.endswith("/dedup5") and len(folds.folds) == 5
    assert_partition(folds, clips)
    audio_of = {clip.clip_id: clip.audio_sha256 for clip in clips}
    for fold in folds.folds:
        parts = [{audio_of[i] for i in part} for part in (fold.train, fold.validation, fold.test)]
        assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    for emotion in set(recordings.values()):
        tested = [
            sum(recordings[audio] == emotion for audio in {audio_of[i] for i in fold.test})
            for fold in folds.folds
        ]
        assert max(tested) - min(tested) <= 1


def nameless(emotion, count):
    return [
        Clip(clip_id=f"{emotion}{n}", path="", emotion=emotion, audio_sha256=f"{emotion}{n}")
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ([], "no clip has a label"),
        ([Clip(clip_id="x", path="")], "no clip has a label"),
        (make_clips(2), "at least 3 speakers, there are 2"),
        (make_clips(6, classes=("a|b", "c")), r"class 'a\|b': a name must not hold '\|'"),
        *(
            (make_clips(6, classes=("a", name)), f"class '{name}': predictions have a column")
            for name in ROW_COLUMNS
        ),
        (make_clips(6, classes=("a",)), "at least 2 classes, got a"),
        (
            [*make_clips(6), Clip(clip_id="x", path="", speaker="s00", emotion="rare")],
            "class 'rare' has no training clip in fold 1 of speakers6",
        ),
        (
            nameless("often", 20) + nameless("rare", 4),
            "class 'rare' has 4 different recordings, 5 folds need at least 5",
        ),
    ],
)
def test_too_little_for_folds(clips, message):
    with pytest.raises(DataError, match=message):
        build_folds("some", clips)


def test_copies_do_not_count_as_recordings():
    copies = [
        Clip(clip_id=f"copy{n}", path="", emotion="rare", audio_sha256="same") for n in range(9)
    ]
    with pytest.raises(DataError, match="class 'rare' has 1 different recordings"):
        dedup5("some", nameless("often", 20) + copies)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=60, max_size=60))
def test_dedup5_keeps_the_segments_of_a_recording_together(audio):
    """Thirty recordings of two segments; some segments sound the same as others."""
    clips = [
        Clip(
            clip_id=f"{n // 2:02d}@{n % 2:06d}.00",
            path="",
            emotion="ab"[n // 2 % 2],
            parent=f"{n // 2:02d}",
            audio_sha256=f"same{sound}" if sound < 3 else f"{n}",
        )
        for n, sound in enumerate(audio)
    ]
    try:
        folds = dedup5("some", clips)
    except DataError:
        reject()
    assert_partition(folds, clips)
    by_id = {clip.clip_id: clip for clip in clips}
    for fold in folds.folds:
        for trait in ("parent", "audio_sha256"):
            parts = [
                {getattr(by_id[clip_id], trait) for clip_id in part}
                for part in (fold.train, fold.validation, fold.test)
            ]
            assert sum(map(len, parts)) == len(set.union(*parts))


def test_segments_do_not_count_as_recordings():
    segments = [
        Clip(clip_id=f"x@{n:06d}.00", path="", emotion="rare", parent="x", audio_sha256=f"{n}")
        for n in range(9)
    ]
    with pytest.raises(DataError, match="class 'rare' has 1 different recordings"):
        dedup5("some", nameless("often", 20) + segments)


def test_random5_leaks_speakers_and_trains_on_as_much_as_emobox6():
    clips = ravdess_speech()
    folds = random5_leaky("ravdess-speech", clips, EMOTIONS)
    assert folds.protocol == "ravdess-speech-8/random5-LEAKY"
    assert_partition(folds, clips)
    for fold in folds.folds:
        assert (len(fold.train), len(fold.validation), len(fold.test)) == (960, 192, 288)
        assert speakers_of(clips, fold.test) <= speakers_of(clips, fold.train)
    assert folds == random5_leaky("ravdess-speech", clips, EMOTIONS)
    assert folds != random5_leaky("ravdess-speech", clips, EMOTIONS, seed=1)


def test_saved_folds_load_equal(tmp_path):
    folds = build_folds("some", make_clips(8))
    folds.save(tmp_path / "f.csv")
    assert Folds.load(tmp_path / "f.csv") == folds

"""Every protocol's file: counts, disjoint speakers, classes; from names alone, without audio."""

from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from ssl_audio.config import build_config
from ssl_audio.data.corpora import emodb, hackerearth, joined
from ssl_audio.data.corpora.ravdess import EMOTIONS, parse_clip
from ssl_audio.data.folds import Fold, Folds
from ssl_audio.data.manifest import Clip
from ssl_audio.data.prepare import prepare
from ssl_audio.data.prepared import PreparedCorpus, fingerprint, folds_path
from ssl_audio.data.protocols import Protocol, load_protocol, open_protocol, protocol_path
from ssl_audio.errors import ConfigError, DataError, UserError

FOLDER = Path(__file__).resolve().parents[3] / "configs" / "protocols"
NAMES = (
    "ravdess-speech-8/emobox6",
    "ravdess-speech-7/emobox6",
    "ravdess-speech-6/emobox6",
    "ravdess-speech-4/emobox6",
    "ravdess-speech-8/loso24",
    "ravdess-gender-emotion-10/balanced6",
    "ravdess-gender-emotion-16/balanced6",
    "ravdess-speech-8/text+speaker",
    "ravdess-multilabel/emobox6",
    "hackerearth-7/dedup5",
    "emodb-4/loso10",
    "cross/ravdess->emodb-4",
    "cross/emodb-4->ravdess",
    "cross/ravdess->hackerearth-4",
    "ravdess-speech-8/random5-LEAKY",
)
FINGERPRINTS = {
    "ravdess-speech-8/emobox6": "2e0a3b916e32",
    "ravdess-speech-8/loso24": "7a6b953dd34e",
    "ravdess-gender-emotion-10/balanced6": "98fe367e2d29",
    "ravdess-gender-emotion-16/balanced6": "f775c9dcea01",
    "ravdess-speech-8/text+speaker": "c090fd57f8d4",
    "ravdess-multilabel/emobox6": "a69e3317f0ec",
}
ANGER_AND_NEUTRAL = {"corpus": "emodb", "emotions": {"anger": "anger", "neutral": "neutral"}}
COMMON = ("angry", "happy", "neutral", "sad")


def corpus_of(name, clips):
    clips = sorted(clips, key=lambda clip: clip.clip_id)
    return PreparedCorpus(
        root=Path(name),
        name=name,
        clips=tuple(clips),
        num_samples=np.arange(1, len(clips) + 1),
        fingerprint=fingerprint(clips),
        views=tuple(np.full(3, place, np.int16) for place in range(len(clips))),
    )


def ravdess_clips():
    """Speech and song, as published: 1440 and 1012."""
    for actor in range(1, 25):
        for channel in (1, 2):
            if (channel, actor) == (2, 18):
                continue
            for emotion in range(1, 9 if channel == 1 else 7):
                for strength in (1,) if emotion == 1 else (1, 2):
                    for take in ("01-01", "01-02", "02-01", "02-02"):
                        name = f"03-0{channel}-0{emotion}-0{strength}-{take}-{actor:02d}"
                        yield parse_clip(f"{name}.wav")


def emodb_clips():
    """As many of each emotion as there are, dealt to the ten speakers; and some of a fifth."""
    speakers = ("03", *(f"{number:02d}" for number in range(8, 17)))
    for letter, count in {"W": 127, "F": 71, "N": 79, "T": 62, "A": 20}.items():
        for number in range(count):
            text, version = f"a{number // 10 % 100:02d}", "abcdefghij"[number % 10]
            yield emodb.parse_clip(f"{speakers[number % 10]}{text}{letter}{version}.wav")


def hackerearth_clips():
    """5816 labelled clips, every twelfth a copy of the one before; and unlabelled ones."""
    counts = dict(anger=596, disgust=311, fear=328, joy=967, neutral=2630, sadness=344)
    for emotion, count in {**counts, "surprise": 640, None: 100}.items():
        for number in range(count):
            split = "train" if emotion else "test"
            name = f"{split.capitalize()}AudioFiles/{emotion}{number}"
            original = number - (number % 12 == 11)
            yield Clip(
                clip_id=name,
                path=f"{name}.mp3",
                emotion=emotion,
                split=split,
                audio_sha256=f"{emotion}{original}",
            )


@pytest.fixture(scope="module")
def corpora():
    ravdess = list(ravdess_clips())
    assert Counter(clip.split for clip in ravdess) == {"speech": 1440, "song": 1012}
    groups = joined.join([clip for clip in ravdess if clip.split == "speech"])
    return [
        corpus_of("ravdess", ravdess),
        corpus_of("emodb", emodb_clips()),
        corpus_of("hackerearth", hackerearth_clips()),
        corpus_of("joined", map(joined.to_clip, groups)),
    ]


@pytest.fixture(scope="module")
def opened(corpora):
    return {name: open_protocol(name, corpora, FOLDER) for name in NAMES}


def sizes(folds):
    return [(len(fold.train), len(fold.validation), len(fold.test)) for fold in folds.folds]


def test_every_protocol_has_its_file_and_no_other():
    files = sorted(FOLDER.iterdir())
    assert files == sorted(protocol_path(FOLDER, name) for name in NAMES)
    for file in files:
        assert protocol_path(FOLDER, load_protocol(file).name) == file


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ravdess-speech-8/emobox6", [(960, 240, 240)] * 6),
        ("ravdess-speech-7/emobox6", [(960, 240, 240)] * 6),
        ("ravdess-speech-6/emobox6", [(768, 192, 192)] * 6),
        ("ravdess-speech-4/emobox6", [(448, 112, 112)] * 6),
        ("ravdess-gender-emotion-10/balanced6", [(640, 160, 160)] * 6),
        ("ravdess-gender-emotion-16/balanced6", [(960, 240, 240)] * 6),
        ("ravdess-speech-8/text+speaker", [(480, 120, 120)] * 12),
        ("ravdess-multilabel/emobox6", [(384, 96, 96)] * 6),
        ("ravdess-speech-8/random5-LEAKY", [(960, 192, 288)] * 5),
        ("cross/ravdess->emodb-4", [(560, 112, 339)]),
        ("cross/ravdess->hackerearth-4", [(560, 112, 4537)]),
    ],
)
def test_exact_counts(name, expected, opened):
    assert sizes(opened[name].folds) == expected


def test_exact_counts_where_folds_differ(opened):
    loso24 = sizes(opened["ravdess-speech-8/loso24"].folds)
    assert len(loso24) == 24
    assert {(train + validation, test) for train, validation, test in loso24} == {(1380, 60)}
    assert {validation for _, validation, _ in loso24} == {240, 300}
    loso10 = opened["emodb-4/loso10"].folds
    assert len(loso10.folds) == 10
    assert all(sum(size) == 339 for size in sizes(loso10))
    ((train, validation, test),) = sizes(opened["cross/emodb-4->ravdess"].folds)
    assert (train + validation, test) == (339, 672)
    dedup5 = opened["hackerearth-7/dedup5"].folds
    assert len(dedup5.folds) == 5
    assert all(sum(size) == 5816 for size in sizes(dedup5))


@pytest.mark.parametrize("name", NAMES)
def test_speakers_classes_and_clips(name, opened):
    """No speaker on two sides (but where the name says so), every class in every training part."""
    corpus, folds = opened[name].corpus, opened[name].folds
    clips = {clip.clip_id: clip for clip in corpus.clips}
    assert folds.protocol == name
    assert set(folds.clip_ids) == set(clips)
    for fold in folds.folds:
        parts = [fold.train, fold.validation, fold.test]
        assert not set(parts[0]) & set(parts[1]) and not set(chain(*parts[:2])) & set(parts[2])
        speakers = [{clips[i].speaker for i in part} - {None} for part in parts]
        shared = (speakers[0] | speakers[1]) & speakers[2] or speakers[0] & speakers[1]
        assert bool(shared) == name.endswith("-LEAKY")
        for part in parts[:2]:
            assert {emotion for i in part for emotion in clips[i].emotions} == set(folds.classes)
    tested = Counter(chain(*(fold.test for fold in folds.folds)))
    assert set(tested.values()) == {1}
    if not name.startswith("cross/"):
        assert set(tested) == set(clips)


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("ravdess-speech-8/emobox6", EMOTIONS),
        ("ravdess-speech-7/emobox6", ("neutral", *EMOTIONS[2:])),
        ("ravdess-speech-6/emobox6", EMOTIONS[2:]),
        ("ravdess-speech-4/emobox6", COMMON),
        ("ravdess-multilabel/emobox6", EMOTIONS),
        ("emodb-4/loso10", ("anger", "happiness", "neutral", "sadness")),
        *((name, COMMON) for name in NAMES if name.startswith("cross/")),
        (
            "ravdess-gender-emotion-16/balanced6",
            tuple(f"{gender}_{emotion}" for gender in ("male", "female") for emotion in EMOTIONS),
        ),
    ],
)
def test_classes_in_their_order(name, classes, opened):
    assert opened[name].folds.classes == classes


def test_development_corpora_are_marked(opened):
    marked = {name for name in NAMES if opened[name].development}
    assert marked == {
        "hackerearth-7/dedup5",
        "emodb-4/loso10",
        "cross/ravdess->emodb-4",
        "cross/ravdess->hackerearth-4",
    }


def test_tasks(opened):
    tasks = {name: opened[name].folds.task for name in NAMES}
    assert {name for name, task in tasks.items() if task == "multilabel"} == {
        "ravdess-multilabel/emobox6"
    }
    assert {name for name, task in tasks.items() if task == "gender-emotion"} == {
        "ravdess-gender-emotion-10/balanced6",
        "ravdess-gender-emotion-16/balanced6",
    }


def test_fewer_classes_are_told_of_the_same_actors(opened):
    whole = opened["ravdess-speech-8/emobox6"].folds
    for count in (7, 6, 4):
        opening = opened[f"ravdess-speech-{count}/emobox6"]
        known = set(opening.folds.clip_ids)
        assert len(opening.folds.classes) == count
        for fold, of_eight in zip(opening.folds.folds, whole.folds, strict=True):
            for part in ("train", "validation", "test"):
                assert set(getattr(fold, part)) == known & set(getattr(of_eight, part))
    merged = opened["ravdess-speech-7/emobox6"].corpus.clips
    assert Counter(clip.emotion for clip in merged)["neutral"] == 288


def test_balanced6_tests_two_men_and_two_women_in_order(opened):
    corpus = opened["ravdess-gender-emotion-16/balanced6"].corpus
    folds = opened["ravdess-gender-emotion-16/balanced6"].folds
    clips = {clip.clip_id: clip for clip in corpus.clips}
    for number, fold in enumerate(folds.folds):
        actors = sorted({int(clips[i].speaker) for i in fold.test})
        assert actors == list(range(4 * number + 1, 4 * number + 5))
        assert Counter(clips[i].emotion.split("_")[0] for i in fold.test) == {
            "male": 120,
            "female": 120,
        }


def test_text_and_speaker_are_both_unseen(opened):
    opening = opened["ravdess-speech-8/text+speaker"]
    clips = {clip.clip_id: clip for clip in opening.corpus.clips}
    for fold in opening.folds.folds:
        learnt = {clips[i].text for i in (*fold.train, *fold.validation)}
        tested = {clips[i].text for i in fold.test}
        assert len(learnt) == len(tested) == 1 and learnt != tested


@pytest.mark.parametrize("name", ["ravdess-speech-8/loso24", "emodb-4/loso10"])
def test_inner_folds_hold_each_other_speaker_once(name, opened):
    corpus, folds = opened[name].corpus, opened[name].folds
    clips = {clip.clip_id: clip for clip in corpus.clips}
    for fold in folds.folds:
        assert len({clips[i].speaker for i in fold.test}) == 1
        assert len(fold.inner) == 5 and fold.validation in fold.inner
        assert sorted(chain(*fold.inner)) == sorted((*fold.train, *fold.validation))
        speakers = [{clips[i].speaker for i in group} for group in fold.inner]
        assert sum(map(len, speakers)) == len(set.union(*speakers))
        assert max(map(len, speakers)) - min(map(len, speakers)) <= 1
        for group in fold.inner:
            assert {clips[i].emotion for i in group} == set(folds.classes)


def test_dedup5_keeps_copies_together_and_classes_even(opened):
    corpus, folds = opened["hackerearth-7/dedup5"].corpus, opened["hackerearth-7/dedup5"].folds
    clips = {clip.clip_id: clip for clip in corpus.clips}
    where = {}
    for fold in folds.folds:
        for clip_id in fold.test:
            audio = clips[clip_id].audio_sha256
            assert where.setdefault(audio, fold.number) == fold.number
    assert len(where) < 5816
    for emotion in folds.classes:
        shares = [sum(clips[i].emotion == emotion for i in f.test) for f in folds.folds]
        assert max(shares) - min(shares) <= 0.15 * np.mean(shares)


def test_a_joined_clip_is_of_one_actor_with_different_emotions_and_reuses_nothing(corpora):
    names = []
    for clip in corpora[3].clips:
        parts = [parse_clip(name) for name in clip.clip_id.split("+")]
        names += [part.clip_id for part in parts]
        assert {part.speaker for part in parts} == {clip.speaker}
        assert clip.emotions == tuple(part.emotion for part in parts)
        assert len(set(clip.emotions)) == len(parts) in (2, 3)
    assert len(names) == len(set(names)) == 1440
    assert Counter(len(clip.emotions) for clip in corpora[3].clips) == {2: 288, 3: 288}


def test_speakers_of_two_corpora_are_different_people(opened):
    speakers = {clip.speaker for clip in opened["cross/ravdess->emodb-4"].corpus.clips}
    assert {"ravdess:03", "emodb:03"} <= speakers and "03" not in speakers


def test_the_published_actors_stand_in_the_file(opened):
    """The published list, typed here once more."""
    clips = {clip.clip_id: clip for clip in opened[NAMES[0]].corpus.clips}
    tested = [
        " ".join(sorted({clips[i].speaker for i in fold.test}))
        for fold in opened[NAMES[0]].folds.folds
    ]
    assert tested == [
        *("01 11 20 21", "04 10 12 14", "08 09 19 23"),
        *("03 05 07 24", "02 15 16 18", "06 13 17 22"),
    ]


def test_folds_never_change(opened):
    """Stored results hang on them: a fingerprint is over every fold, part and name."""
    known = {name: opened[name].folds.fingerprint[:12] for name in FINGERPRINTS}
    assert known == FINGERPRINTS


def test_order_of_clips_decides_nothing(corpora, opened):
    backwards = [
        PreparedCorpus(c.root, c.name, c.clips[::-1], c.num_samples[::-1], "", c.views[::-1])
        for c in corpora
    ]
    for name in NAMES:
        assert open_protocol(name, backwards, FOLDER).folds == opened[name].folds


def test_views_follow_their_clips(corpora, opened):
    by_id = {
        clip.clip_id: view[0] for c in corpora for clip, view in zip(c.clips, c.views, strict=True)
    }
    for name in NAMES:
        corpus = opened[name].corpus
        assert [view[0] for view in corpus.views] == [by_id[c.clip_id] for c in corpus.clips]


@pytest.mark.parametrize("name", NAMES)
def test_saved_folds_load_equal(name, opened, tmp_path):
    opened[name].folds.save(tmp_path / "f.csv")
    assert Folds.load(tmp_path / "f.csv") == opened[name].folds


def test_folds_of_the_corpus_itself_and_of_a_file_still_count(corpora, opened, tmp_path):
    folds = opened["emodb-4/loso10"].folds
    (tmp_path / "folds").mkdir()
    mine = Folds("mine-4/x", folds.classes, folds.folds)
    mine.save(folds_path(tmp_path, "mine-4/x"))
    own = PreparedCorpus(tmp_path, "emodb", *[getattr(corpora[1], f) for f in FIELDS])
    assert open_protocol("mine-4/x", [own], FOLDER).folds == mine
    assert open_protocol(str(folds_path(tmp_path, "mine-4/x")), [own], FOLDER).folds == mine
    by_path = open_protocol(str(protocol_path(FOLDER, "emodb-4/loso10")), [own], FOLDER)
    assert by_path.folds == folds


FIELDS = ("clips", "num_samples", "fingerprint", "views")


def test_what_can_not_be_opened(corpora, tmp_path):
    with pytest.raises(UserError, match="a prepared emodb is needed, got ravdess"):
        open_protocol("cross/ravdess->emodb-4", corpora[:1], FOLDER)
    with pytest.raises(UserError, match=r"no/such is no protocol .* cross/emodb-4->ravdess"):
        open_protocol("no/such", corpora, FOLDER)
    with pytest.raises(DataError, match="no/such is neither a folds file .*-8/loso24"):
        open_protocol("no/such", corpora[:1], FOLDER)
    with pytest.raises(ConfigError, match="nowhere.yaml"):
        open_protocol(str(tmp_path / "nowhere.yaml"), corpora, FOLDER)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scheme": "magic"}, "scheme 'magic' is unknown: choose one of emobox6"),
        ({"classes": ("anger", "neutral", "bliss")}, "no clips of class bliss"),
        ({"sources": [{"corpus": "emodb"}]}, "is 'fear', which is no class: say with emotions"),
        ({"sources": [{"corpus": "emodb", "split": "song"}]}, "no clip that it could use"),
        ({"sources": [ANGER_AND_NEUTRAL] * 2}, "two corpora hold clips of the same name"),
    ],
)
def test_protocols_that_do_not_fit(change, message, corpora):
    values = {
        "name": "x/y",
        "sources": [ANGER_AND_NEUTRAL],
        "classes": ("anger", "neutral"),
        "scheme": "leave-one-speaker-out",
    }
    with pytest.raises(UserError, match=message):
        build_config(Protocol, {**values, **change}).apply(corpora)


def test_gender_emotion_needs_genders():
    clips = [Clip(clip_id=str(n), path="", speaker=str(n), emotion="a") for n in range(9)]
    source = {"name": "x/y", "task": "gender-emotion", "sources": [{"corpus": "csv"}]}
    protocol = build_config(Protocol, {**source, "classes": ("male_a", "female_a")})
    with pytest.raises(DataError, match="gender of clip 0 is unknown"):
        protocol.apply([corpus_of("csv", clips)])


@pytest.mark.real_data
def test_real_corpora_give_the_same_folds(real_data, tmp_path, opened, corpora):
    """The files beside the project are the published ones."""
    prepare("emodb", real_data / "emodb", tmp_path / "emodb")
    emo = PreparedCorpus.load(tmp_path / "emodb")
    loso10 = open_protocol("emodb-4/loso10", [emo], FOLDER)
    assert sum(len(fold.test) for fold in loso10.folds.folds) == 339
    assert Counter(clip.emotion for clip in loso10.corpus.clips) == {
        "anger": 127,
        "happiness": 71,
        "neutral": 79,
        "sadness": 62,
    }
    cross = open_protocol("cross/ravdess->emodb-4", [corpora[0], emo], FOLDER)
    assert sizes(cross.folds) == [(560, 112, 339)]
    cross = open_protocol("cross/emodb-4->ravdess", [corpora[0], emo], FOLDER)
    assert sizes(cross.folds) == [(262, 77, 672)]


@pytest.mark.real_data
def test_the_competitions_table_and_folders(real_data):
    listing = hackerearth.HackerEarth().read(real_data / "hackerearth", {})
    assert len(listing.clips) == 8308 and not listing.quarantined
    counts = Counter(clip.emotion for clip in listing.clips)
    assert counts == {
        None: 2492,
        **dict(anger=596, disgust=311, fear=328, joy=967, neutral=2630, sadness=344, surprise=640),
    }


def test_how_much_is_tested_for_what_is_learnt_from():
    first = Fold(1, train=("a", "b"), validation=("c",), test=("d", "e", "f"))
    second = Fold(2, train=("d", "e"), validation=(), test=("a",))
    assert Folds("x/y", ("p", "q"), (first, second)).test_to_train == pytest.approx(0.75)
    # A list of folds may name the test clips alone.
    tests_alone = Fold(3, train=(), validation=(), test=("a",))
    assert Folds("x/y", ("p", "q"), (first, tests_alone)).test_to_train is None

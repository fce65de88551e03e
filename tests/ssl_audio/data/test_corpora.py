import doctest
import shutil
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_audio.data.corpora import CORPORA, emodb, files, guess_corpus, ravdess, tables
from ssl_audio.data.corpora.files import choose_ids
from ssl_audio.data.corpora.ravdess import EMOTIONS, is_name, parse_clip
from ssl_audio.data.manifest import Clip
from ssl_audio.data.prepare import prepare
from ssl_audio.data.prepared import PreparedCorpus, write_corpus
from ssl_audio.errors import DataError, UserError


def read(name, source, **columns):
    return CORPORA[name].read(source, columns)


def zip_up(folder, archive):
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder).as_posix())


def test_ravdess_name():
    clip = parse_clip("a/b/03-02-06-01-02-02-07.WAV")
    assert clip.clip_id == "03-02-06-01-02-02-07"
    assert (clip.speaker, clip.gender, clip.emotion) == ("07", "male", "fearful")
    assert (clip.intensity, clip.text, clip.repetition, clip.split) == (
        "normal",
        "02",
        "02",
        "song",
    )


def test_docstring_examples():
    assert doctest.testmod(ravdess) == (0, 2)
    assert doctest.testmod(emodb) == (0, 2)
    assert doctest.testmod(files) == (0, 1)
    assert doctest.testmod(tables) == (0, 1)


def test_ravdess_emotions_follow_the_published_numbers():
    numbered = [parse_clip(f"03-01-{n:02d}-01-01-01-02").emotion for n in range(1, 9)]
    assert tuple(numbered) == EMOTIONS
    assert EMOTIONS[0] == "neutral" and EMOTIONS[-1] == "surprised"


@pytest.mark.parametrize(
    "name",
    [
        "03-01-09-01-01-01-01",
        "03-01-00-01-01-01-01",
        "03-03-01-01-01-01-01",
        "03-01-01-01-01-01-25",
        "03-01-01-01-01-01-00",
        "03-01-01-01-01-01",
        "03-01-01-01-01-01-01 (1)",
        "03-01-01-01-01-01-01-01",
        "happy",
    ],
)
def test_ravdess_refuses_other_names(name):
    assert not is_name(f"Actor_01/{name}.wav")
    with pytest.raises(DataError, match="not a RAVDESS name"):
        parse_clip(f"Actor_01/{name}.wav")


def test_ravdess_reads_the_sound_of_videos_once(tmp_path, write_noise):
    for name in ("03-01-05-01-01-01-03", "01-01-05-01-01-01-03", "01-01-06-01-01-01-03"):
        write_noise(tmp_path / "Actor_03" / f"{name}.wav")
    write_noise(tmp_path / "02-01-05-01-01-01-03.wav")
    (tmp_path / "02-01-05-01-01-01-03.mp4").write_bytes(b"film")
    (tmp_path / "01-01-05-01-01-01-03.MP4").write_bytes(b"film")
    listing = read("ravdess", tmp_path)
    clips = {clip.clip_id: clip for clip in listing.clips}
    assert set(clips) == {"03-01-05-01-01-01-03", "01-01-06-01-01-01-03"}
    assert clips["01-01-06-01-01-01-03"].emotion == "fearful"
    assert {item.path: item.reason for item in listing.quarantined} == {
        "02-01-05-01-01-01-03.wav": "named as a video without sound (02-...)",
        "Actor_03/01-01-05-01-01-01-03.wav": (
            "from a video: same recording as 03-01-05-01-01-01-03"
        ),
    }
    videos, sound = listing.notes
    assert videos == (
        "passed over videos: 2 .mp4; to read their sound, extract it first, e.g. "
        "ffmpeg -i NAME.mp4 -vn NAME.wav"
    )
    assert sound.startswith("1 clips are the sound of videos (01-...)")


def test_ravdess_zips_in_folders_and_one_of_them_broken(tmp_path, write_noise, ravdess_names):
    for name in ravdess_names([3]):
        write_noise(tmp_path / "in" / f"{name}.wav")
    (tmp_path / "all" / "deep").mkdir(parents=True)
    zip_up(tmp_path / "in", tmp_path / "all" / "deep" / "Audio_Speech_Actors_01-24.zip")
    (tmp_path / "all" / "Audio_Song_Actors_01-24.zip").write_bytes(b"PK half a download")
    listing = read("ravdess", tmp_path / "all")
    assert len(listing.clips) == 8
    assert listing.clips[0].path.startswith("deep/Audio_Speech_Actors_01-24.zip::03-01-")
    ((path, reason),) = [(item.path, item.reason) for item in listing.quarantined]
    assert path == "Audio_Song_Actors_01-24.zip" and "download it again" in reason


def test_ravdess_folder_flat_nested_and_deep(tmp_path, write_noise, ravdess_names):
    places = ("", "Actor_02/", "x/y/Actor_03/")
    for actor, place in enumerate(places, 1):
        for name in ravdess_names([actor]):
            write_noise(tmp_path / f"{place}{name}.wav")
    write_noise(tmp_path / "Actor_02" / "warm-up.wav")
    write_noise(tmp_path / "Actor_02" / ".hidden.wav")
    (tmp_path / "licence.txt").write_text("free")
    listing = read("ravdess", tmp_path)
    assert sorted(clip.clip_id for clip in listing.clips) == sorted(ravdess_names([1, 2, 3]))
    assert [item.path for item in listing.quarantined] == ["Actor_02/warm-up.wav"]
    assert listing.notes == ("passed over files that are not audio: 1 .txt",)


def test_ravdess_zips_give_the_folder_s_audio(tmp_path, write_noise, ravdess_names):
    speech, song, both = tmp_path / "speech", tmp_path / "song", tmp_path / "both"
    both.mkdir()
    for folder, channel in ((speech, "01"), (song, "02")):
        for name in ravdess_names([1, 2], channel):
            write_noise(folder / f"Actor_{name[-2:]}" / f"{name}.wav", sample_rate=48_000)
    zip_up(speech, both / "Audio_Speech_Actors_01-24.zip")
    zip_up(song, both / "Audio_Song_Actors_01-24.zip")

    from_zip = read("ravdess", both / "Audio_Speech_Actors_01-24.zip")
    assert len(from_zip.clips) == 16
    from_folder = {clip.clip_id: clip for clip in read("ravdess", speech).clips}
    loose = read("ravdess", speech)
    for clip in from_zip.clips:
        assert clip.path == (
            f"Audio_Speech_Actors_01-24.zip::Actor_{clip.speaker}/{clip.clip_id}.wav"
        )
        ((measured, samples),) = from_zip.decode(clip)
        ((other, same),) = loose.decode(from_folder[clip.clip_id])
        assert (samples == same).all() and len(samples) == 800
        assert measured.source_sample_rate == other.source_sample_rate == 48_000

    listing = read("ravdess", both)
    assert sum(clip.split == "song" for clip in listing.clips) == 16
    assert len(listing.clips) == 32
    assert any("16 clips are songs" in note for note in listing.notes)


def test_ravdess_loose_files_win_over_zips(tmp_path, write_noise, ravdess_names):
    for name in ravdess_names([1]):
        write_noise(tmp_path / f"{name}.wav")
    (tmp_path / "Audio_Speech_Actors_01-24.zip").write_bytes(b"half a download")
    listing = read("ravdess", tmp_path)
    assert len(listing.clips) == 8
    assert listing.notes == ("passed over files that are not audio: 1 .zip",)


def test_ravdess_list(tmp_path, write_noise, ravdess_names):
    names = list(ravdess_names([4]))
    for name in names:
        write_noise(tmp_path / "audio" / f"{name}.flac")
    list_file = tmp_path / "some.txt"
    list_file.write_text("\n".join(f"audio/{name}.flac" for name in names[:3]) + "\n\n")
    listing = read("ravdess", list_file)
    assert [clip.clip_id for clip in listing.clips] == names[:3]
    ((_, samples),) = listing.decode(listing.clips[0])
    assert len(samples) == 800


def test_a_list_may_name_anything(tmp_path, write_noise, ravdess_names):
    name = ravdess_names([4])[0]
    write_noise(tmp_path / "in" / f"{name}.wav")
    (tmp_path / "some.txt").write_text(f"in/{name}.wav\n./in\\{name}.wav\nin\ngone.wav\na\0b\n")
    listing = read("ravdess", tmp_path / "some.txt")
    assert [clip.clip_id for clip in listing.clips] == [name]
    reasons = {item.path: item.reason for item in listing.quarantined}
    assert reasons.keys() == {"in", "gone.wav", "a\0b"}
    assert (reasons["in"], reasons["gone.wav"]) == ("is a folder", "no such file")


def test_damaged_zips(tmp_path, write_noise, ravdess_names):
    name = ravdess_names([1])[0]
    wav = write_noise(tmp_path / "in" / f"{name}.wav", seconds=1)
    archive = tmp_path / "a.zip"
    zip_up(wav.parent, archive)
    damaged = bytearray(archive.read_bytes())
    damaged[400:420] = bytes(20)
    archive.write_bytes(damaged)
    listing = read("ravdess", archive)
    with pytest.raises(DataError, match="can't be unpacked"):
        list(listing.decode(listing.clips[0]))
    archive.write_bytes(bytes(damaged[:2000]))
    with pytest.raises(UserError, match=r"expected a zip archive.*download it again"):
        read("ravdess", archive)


def test_folder_classes_and_unlabelled(tmp_path, write_noise):
    for path in ("happy/a.wav", "happy/deep/b.flac", "sad/a.wav", "loose.wav"):
        write_noise(tmp_path / path)
    clips = {clip.clip_id: clip.emotion for clip in read("folder", tmp_path).clips}
    assert clips == {"happy/a": "happy", "happy/deep/b": "happy", "sad/a": "sad", "loose": None}


TREES = {
    "splits": (
        {"train/happy/a.wav": ("happy", "train"), "Test/sad/x/b.wav": ("sad", "test")},
        "Test, train are parts of the corpus, the classes are the folders in them",
    ),
    "splits and files": (
        {
            "train/happy/a.wav": ("happy", "train"),
            "dev/b.wav": (None, "dev"),
            "c.wav": (None, None),
        },
        "dev, train are parts",
    ),
    "wrapped": (
        {"data/set/happy/a.wav": ("happy", None), "data/set/sad/b.wav": ("sad", None)},
        "the classes are the folders in data/set",
    ),
    "wrapped splits": (
        {"data/train/happy/a.wav": ("happy", "train"), "data/val/sad/b.wav": ("sad", "val")},
        "train, val are parts",
    ),
    "a class called test": (
        {"test/a.wav": ("test", None), "happy/b.wav": ("happy", None)},
        "",
    ),
    "one class": ({"happy/a.wav": ("happy", None), "happy/deep/b.wav": ("happy", None)}, ""),
}


@pytest.mark.parametrize("name", TREES)
def test_folder_finds_the_level_of_the_classes(name, tmp_path, write_noise):
    expected, note = TREES[name]
    for path in expected:
        write_noise(tmp_path / path)
    listing = read("folder", tmp_path)
    assert {clip.path: (clip.emotion, clip.split) for clip in listing.clips} == expected
    assert note in " ".join(listing.notes) and bool(note) == bool(listing.notes)


CSV_HEADERS = {
    "path,emotion,speaker,gender,text,split": {},
    "Filename,Label,Speaker,GENDER,Text,Split": {},
    "wav,mood,who,sex,said,part": {
        "path": "wav",
        "emotion": "mood",
        "speaker": "who",
        "gender": "sex",
        "text": "said",
        "split": "part",
    },
}


@pytest.mark.parametrize("header", CSV_HEADERS)
def test_csv_columns(header, tmp_path, write_noise):
    for name in ("x/1.wav", "x/2.wav"):
        write_noise(tmp_path / name)
    table = tmp_path / "t.csv"
    table.write_text(f"\ufeff{header}\nx/1.wav,sad,s1,F,hello,train\nx\\2.wav,,,other,,\n")
    first, second = read("csv", table, **CSV_HEADERS[header]).clips
    assert (first.clip_id, first.path, first.emotion) == ("x/1", "x/1.wav", "sad")
    assert (first.speaker, first.gender, first.text, first.split) == (
        "s1",
        "female",
        "hello",
        "train",
    )
    assert (second.clip_id, second.emotion, second.speaker, second.gender) == ("x/2", *[None] * 3)


def test_csv_says_what_it_did_not_find(tmp_path, write_noise):
    write_noise(tmp_path / "1.wav")
    table = tmp_path / "t.csv"
    table.write_text("path,mood,speaker\n1.wav,sad,s1\n")
    (note,) = read("csv", table).notes
    assert note == (
        "emotion unknown: no column emotion or label among path, mood, speaker; "
        "if it has another name, say --map emotion=COLUMN"
    )
    assert read("csv", table, emotion="mood").notes == ()


def test_csv_sets_missing_files_aside(tmp_path, write_noise):
    write_noise(tmp_path / "audio" / "1.wav")
    (tmp_path / "tables").mkdir()
    table = tmp_path / "tables" / "t.csv"
    table.write_text("path,emotion\n../audio/1.wav,sad\n../audio/2.wav,sad\n,sad\n.,sad\n")
    listing = read("csv", table)
    assert [clip.clip_id for clip in listing.clips] == ["../audio/1"]
    ((_, samples),) = listing.decode(listing.clips[0])
    assert len(samples) == 800
    assert [(item.path, item.reason) for item in listing.quarantined] == [
        ("../audio/2.wav", "no such file"),
        ("t.csv, line 4", "names no file"),
        (".", "is a folder"),
    ]


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        (b"", {}, "expected a column path .* got no columns"),
        (b"path,emotion\n", {}, "got no rows"),
        (
            b"name,emotion\na.wav,sad\n",
            {},
            r"expected a column path or filename or file or file_name, got name, emotion: .*"
            r"path=COLUMN .*emotion=COLUMN the label, if it is not called emotion or label",
        ),
        (b"path,emotion\na.wav,sad\n", {"emotion": "Emo"}, "has no column 'Emo', it has path"),
        (b"path,emotion\na\xff.wav,sad\n", {}, "can't be read as CSV in UTF-8"),
    ],
)
def test_csv_mistakes(content, columns, message, tmp_path):
    table = tmp_path / "t.csv"
    table.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read("csv", table, **columns)


@pytest.mark.parametrize("name", ["ravdess", "folder", "csv"])
def test_readers_need_a_source_that_exists(name, tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        read(name, tmp_path / "nowhere")
    with pytest.raises(UserError, match="needs a SOURCE"):
        read(name, None)


@pytest.mark.parametrize("name", ["ravdess", "folder"])
def test_readers_of_folders_refuse_a_file(name, write_noise, tmp_path):
    with pytest.raises(UserError, match="expected a folder"):
        read(name, write_noise(tmp_path / "a.wav"))


def test_guess_corpus(tmp_path, write_noise, ravdess_names):
    for name in ravdess_names([1]):
        write_noise(tmp_path / "ravdess" / f"{name}.wav")
        write_noise(tmp_path / "mixed" / "happy" / f"{name}.wav")
    for number in range(9):
        write_noise(tmp_path / "mixed" / "sad" / f"{number}.wav")
    table = tmp_path / "t.csv"
    table.touch()
    (tmp_path / "zips").mkdir()
    zip_up(tmp_path / "ravdess", tmp_path / "zips" / "Audio_Speech_Actors_01-24.zip")
    assert guess_corpus(tmp_path / "ravdess") == "ravdess"
    assert guess_corpus(tmp_path / "zips") == "ravdess"
    assert guess_corpus(tmp_path / "zips" / "Audio_Speech_Actors_01-24.zip") == "ravdess"
    assert guess_corpus(tmp_path / "mixed") == "folder"
    assert guess_corpus(table) == "csv"
    for ending in ("tsv", "jsonl", "PARQUET"):
        table.with_suffix(f".{ending}").touch()
        assert guess_corpus(table.with_suffix(f".{ending}")) == "csv"
    for name in ("03a01Fa", "14b10Nd", "08a02Wc"):
        write_noise(tmp_path / "emo" / "wav" / f"{name}.wav")
    assert guess_corpus(tmp_path / "emo") == "emodb"
    (tmp_path / "competition" / "TestAudioFiles").mkdir(parents=True)
    assert guess_corpus(tmp_path / "competition") == "hackerearth"
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "dataset_dict.json").touch()
    assert guess_corpus(tmp_path / "saved") == "hf"
    with pytest.raises(UserError, match="no such file or folder"):
        guess_corpus(tmp_path / "nowhere")
    with pytest.raises(UserError, match="got another file"):
        guess_corpus(next((tmp_path / "mixed" / "sad").iterdir()))


def test_symlinked_audio_is_read(tmp_path, write_noise):
    real = write_noise(tmp_path / "store" / "a.wav")
    (tmp_path / "corpus" / "sad").mkdir(parents=True)
    (tmp_path / "corpus" / "sad" / "a.wav").symlink_to(real)
    listing = read("folder", tmp_path / "corpus")
    ((_, samples),) = listing.decode(listing.clips[0])
    assert len(samples) == 800
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(DataError, match="no such file"):
        list(listing.decode(listing.clips[0]))
    ((path, reason),) = [
        (item.path, item.reason) for item in read("folder", tmp_path / "corpus").quarantined
    ]
    assert (path, reason) == ("sad/a.wav", "a link that points to nothing")


def test_linked_folders_are_searched_once(tmp_path, write_noise):
    write_noise(tmp_path / "store" / "a.wav")
    (tmp_path / "corpus" / "sad").mkdir(parents=True)
    for name in ("sad/b", "sad/c"):
        (tmp_path / "corpus" / name).symlink_to(tmp_path / "store")
    (tmp_path / "corpus" / "sad" / "up").symlink_to(tmp_path / "corpus")
    write_noise(tmp_path / "corpus" / "sad" / "z.wav")
    clips = {clip.clip_id: clip.emotion for clip in read("folder", tmp_path / "corpus").clips}
    assert clips == {"sad/b/a": "sad", "sad/z": "sad"}


def test_names_that_differ_in_their_ending_alone_keep_it():
    assert choose_ids(["a.wav", "a.mp3", "b.wav", "x/a.wav"]) == {
        "a.wav": "a.wav",
        "a.mp3": "a.mp3",
        "b.wav": "b",
        "x/a.wav": "x/a",
    }
    assert choose_ids(["a.wav", "a.wav.flac"]) == {"a.wav": "a", "a.wav.flac": "a.wav.flac"}


END = ("", ".wav", ".mp3", ".a")


@settings(max_examples=50, deadline=None)
@given(st.sets(st.sampled_from([f"{a}{b}{c}" for a in ("a", "b.wav") for b in END for c in END])))
def test_no_two_files_get_one_id(paths):
    assert len(set(choose_ids(paths).values())) == len(paths)


def test_folder_and_competition_lose_no_namesake(tmp_path, write_noise):
    for ending in ("wav", "flac"):
        write_noise(tmp_path / "TrainAudioFiles" / f"1.{ending}", seed=ending)
    (tmp_path / "train.csv").write_text("emotion,filename\njoy,1.wav\nfear,1.flac\nsad\n")
    ids = {clip.clip_id for clip in read("folder", tmp_path).clips}
    assert ids == {"TrainAudioFiles/1.wav", "TrainAudioFiles/1.flac"}
    listing = read("hackerearth", tmp_path)
    assert {clip.clip_id: clip.emotion for clip in listing.clips} == {
        "TrainAudioFiles/1.wav": "joy",
        "TrainAudioFiles/1.flac": "fear",
    }
    assert [(item.path, item.reason) for item in listing.quarantined] == [
        ("train.csv, line 4", "names no file")
    ]


def test_a_second_row_of_the_competition_s_table_is_told(tmp_path, write_noise):
    write_competition(tmp_path, write_noise)
    (tmp_path / "train.csv").write_text("filename,emotion\n1.wav,joy\n1.wav,fear\n2.wav,joy\n")
    listing = read("hackerearth", tmp_path)
    assert {clip.emotion for clip in listing.clips if clip.split == "train"} == {"joy"}
    ((place, reason),) = [(item.path, item.reason) for item in listing.quarantined]
    assert place == "train.csv, line 3"
    assert reason == "second row of 1.wav: labelled fear here, joy there"


def test_emodb_folder(tmp_path, write_noise):
    for name in ("03a01Wa.wav", "sub/14b10Nd.wav", "07a01Wa.wav", "hello.wav"):
        write_noise(tmp_path / name)
    listing = read("emodb", tmp_path)
    clips = {clip.clip_id: clip for clip in listing.clips}
    assert set(clips) == {"03a01Wa", "14b10Nd"}
    assert clips["03a01Wa"].emotion == "anger" and clips["03a01Wa"].gender == "male"
    assert (clips["14b10Nd"].emotion, clips["14b10Nd"].speaker) == ("neutral", "14")
    assert clips["14b10Nd"].gender == "female" and clips["14b10Nd"].text == "b10"
    assert {item.path for item in listing.quarantined} == {"07a01Wa.wav", "hello.wav"}
    assert all("not an EMO-DB name" in item.reason for item in listing.quarantined)


def write_competition(root, write_noise):
    for name in ("TrainAudioFiles/1.wav", "TrainAudioFiles/2.wav", "TestAudioFiles/3.wav"):
        write_noise(root / name)
    table = "filename,emotion\n1.wav,joy\n9.mp3,fear\n"
    (root / "train.csv").write_text(table, encoding="utf-8")
    (root / "test.csv").write_text("filename\n3.wav\n", encoding="utf-8")
    return root


def test_hackerearth_folder(tmp_path, write_noise):
    listing = read("hackerearth", write_competition(tmp_path, write_noise))
    facts = {clip.clip_id: (clip.emotion, clip.split) for clip in listing.clips}
    assert facts == {
        "TrainAudioFiles/1": ("joy", "train"),
        "TrainAudioFiles/2": (None, "train"),
        "TestAudioFiles/3": (None, "test"),
    }
    ((path, reason),) = [(item.path, item.reason) for item in listing.quarantined]
    assert path == "TrainAudioFiles/9.mp3" and "train.csv names it" in reason
    assert "1 files of TrainAudioFiles are not in train.csv: unlabelled" in listing.notes


def test_hackerearth_mistakes(tmp_path, write_noise):
    with pytest.raises(UserError, match="expected the folders TrainAudioFiles and TestAudioFiles"):
        read("hackerearth", tmp_path)
    write_competition(tmp_path, write_noise)
    (tmp_path / "train.csv").write_text("name,emotion\n1.wav,joy\n", encoding="utf-8")
    with pytest.raises(DataError, match="expected a column filename, got name, emotion"):
        read("hackerearth", tmp_path)
    (tmp_path / "train.csv").unlink()
    with pytest.raises(DataError, match=r"train\.csv can't be read"):
        read("hackerearth", tmp_path)


def test_joined_clips_sound_as_their_utterances_do(tmp_path):
    """Two utterances each of three emotions and one speaker: a pair, a triple, one left over."""
    source = tmp_path / "source"
    source.mkdir()
    audio = {
        f"{emotion}{take}": np.full(1000 + 100 * take, 1 + place, np.int16)
        for take in (1, 2)
        for place, emotion in enumerate(("angry", "calm", "sad"))
    }
    clips = [
        Clip(clip_id=n, path=n, speaker="s", emotion=n[:-1], num_samples=len(a), audio_sha256=n)
        for n, a in sorted(audio.items())
    ]
    write_corpus(source, "tones", [(clip, audio[clip.clip_id]) for clip in clips])
    preparation = prepare("joined", source, tmp_path / "joined")
    assert "1 clips could not be joined" in preparation.notes
    corpus = PreparedCorpus.load(tmp_path / "joined")
    assert sorted(len(clip.emotions) for clip in corpus.clips) == [2, 3]
    for clip, view in zip(corpus.clips, corpus.views, strict=True):
        parts = clip.clip_id.split("+")
        assert clip.emotions == tuple(part[:-1] for part in parts)
        assert np.array_equal(view, np.concatenate([audio[part] for part in parts]))


def test_joining_needs_speakers_with_two_emotions(tmp_path):
    clip = Clip(clip_id="x", path="x", emotion="angry", num_samples=9, audio_sha256="x")
    write_corpus(tmp_path, "tones", [(clip, np.ones(9, np.int16))])
    with pytest.raises(UserError, match="expected clips of known speakers with two emotions"):
        read("joined", tmp_path)

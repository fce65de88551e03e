import pytest

from ssl_audio.data.corpora import CORPORA
from ssl_audio.data.corpora.ravdess import EMOTIONS, is_name, parse_clip
from ssl_audio.errors import DataError, UserError


def read(source, **columns):
    return CORPORA["ravdess"].read(source, columns)


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
    listing = read(tmp_path)
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


def test_ravdess_zips_in_folders_and_one_of_them_broken(
    tmp_path, write_noise, ravdess_names, zip_up
):
    for name in ravdess_names([3]):
        write_noise(tmp_path / "in" / f"{name}.wav")
    (tmp_path / "all" / "deep").mkdir(parents=True)
    zip_up(tmp_path / "in", tmp_path / "all" / "deep" / "Audio_Speech_Actors_01-24.zip")
    (tmp_path / "all" / "Audio_Song_Actors_01-24.zip").write_bytes(b"PK half a download")
    listing = read(tmp_path / "all")
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
    listing = read(tmp_path)
    assert sorted(clip.clip_id for clip in listing.clips) == sorted(ravdess_names([1, 2, 3]))
    assert [item.path for item in listing.quarantined] == ["Actor_02/warm-up.wav"]
    assert listing.notes == ("passed over files that are not audio: 1 .txt",)


def test_ravdess_zips_give_the_folder_s_audio(tmp_path, write_noise, ravdess_names, zip_up):
    speech, song, both = tmp_path / "speech", tmp_path / "song", tmp_path / "both"
    both.mkdir()
    for folder, channel in ((speech, "01"), (song, "02")):
        for name in ravdess_names([1, 2], channel):
            write_noise(folder / f"Actor_{name[-2:]}" / f"{name}.wav", sample_rate=48_000)
    zip_up(speech, both / "Audio_Speech_Actors_01-24.zip")
    zip_up(song, both / "Audio_Song_Actors_01-24.zip")

    from_zip = read(both / "Audio_Speech_Actors_01-24.zip")
    assert len(from_zip.clips) == 16
    from_folder = {clip.clip_id: clip for clip in read(speech).clips}
    loose = read(speech)
    for clip in from_zip.clips:
        assert clip.path == (
            f"Audio_Speech_Actors_01-24.zip::Actor_{clip.speaker}/{clip.clip_id}.wav"
        )
        ((measured, samples),) = from_zip.decode(clip)
        ((other, same),) = loose.decode(from_folder[clip.clip_id])
        assert (samples == same).all() and len(samples) == 800
        assert measured.source_sample_rate == other.source_sample_rate == 48_000

    listing = read(both)
    assert sum(clip.split == "song" for clip in listing.clips) == 16
    assert len(listing.clips) == 32
    assert any("16 clips are songs" in note for note in listing.notes)


def test_ravdess_loose_files_win_over_zips(tmp_path, write_noise, ravdess_names):
    for name in ravdess_names([1]):
        write_noise(tmp_path / f"{name}.wav")
    (tmp_path / "Audio_Speech_Actors_01-24.zip").write_bytes(b"half a download")
    listing = read(tmp_path)
    assert len(listing.clips) == 8
    assert listing.notes == ("passed over files that are not audio: 1 .zip",)


def test_ravdess_list(tmp_path, write_noise, ravdess_names):
    names = list(ravdess_names([4]))
    for name in names:
        write_noise(tmp_path / "audio" / f"{name}.flac")
    list_file = tmp_path / "some.txt"
    list_file.write_text("\n".join(f"audio/{name}.flac" for name in names[:3]) + "\n\n")
    listing = read(list_file)
    assert [clip.clip_id for clip in listing.clips] == names[:3]
    ((_, samples),) = listing.decode(listing.clips[0])
    assert len(samples) == 800


def test_a_list_may_name_anything(tmp_path, write_noise, ravdess_names):
    name = ravdess_names([4])[0]
    write_noise(tmp_path / "in" / f"{name}.wav")
    (tmp_path / "some.txt").write_text(f"in/{name}.wav\n./in\\{name}.wav\nin\ngone.wav\na\0b\n")
    listing = read(tmp_path / "some.txt")
    assert [clip.clip_id for clip in listing.clips] == [name]
    reasons = {item.path: item.reason for item in listing.quarantined}
    assert reasons.keys() == {"in", "gone.wav", "a\0b"}
    assert (reasons["in"], reasons["gone.wav"]) == ("is a folder", "no such file")


def test_damaged_zips(tmp_path, write_noise, ravdess_names, zip_up):
    name = ravdess_names([1])[0]
    wav = write_noise(tmp_path / "in" / f"{name}.wav", seconds=1)
    archive = tmp_path / "a.zip"
    zip_up(wav.parent, archive)
    damaged = bytearray(archive.read_bytes())
    damaged[400:420] = bytes(20)
    archive.write_bytes(damaged)
    listing = read(archive)
    with pytest.raises(DataError, match="can't be unpacked"):
        list(listing.decode(listing.clips[0]))
    archive.write_bytes(bytes(damaged[:2000]))
    with pytest.raises(UserError, match=r"expected a zip archive.*download it again"):
        read(archive)

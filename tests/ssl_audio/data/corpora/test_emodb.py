from ssl_audio.data.corpora import CORPORA


def test_emodb_folder(tmp_path, write_noise):
    for name in ("03a01Wa.wav", "sub/14b10Nd.wav", "07a01Wa.wav", "hello.wav"):
        write_noise(tmp_path / name)
    listing = CORPORA["emodb"].read(tmp_path, {})
    clips = {clip.clip_id: clip for clip in listing.clips}
    assert set(clips) == {"03a01Wa", "14b10Nd"}
    assert clips["03a01Wa"].emotion == "anger" and clips["03a01Wa"].gender == "male"
    assert (clips["14b10Nd"].emotion, clips["14b10Nd"].speaker) == ("neutral", "14")
    assert clips["14b10Nd"].gender == "female" and clips["14b10Nd"].text == "b10"
    assert {item.path for item in listing.quarantined} == {"07a01Wa.wav", "hello.wav"}
    assert all("not an EMO-DB name" in item.reason for item in listing.quarantined)

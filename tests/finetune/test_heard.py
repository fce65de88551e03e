"""What a model had heard of the clips that it is scored on."""

from dataclasses import replace
from pathlib import Path

import pytest

from finetune.evaluate import evaluate
from finetune.heard import TRAINING_CLIPS, describe_heard, find_unheard
from ssl_audio.data.corpora.joined import utterance_ids
from ssl_audio.data.manifest import Clip, write_manifest
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.run_record import SEEN_CLIPS
from tests.finetune.configuring import CLASSES
from tests.finetune.joining import join


def test_what_a_model_has_heard_is_told_by_speaker_audio_and_name(
    prepared: Path, tmp_path: Path
) -> None:
    joined, source = PreparedCorpus.load(join(prepared, tmp_path)[0]), PreparedCorpus.load(prepared)
    learnt = source.clips[:-11]
    heard = {clip.clip_id for clip in learnt}
    unheard = [clip for clip in joined.clips if heard.isdisjoint(utterance_ids(clip))]
    speakers = {clip.speaker for clip in learnt}
    strange = [clip for clip in unheard if clip.speaker not in speakers]
    told = {
        "speaker": ([Clip(clip_id="x", path="", speaker=c.speaker) for c in learnt], strange),
        "audio": (
            [Clip(clip_id="x", path="", audio_sha256=c.audio_sha256) for c in learnt],
            unheard,
        ),
        "name": ([Clip(clip_id=c.clip_id, path="") for c in learnt], unheard),
    }
    assert 0 < len(strange) < len(unheard)
    for known, (manifest, wanted) in told.items():
        write_manifest(manifest, tmp_path / TRAINING_CLIPS)
        found = find_unheard(tmp_path, joined, source, CLASSES)
        assert [joined.clips[index] for index in found] == wanted, known
    without_angry = find_unheard(tmp_path, joined, source, CLASSES[:2])
    assert all("angry" not in joined.clips[index].emotions for index in without_angry)


def clip(name: str, speaker: str | None, audio: str, emotion: str = "sad") -> Clip:
    return Clip(clip_id=name, path=name, speaker=speaker, audio_sha256=audio, emotion=emotion)


LEARNT = "not honest: the model learnt from, or was chosen by, "
OTHERS = "are other clips of its training and validation speakers: "


@pytest.mark.parametrize(
    ("scored", "same_corpus", "said"),
    [
        ([clip("z", "other", "z"), clip("y", None, "y")], True, []),
        (
            [clip("a", "one", "a"), clip("c", "one", "c"), clip("d", "other", "d")],
            False,
            [f"{LEARNT}1 of these clips", f"not honest: 1 {OTHERS}one"],
        ),
        (
            [clip("c", "one", "c")],
            False,
            [f"not honest if these are the same people: 1 {OTHERS}one"],
        ),
        ([clip("c", "one", "c")], True, [f"not honest: 1 {OTHERS}one"]),
        ([clip("c", "two", "c")], True, [f"not honest: 1 {OTHERS}two"]),
        ([clip("e+b", "three", "x", "sad|angry")], False, [f"{LEARNT}1 of these clips"]),
        ([clip("e+b", None, "x")], False, []),
        ([clip("b", None, "b")], False, [f"{LEARNT}1 of these clips"]),
    ],
)
def test_learnt_clips_and_other_clips_of_their_speakers_are_told_apart(
    scored: list[Clip], same_corpus: bool, said: list[str], tmp_path: Path
) -> None:
    """A speaker that nobody names is nobody's; a protocol of two corpora says whose it is."""
    learnt = [clip("a", "one", "a"), clip("b", None, "b"), clip("f", "corpus:two", "f")]
    write_manifest(learnt, tmp_path / TRAINING_CLIPS)
    assert list(describe_heard(tmp_path, scored, same_corpus)) == said


def test_clips_that_the_encoder_was_pretrained_on_are_told(
    prepared: Path, encoder: Path, tuned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The encoder's pool is beside the model, wherever the encoder is by now."""
    assert (encoder / SEEN_CLIPS).is_file()
    evaluate(tuned, prepared, 1, None)
    assert "transductive" not in capsys.readouterr().out
    evaluate(tuned, prepared, None, None)
    printed = capsys.readouterr().out
    assert "transductive: the encoder was pretrained, without labels, on" in printed
    clips = PreparedCorpus.load(prepared).clips
    unheard = [replace(c, audio_sha256=f"new {n}") for n, c in enumerate(clips)]
    assert not any("transductive" in line for line in describe_heard(tuned, unheard, False))

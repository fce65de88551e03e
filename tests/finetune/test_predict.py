"""Predicting files: the same answers in any batch, order, format and number of attempts."""

import csv
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import finetune.auto  # noqa: F401  lets pipelines know our classifier
from finetune import decoding, jury
from finetune.answers import DONT_KNOW, AnswerRule
from finetune.calibration import temper, temper_sigmoid
from finetune.decoding import Decoded, decode_ahead, decode_file, divide
from finetune.evaluate import VALIDATION_ANSWERS
from finetune.formats import FORMATS
from finetune.inputs import AudioInput, find_inputs
from finetune.journal import Answered, open_journal
from finetune.jury import Jury, batch_by_length, fingerprint
from finetune.model import AudioClassifier, AudioClassifierConfig
from finetune.predict import errors_path, predict
from finetune.timeline import OverTime
from finetune.trust import NEVER_SURE
from ssl_audio.encoder import AudioEncoderFeatureExtractor
from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.errors import UserError
from tests.ssl_audio.launching import run_command, start_command

CLASSES = ("calm", "angry", "sad")
RATE = 16_000


def build_model(folder: Path, seed: int, classes: Sequence[str] = CLASSES, **changes: Any) -> Path:
    """A classifier with random weights, which are as good as any here."""
    torch.manual_seed(seed)
    shape = AudioEncoderConfig(
        hidden_size=32, num_attention_heads=2, num_hidden_layers=1, max_seconds=2.0
    )
    config = AudioClassifierConfig(encoder_config=shape, classes=list(classes), **changes)
    classifier = AudioClassifier(config)
    classifier.encoder.set_normalisation(torch.full((64,), -6.0), torch.full((64,), 3.0))
    classifier.save_pretrained(folder)
    AudioEncoderFeatureExtractor(RATE).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("model") / "a", 0)


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("model") / "b", 1)


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven files that can be read, and five that can't."""
    root = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)

    def noise(seconds: float, rate: int = RATE, channels: int = 1) -> np.ndarray:
        loudness = rng.uniform(0.02, 0.3)
        return loudness * rng.standard_normal((round(seconds * rate), channels))

    (root / "sub").mkdir()
    sf.write(root / "a.wav", noise(0.8), RATE)
    sf.write(root / "b.flac", noise(0.5, 44_100, 2), 44_100)
    sf.write(root / "c.mp3", noise(1.5, 44_100), 44_100)
    sf.write(root / "long.wav", noise(5.1), RATE)
    sf.write(root / "eight.wav", noise(0.4, 8000), 8000, subtype="PCM_U8")
    sf.write(root / "short.wav", noise(0.08), RATE)
    sf.write(root / "sub" / "z.wav", noise(1.1), RATE)
    sf.write(root / "silent.wav", np.zeros(RATE), RATE)
    broken = noise(0.5)
    broken[100] = np.nan
    sf.write(root / "nan.wav", broken, RATE, subtype="FLOAT")
    (root / "text.wav").write_text("this is no audio")
    (root / "empty.mp3").write_bytes(b"")
    (root / "gone.wav").symlink_to(root / "nowhere.wav")
    (root / "notes.txt").write_text("passed over")
    return root


READABLE = "a.wav b.flac c.mp3 eight.wav long.wav short.wav sub/z.wav".split()
BROKEN = {
    "empty.mp3": "empty file",
    "gone.wav": "a link that points to nothing",
    "nan.wav": "NaN",
    "silent.wav": "silence",
    "text.wav": "can't be decoded",
}


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def test_neither_batch_nor_padding_nor_order_changes_an_answer(
    model: Path, audio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = Jury.load([model])
    samples = [decode_file(file).samples for file in find_inputs([audio])[0]]
    clips = [clip for clip in samples if clip is not None]
    together = members.probabilities(clips)
    for clip, found in zip(clips, together, strict=True):
        waveform = torch.from_numpy(clip / np.float32(32_768))[None]
        with torch.no_grad():
            alone = members.members[0].probabilities(waveform, torch.tensor([len(clip)]))
        np.testing.assert_allclose(found, alone[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(members.probabilities(clips[::-1])[::-1], together, atol=1e-5)
    monkeypatch.setattr(jury, "BATCH_SECONDS", 1)
    np.testing.assert_allclose(members.probabilities(clips), together, atol=1e-5)
    assert np.abs(together[0] - together[2]).max() > 1e-3  # or nothing was tested


@given(st.lists(st.integers(1, 200 * RATE), max_size=30))
def test_batches_hold_each_clip_once_and_no_more_than_fits(lengths: list[int]) -> None:
    batches = batch_by_length(lengths)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = max(lengths[row] for row in batch) * len(batch)
        assert len(batch) == 1 or padded <= jury.BATCH_SECONDS * RATE
    in_order = [lengths[row] for batch in batches for row in batch]
    assert in_order == sorted(lengths, reverse=True)


def test_a_table_has_a_row_for_every_file(
    model: Path, audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.csv"
    done = predict([audio], [model], output)
    rows = read_rows(output)
    assert list(rows[0]) == ["file", "emotion", *CLASSES, "error"]
    assert [row["file"] for row in rows] == [str(audio / n) for n in sorted([*READABLE, *BROKEN])]
    for row in rows:
        name = str(Path(row["file"]).relative_to(audio))
        if name in BROKEN:
            assert BROKEN[name] in row["error"] and not row["emotion"] and not row["calm"]
        else:
            shares = [float(row[c]) for c in CLASSES]
            assert sum(shares) == pytest.approx(1, abs=2e-6) and not row["error"]
            assert row["emotion"] == CLASSES[int(np.argmax(shares))]
    assert (done.num_files, done.num_errors, done.num_taken_over) == (12, 5, 0)
    assert done.audio_seconds == pytest.approx(0.8 + 0.5 + 1.5 + 5.1 + 0.4 + 0.08 + 1.1, abs=0.1)
    said = capsys.readouterr().out
    assert "7 of 12 files predicted" in said and "5 could not be read; the column error" in said
    assert "not audio: 1 .txt" in said and "of audio in" in said
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_submission_is_like_the_competitions_table(
    model: Path, audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "sub.csv"
    predict([audio], [model], output, "submission")
    rows = read_rows(output)
    assert list(rows[0]) == ["filename", "emotion"]
    assert [row["filename"] for row in rows] == sorted(READABLE)
    assert {row["emotion"] for row in rows} <= set(CLASSES)
    beside = read_rows(errors_path(output))
    assert {Path(row["file"]).name for row in beside} == set(BROKEN)
    assert "missing from the submission" in capsys.readouterr().out
    predict([audio / "a.wav"], [model], output, "submission")
    assert [row["filename"] for row in read_rows(output)] == ["a.wav"]
    assert not errors_path(output).exists()  # what it said is no longer true


def test_a_list_is_answered_in_its_own_order(model: Path, audio: Path, tmp_path: Path) -> None:
    """The competition's test.csv lies beside the folder of its files."""
    (tmp_path / "TestAudioFiles").symlink_to(audio)
    (tmp_path / "beside.wav").write_bytes((audio / "a.wav").read_bytes())
    names = ["c.mp3", "beside.wav", "a.wav", "nowhere.mp3"]
    (tmp_path / "test.csv").write_text("\n".join(["filename", *names, '""', "a.wav,b,c"]) + "\n")
    output = tmp_path / "out.csv"
    done = predict([tmp_path / "test.csv"], [model], output, "submission")
    assert [row["filename"] for row in read_rows(output)] == names[:3]
    errors = {row["file"]: row["error"] for row in read_rows(errors_path(output))}
    assert errors.pop(str(tmp_path / "nowhere.mp3")) == "no such file"
    assert errors.pop("test.csv, line 6") == "names no file"
    assert "expected 1 cells, got 3" in errors.pop("test.csv, line 7") and not errors
    assert done.num_files == 6


def test_a_file_that_is_given_twice_is_answered_once(
    model: Path, audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.csv"
    once = predict([audio / "a.wav"], [model], output)
    assert once.num_files == 1 and "more than once" not in capsys.readouterr().out
    (tmp_path / "list.csv").write_text("filename\nb.wav\nb.wav\n")
    (tmp_path / "b.wav").write_bytes((audio / "a.wav").read_bytes())
    assert predict([tmp_path / "list.csv"], [model], output, "submission").num_files == 2
    capsys.readouterr()
    done = predict([audio / "a.wav", audio, audio / "a.wav"], [model], output)
    assert [Path(row["file"]).name for row in read_rows(output)].count("a.wav") == 1
    assert done.num_files == len(READABLE) + len(BROKEN)
    assert "1 file was given more than once: one answer each" in capsys.readouterr().out


def test_an_empty_list_says_so(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(UserError, match="expected a column filename, got an empty file"):
        predict([tmp_path / "empty.csv"], [model], tmp_path / "out.csv")


class Ticking:
    """Says for each half second how loud it is; the first class is that of loud ones."""

    device = torch.device("cpu")

    def __init__(self, hop: int = 8000, **config: Any) -> None:
        timeline = {"moment_seconds": hop / RATE}
        self.config = AudioClassifierConfig(classes=["loud", "quiet"], timeline=timeline, **config)
        self.hop = hop

    def probabilities(self, waveform: Tensor, num_samples: Tensor) -> Tensor:
        loud = waveform.abs().amax(1)
        return torch.stack([loud, 1 - loud], 1)

    def probabilities_over_time(self, waveform: Tensor) -> OverTime:
        assert waveform.ndim == 1 and waveform.dtype == torch.float32
        parts = waveform.split(self.hop)
        loud = torch.stack([part.abs().max() for part in parts])
        ends = np.cumsum([len(part) for part in parts]) / RATE
        starts = np.append(0.0, ends[:-1])
        return OverTime(starts, ends, torch.stack([loud, 1 - loud], 1).numpy())


def use(monkeypatch: pytest.MonkeyPatch, *members: Ticking) -> None:
    monkeypatch.setattr(Jury, "load", lambda folders, combination: Jury(members, combination))
    monkeypatch.setattr("finetune.predict.fingerprint", str)


def write_levels(path: Path, *levels: float) -> Path:
    """Half a second of each level, and a fifth of a second of the last one more."""
    signs = np.where(np.arange(8000) % 2, -1.0, 1.0)
    parts = [level * signs for level in levels] + [levels[-1] * signs[:3200]]
    sf.write(path, np.concatenate(parts), RATE)
    return path


def test_a_timeline_has_a_row_for_every_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Ticking())
    (tmp_path / "in").mkdir()
    write_levels(tmp_path / "in" / "a.wav", 0.75, 0.875, 0.25, 0.25)
    write_levels(tmp_path / "in" / "b.wav", 0.125)
    (tmp_path / "in" / "c.wav").write_text("no audio")
    output = tmp_path / "out.csv"
    predict([tmp_path / "in"], [Path("any")], output, "timeline")
    rows = read_rows(output)
    assert list(rows[0]) == ["file", "start", "end", "emotion", "loud", "quiet"]
    found = [(Path(r["file"]).name, float(r["start"]), float(r["end"]), r["emotion"]) for r in rows]
    assert found == [
        ("a.wav", 0.0, 1.0, "loud"),
        ("a.wav", 1.0, 2.2, "quiet"),
        ("b.wav", 0.0, 0.7, "quiet"),
    ]
    assert float(rows[0]["loud"]) == pytest.approx((0.75 + 0.875) / 2, abs=1e-4)
    assert float(rows[1]["quiet"]) == pytest.approx(0.75, abs=1e-4)
    assert "c.wav" in errors_path(output).read_text()


def test_segments_that_nobody_is_sure_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Ticking(unsure_below=0.7))
    path = write_levels(tmp_path / "a.wav", 0.9, 0.9, 0.4, 0.4)
    output = tmp_path / "out.csv"
    predict([path], [Path("any")], output, "timeline")
    assert [row["emotion"] for row in read_rows(output)] == ["loud", DONT_KNOW]
    quiet = write_levels(tmp_path / "b.wav", 0.6)
    for form, emotion in (("table", DONT_KNOW), ("submission", "loud")):
        predict([quiet], [Path("any")], output, form)
        assert [row["emotion"] for row in read_rows(output)] == [emotion]


def test_several_classes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Ticking(task="multilabel", thresholds=[0.3, 0.3]))
    write_levels(tmp_path / "a.wav", 0.5)
    write_levels(tmp_path / "b.wav", 0.9)
    output = tmp_path / "out.csv"
    predict([tmp_path], [Path("any")], output)
    assert [row["emotion"] for row in read_rows(output)] == ["loud|quiet", "loud"]
    predict([tmp_path], [Path("any")], output, "submission")
    assert [row["emotion"] for row in read_rows(output)] == ["loud", "loud"]
    predict([tmp_path], [Path("any")], output, "timeline")
    assert [row["emotion"] for row in read_rows(output)] == ["loud", "quiet", "loud"]


@pytest.mark.parametrize("kind", ["single", "multilabel"])
def test_a_pipeline_of_transformers_gives_the_same_answers(
    kind: str, audio: Path, tmp_path: Path
) -> None:
    changes = {"head_config": {"kind": kind}, "task": kind}
    raw_model = build_model(tmp_path / "raw", 0, **changes)
    model = build_model(tmp_path / "model", 0, **changes, temperature=2.5)
    pipe = transformers.pipeline("audio-classification", model=str(model), device="cpu")
    samples = decode_file(find_inputs([audio / "a.wav"])[0][0]).samples
    assert samples is not None
    found = pipe({"array": samples / np.float32(32_768), "sampling_rate": RATE})
    shares = {item["label"]: item["score"] for item in found}
    (ours,) = Jury.load([model]).probabilities([samples])
    np.testing.assert_allclose([shares[name] for name in CLASSES], ours, atol=1e-5)
    raw = Jury.load([raw_model]).probabilities([samples])
    tempered = temper(raw, 2.5) if kind == "single" else temper_sigmoid(raw, 2.5)
    np.testing.assert_allclose(ours, tempered[0], atol=1e-5)
    assert np.abs(ours - raw[0]).max() > 1e-3


def test_several_models_are_averaged(
    model: Path, other_model: Path, audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = [tmp_path / f"{name}.csv" for name in ("one", "two", "both")]
    for models, output in zip(([model], [other_model], [model, other_model]), outputs, strict=True):
        predict([audio], models, output)
    one, two, both = (
        np.array([[float(row[c]) for c in CLASSES] for row in read_rows(p) if not row["error"]])
        for p in outputs
    )
    np.testing.assert_allclose(both, (one + two) / 2, atol=2e-6)
    assert np.abs(one - two).max() > 1e-3
    strange = build_model(tmp_path / "strange", 0, ("calm", "sad", "angry"))
    with pytest.raises(UserError, match="same classes .* calm, angry, sad; single: calm, sad"):
        predict([audio], [model, strange], tmp_path / "no.csv")
    use(monkeypatch, Ticking(8000), Ticking(4000))
    path = write_levels(tmp_path / "a.wav", 0.75)
    with pytest.raises(UserError, match=r"same moments, and theirs are .*0.5}; .*0.25}:"):
        predict([path], [Path("any")], tmp_path / "no.csv", "timeline")
    short = {"seconds": 0.2, "hop_seconds": 0.2}
    use(monkeypatch, Ticking(8000), Ticking(8000, windows=short))
    with pytest.raises(UserError, match=r"same moments, and theirs are .*0.5}; .*0.2}:"):
        predict([path], [Path("any")], tmp_path / "no.csv", "timeline")
    use(monkeypatch, Ticking(), Ticking())
    predict([path], [Path("any")], tmp_path / "out.csv", "timeline")
    assert read_rows(tmp_path / "out.csv")[0]["loud"].startswith("0.75")


def write_validation(folder: Path, clips: str, *rows: tuple[float, float]) -> None:
    """Answers on clips that are calm and sad in turn."""
    frame = pd.DataFrame(rows, columns=["calm", "sad"])
    labels = [("calm", "sad")[number % 2] for number in range(len(rows))]
    frame.insert(0, "label", labels)
    frame.insert(0, "clip_id", list(clips))
    frame.sample(frac=1, random_state=len(folder.name)).to_parquet(folder / VALIDATION_ANSWERS)


def test_models_weigh_what_validation_clips_say(
    audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = (
        build_model(tmp_path / name, seed, ("calm", "sad"))
        for seed, name in enumerate(("good", "bad"))
    )
    call = ([audio / "a.wav"], [good, bad], tmp_path / "out.csv", "table", "weighted")
    with pytest.raises(UserError, match=r"good.validation.parquet is missing: train the model ag"):
        predict(*call)
    write_validation(good, "abcd", (0.8, 0.2), (0.3, 0.7), (0.9, 0.1), (0.2, 0.8))
    write_validation(bad, "abcd", (0.2, 0.8), (0.6, 0.4), (0.3, 0.7), (0.9, 0.1))
    predict(*call)
    assert f"{good} weighs 1.00, {bad} weighs 0.00" in capsys.readouterr().out
    weighted = read_rows(tmp_path / "out.csv")
    predict([audio / "a.wav"], [good], tmp_path / "out.csv")
    assert weighted == read_rows(tmp_path / "out.csv")
    # Each is sure of what the other isn't: half of each is the best.
    write_validation(good, "abcd", (0.9, 0.1), (0.6, 0.4), (0.9, 0.1), (0.6, 0.4))
    write_validation(bad, "abcd", (0.4, 0.6), (0.1, 0.9), (0.4, 0.6), (0.1, 0.9))
    assert Jury.load([good, bad], "weighted").ensemble.weights == pytest.approx(
        [0.5, 0.5], abs=0.01
    )
    write_validation(bad, "abce", (0.4, 0.6), (0.1, 0.9), (0.4, 0.6), (0.1, 0.9))
    with pytest.raises(UserError, match="chosen by different clips"):
        predict(*call)


def test_models_vote_where_it_is_asked_for() -> None:
    clips = [np.full(8000, 8192, np.int16)]  # loud by a quarter, so all say quiet
    mean, votes = (
        Jury([Ticking(), Ticking()], rule).probabilities(clips) for rule in ("mean", "mode")
    )
    assert mean == pytest.approx(np.array([[0.25, 0.75]]))
    assert votes == pytest.approx(np.array([[0, 1]]), abs=1e-3)
    # One against one: who is surer decides, not the order of the classes.
    halves = Jury([Ticking(), Ticking()], "mode").combine(
        np.array([[[0.51, 0.49]], [[0.01, 0.99]]])
    )
    assert halves == pytest.approx(np.array([[0.5, 0.5]]), abs=1e-3) and halves.argmax() == 1
    several = Ticking(task="multilabel")
    with pytest.raises(UserError, match="no one vote"):
        Jury([several, several], "mode")
    assert Jury([several]).probabilities(clips) == pytest.approx(np.array([[0.25, 0.75]]))


def test_an_unknown_way_of_combining_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--combine best: choose one of mean, mode"):
        predict([tmp_path], [tmp_path], tmp_path / "out.csv", combination="best")


def test_rules_of_several_models_meet_in_the_middle() -> None:
    def rule(*members: Ticking) -> AnswerRule:
        return Jury(members).rule

    both = rule(Ticking(thresholds=[0.2, 0.4]), Ticking())
    assert both.thresholds == pytest.approx((0.35, 0.45))
    assert (
        rule(Ticking(unsure_below=0.4), Ticking(unsure_below=0.8)).unsure_below
        == 0.6000000000000001
    )
    assert rule(Ticking(unsure_below=0.4), Ticking()).unsure_below is None
    never = rule(Ticking(unsure_below=NEVER_SURE), Ticking(unsure_below=0.6))
    assert never.unsure_below == pytest.approx(0.8)
    assert rule(Ticking(unsure_below=NEVER_SURE)).unsure_below == NEVER_SURE
    assert Jury([Ticking(unsure_below=0.4)], "mode").rule.unsure_below is None


def test_files_are_decoded_ahead_in_order_and_not_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def decode(file: AudioInput) -> Decoded:
        begun.append(file.name)
        time.sleep(0.001 * (len(begun) % 3))
        return Decoded(file, np.zeros(10, np.int16))

    monkeypatch.setattr(decoding, "decode_file", decode)
    monkeypatch.setattr(decoding, "AHEAD_FILES", 4)
    monkeypatch.setattr(decoding, "AHEAD_BYTES", 100)
    sizes = [10] * 10 + [500, 10, 10, 500, 500] + [60] * 5
    files = [
        AudioInput(Path(str(n)), str(n), str(n), None, size, 0) for n, size in enumerate(sizes)
    ]
    seen = []
    for place, decoded in enumerate(decode_ahead(files)):
        seen.append(decoded.file.name)
        time.sleep(0.005)
        ahead = [sizes[int(name)] for name in begun if int(name) > place]
        assert len(ahead) <= 3 and sum(ahead) <= 100
        assert sizes[place] < 500 or not ahead  # nothing beside a large file
    assert seen == [file.name for file in files] and sorted(begun) == sorted(seen)


@given(st.lists(st.integers(0, 1000), max_size=40))
def test_portions_hold_everything_in_order_and_no_more_than_fits(lengths: list[int]) -> None:
    file = AudioInput(Path("x"), "x", "x", None, 0, 0)
    items = [Decoded(file, np.zeros(n, np.int16) if n else None, "" if n else "x") for n in lengths]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "PORTION_SECONDS", 1200 / RATE)
        patch.setattr(decoding, "PORTION_FILES", 5)
        portions = list(divide(items))
    assert [item for portion in portions for item in portion] == items
    for portion in portions:
        assert 1 <= len(portion) <= 5
        total = sum(len(item.samples) for item in portion if item.samples is not None)
        assert len(portion) == 1 or total <= 1200


def test_what_an_interrupted_run_has_answered_is_not_asked_again(
    model: Path, audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in its second portion; meanwhile one file is mended and another one changes."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b", "c", "d", "e"):
        (folder / f"{name}.wav").write_bytes((audio / "a.wav").read_bytes())
    (folder / "b.wav").write_text("no audio")
    output, partial = tmp_path / "out.csv", tmp_path / ".out.csv.partial"
    monkeypatch.setattr(decoding, "PORTION_FILES", 3)
    asked: list[list[str]] = []
    true_ask = FORMATS["table"].ask

    def ask(self: object, members: Jury, files: Sequence[AudioInput], clips: object) -> object:
        asked.append([file.name for file in files])
        if len(asked) == 2:
            raise KeyboardInterrupt
        return true_ask(self, members, files, clips)  # type: ignore[arg-type]

    monkeypatch.setattr(FORMATS["table"], "ask", ask)
    with pytest.raises(KeyboardInterrupt):
        predict([folder], [model], output)
    assert asked == [["a.wav", "c.wav"], ["d.wav", "e.wav"]]
    assert not output.exists() and len(partial.read_text().splitlines()) == 4
    with partial.open("a") as file:
        file.write('{"key": ["torn')
    (folder / "b.wav").write_bytes((audio / "a.wav").read_bytes())
    sf.write(folder / "c.wav", np.sin(np.arange(RATE) / 9) / 2, RATE)
    done = predict([folder], [model], output)
    assert asked[2:] == [["b.wav", "c.wav", "d.wav"], ["e.wav"]] and done.num_taken_over == 1
    assert not partial.exists() and done.num_errors == 0
    interrupted = read_rows(output)
    predict([folder], [model], output)
    assert read_rows(output) == interrupted


def test_answers_of_others_are_not_taken_over(tmp_path: Path) -> None:
    file = AudioInput(Path("x"), "x", "x", None, 3, 5)
    output = tmp_path / "out.csv"

    def has(file: AudioInput, about: dict[str, object]) -> bool:
        with pytest.raises(RuntimeError), open_journal(output, about) as journal:
            found = file in journal
            raise RuntimeError
        return found

    def answer(about: dict[str, object], error: str = "") -> None:
        with pytest.raises(RuntimeError), open_journal(output, about) as journal:
            journal.add([Answered(file, [["x", "calm"]], error)])
            assert journal.read(file) == Answered(file, [["x", "calm"]], error)
            raise RuntimeError

    answer({"models": ["a"]})
    assert has(file, {"models": ["a"]})
    for changed in ({"name": "y"}, {"num_bytes": 4}, {"changed_ns": 6}):
        assert not has(replace(file, **changed), {"models": ["a"]})
    assert not has(file, {"models": ["b"]})
    assert not (tmp_path / ".out.csv.partial").exists()  # nothing worth keeping was left
    answer({"models": ["a"]}, "could not be read")
    assert not has(file, {"models": ["a"]})
    with (
        open_journal(output, {}),
        pytest.raises(UserError, match="being written by another process"),
        open_journal(output, {}),
    ):
        pass


def test_a_torn_line_costs_nothing_else(tmp_path: Path) -> None:
    """Torn twice, with an answer after each time."""
    output, partial = tmp_path / "out.csv", tmp_path / ".out.csv.partial"
    files = [AudioInput(Path(n), n, n, None, 3, 5) for n in ("a", "b", "c")]
    for number, file in enumerate(files):
        with pytest.raises(RuntimeError), open_journal(output, {"models": []}) as journal:
            assert len(journal) == number
            journal.add([Answered(file, [[file.name]])])
            assert [journal.read(f).rows for f in files[: number + 1]] == [
                [[f.name]] for f in files[: number + 1]
            ]
            raise RuntimeError
        with partial.open("a") as text:
            text.write('{"key": ["d", "d", 3')


def test_models_are_told_apart(model: Path, other_model: Path, tmp_path: Path) -> None:
    assert fingerprint(model) == fingerprint(model) != fingerprint(other_model)
    config = tmp_path / "copy"
    config.mkdir()
    for path in model.iterdir():
        (config / path.name).write_bytes(path.read_bytes())
    assert fingerprint(config) == fingerprint(model)
    about = json.loads((config / "config.json").read_text())
    (config / "config.json").write_text(json.dumps({**about, "classes": ["x", "y", "z"]}))
    assert fingerprint(config) != fingerprint(model)


def test_a_killed_process_is_gone_on_from(model: Path, audio: Path, tmp_path: Path) -> None:
    """Killed as soon as there is a portion of answers, of six."""
    folder = tmp_path / "in"
    folder.mkdir()
    sounds = [(audio / name).read_bytes() for name in ("short.wav", "eight.wav")]
    for number in range(1500):
        (folder / f"{number:04d}.wav").write_bytes(sounds[number % 2])
    output, partial = tmp_path / "out.csv", tmp_path / ".out.csv.partial"
    arguments = ("predict", folder, "--model", model, "--output", output)
    out, err = tmp_path / "stdout", tmp_path / "stderr"
    running = start_command("finetune", *arguments, out=out, err=err)
    while running.is_alive() and (not partial.exists() or partial.stat().st_size < 5000):
        time.sleep(0.001)
    assert running.is_alive(), running.said()
    running.kill()
    # Whole lines without the heading; the last one may have been torn by the kill.
    kept = partial.read_bytes().count(b"\n") - 1
    assert 0 < kept < 1500 and not output.exists()
    done = run_command("finetune", *arguments)
    assert done.returncode == 0, done.stderr
    assert f"{kept} of them by a run that was interrupted" in done.stdout
    rows = read_rows(output)
    assert [Path(row["file"]).name for row in rows] == [f"{n:04d}.wav" for n in range(1500)]
    for parity in (0, 1):
        shares = {tuple(float(row[c]) for c in CLASSES) for row in rows[parity::2]}
        assert np.ptp(np.array(list(shares)), axis=0).max() < 1e-5
    assert not partial.exists()


@pytest.mark.parametrize(
    ("inputs", "output", "form", "said"),
    [
        (["missing.wav"], "own.csv", "table", "missing.wav: no such file or folder"),
        (["empty"], "own.csv", "table", "no audio files in empty"),
        (["a.wav"], "o.csv", "xml", "--format xml: choose one of table, submission, timeline"),
        (["a.wav"], "o.wav", "table", "--output must be a .csv file, got o.wav"),
        (["a.wav"], "no/o.csv", "table", "there is no folder no; make it first"),
        (["a.wav"], "folder.csv", "table", "folder.csv is a folder: name a file"),
        (["text.wav"], "own.csv", "table", "none of 1 files could be read; the column error of o"),
        (["text.wav"], "own.csv", "timeline", "none of 1 files could be read; own.errors.csv s"),
        (
            ["a.wav", "wrong.csv"],
            "wrong.csv",
            "table",
            "wrong.csv is what is to be read: name anot",
        ),
        (["o.errors.csv"], "o.csv", "timeline", "would replace o.errors.csv, which predict did n"),
        (["a.wav"], "o.csv", "timeline", "would replace o.errors.csv, which predict did not write"),
        (["wrong.csv"], "own.csv", "table", "wrong.csv: expected a column filename, got file, x"),
        (["only-text"], "own.csv", "table", r"no audio files in only-text \(passed over .* 1 .txt"),
        (["/dev/null"], "own.csv", "table", "/dev/null: is not an ordinary file"),
    ],
)
def test_mistakes_are_told_before_any_work(
    inputs: list[str],
    output: str,
    form: str,
    said: str,
    model: Path,
    audio: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "folder.csv", "only-text"):
        Path(name).mkdir()
    for name in ("a.wav", "text.wav"):
        Path(name).symlink_to(audio / name)
    Path("only-text", "notes.txt").write_text("no audio")
    Path("wrong.csv").write_text("file,x\na.wav,1\n")
    Path("o.errors.csv").write_text("filename\na.wav\n")
    with pytest.raises(UserError, match=said):
        predict([Path(name) for name in inputs], [model], Path(output), form)
    assert not list(tmp_path.glob(".*"))
    assert Path("o.errors.csv").read_text() == "filename\na.wav\n"


def test_a_file_that_cant_be_opened_says_why(tmp_path: Path) -> None:
    """As one without permission would; root, who may run this, may open everything."""
    folder = AudioInput(tmp_path, "x", "x", None, 0, 0)
    assert decode_file(folder) == Decoded(folder, None, "can't be opened: Is a directory")
    gone = AudioInput(tmp_path / "gone", "x", "x", None, 0, 0)
    assert decode_file(gone).error == "can't be opened: No such file or directory"


def test_names_that_are_no_text_can_be_written(model: Path, audio: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    strange = bytes(folder) + b'/\xff"quoted", and\nbroken.wav'
    Path(strange.decode(errors="surrogateescape")).write_bytes((audio / "a.wav").read_bytes())
    predict([folder], [model], tmp_path / "out.csv")
    (row,) = read_rows(tmp_path / "out.csv")
    assert row["file"].endswith('\\udcff"quoted", and\nbroken.wav') and row["emotion"]

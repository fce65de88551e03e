"""Fine-tuning through its functions and commands, on synthetic speech."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForAudioClassification

import finetune.auto  # noqa: F401
from finetune.__main__ import app
from finetune.config import ClassifierConfig
from finetune.evaluate import load_classifier, predict_clips
from finetune.jury import Jury
from finetune.labels import SingleLabel
from finetune.learning import FineTuning
from finetune.model import AudioClassifier, AudioClassifierConfig
from finetune.predictions import Predictions
from finetune.sampling import LabelledStream
from finetune.train import finetune as run_finetune
from ssl_audio import cli
from ssl_audio.config import load_config
from ssl_audio.data.folds import Fold, Folds
from ssl_audio.data.manifest import Clip, read_manifest
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.encoder_config import SIZES, AudioEncoderConfig
from ssl_audio.errors import ConfigError, DataError, UserError
from ssl_audio.pretrain import PretrainConfig, pretrain
from tests.conftest import SMALL
from tests.finetune.configuring import CLASSES, FAST, PROTOCOL, Answering, configure
from tests.ssl_audio.launching import run_command

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def test_predictions_are_of_the_test_clips_and_tested_once(prepared: Path, tuned: Path) -> None:
    predictions = Predictions.load(tuned / "predictions.parquet")
    corpus = PreparedCorpus.load(prepared)
    fold = corpus.folds(PROTOCOL).fold(1)
    assert sorted(predictions.frame["clip_id"]) == sorted(fold.test)
    assert np.allclose(predictions.probabilities().sum(1), 1)
    genders = {clip.speaker: clip.gender for clip in corpus.clips if clip.clip_id in fold.test}
    assert predictions.about.genders == genders and set(genders.values()) == {"female", "male"}
    emotions = {clip.clip_id: clip.emotion for clip in corpus.clips}
    assert (predictions.frame["label"] == predictions.frame["clip_id"].map(emotions)).all()
    about = predictions.about
    assert (about.system, about.protocol, about.classes) == ("Ours, pretrained", PROTOCOL, CLASSES)
    assert about.leak == "" and "fold 1 training clips" in about.pretraining_data
    learnt = {clip.clip_id for clip in read_manifest(tuned / "training.parquet")}
    assert learnt == set(fold.train) | set(fold.validation)


def test_the_best_step_is_the_one_validation_chose(tuned: Path) -> None:
    lines = [json.loads(line) for line in (tuned / "metrics.jsonl").read_text().splitlines()]
    scores = {line["step"]: line["validation_uar"] for line in lines if "validation_uar" in line}
    assert sorted(scores) == [2, 4, 6]
    record = json.loads((tuned / "run.json").read_text())
    best = record["metrics"]["best_step"]
    assert scores[best] == max(scores.values()) == record["metrics"]["best_validation_uar"]
    assert not any("test" in name for line in lines for name in line)


def test_saved_model_predicts_what_was_recorded(prepared: Path, tuned: Path) -> None:
    classifier = load_classifier(tuned)
    auto = AutoModelForAudioClassification.from_pretrained(tuned).eval()
    assert auto.config.id2label == dict(enumerate(CLASSES))
    predictions = Predictions.load(tuned / "predictions.parquet")
    corpus = PreparedCorpus.load(prepared)
    indices = corpus.indices(predictions.frame["clip_id"])
    for model in (classifier, auto):
        for order, batch_size in ((indices, 3), (indices[::-1], 1)):
            found = predict_clips(model, corpus, order, batch_size)
            found = found if order is indices else found[::-1]
            assert np.abs(found - predictions.probabilities()).max() < 1e-5


def test_answers_on_validation_clips_lie_beside_the_model(prepared: Path, tuned: Path) -> None:
    told = pd.read_parquet(tuned / "validation.parquet")
    corpus = PreparedCorpus.load(prepared)
    assert sorted(told["clip_id"]) == sorted(corpus.folds(PROTOCOL).fold(1).validation)
    found = predict_clips(load_classifier(tuned), corpus, corpus.indices(told["clip_id"]))
    assert np.abs(found - told[list(CLASSES)].to_numpy()).max() < 1e-5
    jury = Jury.load([tuned, tuned], "weighted")
    assert jury.ensemble.weights == pytest.approx([0.5, 0.5])


def test_resumed_run_ends_the_same(prepared: Path, encoder: Path, tuned: Path) -> None:
    """Everything after step 4 is thrown away and made again."""
    output = tuned.parent / "resumed"
    config = configure(prepared, f"encoder={encoder}", "strategy={kind: full, keep_probe: false}")
    run_finetune(config, output)
    newest = sorted((output / "checkpoints").glob("step-*"))[-1]
    (newest / "state.json").unlink()
    (output / "run.json").unlink()
    run_finetune(config, output, resume=True)
    ours, theirs = (AudioClassifier.from_pretrained(path) for path in (output, tuned))
    for name, weight in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], weight), name


def run_two_processes(prepared: Path, encoder: Path, output: Path, *more: str) -> dict[str, Any]:
    """What ``run.json`` holds afterwards."""
    sets = [f"data.corpus={prepared}", f"data.folds={PROTOCOL}", *FAST, f"encoder={encoder}"]
    launcher = ["--nproc_per_node=2", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
    arguments = [part for item in (*sets, *more) for part in ("--set", item)]
    done = call(
        "torch.distributed.run", *launcher, "-m", "finetune", "train", *arguments,
        "--output", str(output),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads((output / "run.json").read_text())
    assert record["num_processes"] == 2
    return record


def test_a_probe_of_two_processes_is_that_of_one(
    prepared: Path, encoder: Path, tmp_path: Path
) -> None:
    run_two_processes(prepared, encoder, tmp_path / "two", "strategy=probe")
    run_finetune(configure(prepared, f"encoder={encoder}", "strategy=probe"), tmp_path / "one")
    one, two = (
        Predictions.load(tmp_path / name / "predictions.parquet") for name in ("one", "two")
    )
    assert np.abs(one.probabilities() - two.probabilities()).max() < 1e-5
    assert [path.name for path in sorted((tmp_path / "two").glob("best-*"))] == ["best-00000000"]


@pytest.mark.slow
def test_two_processes_agree_on_the_best_step(
    prepared: Path, encoder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    more = ["train.max_steps=4", "train.batch_size=4", "train.warmup_steps=1", "evaluate_every=2"]
    record = run_two_processes(prepared, encoder, output, *more)
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    scores = {line["step"]: line["validation_uar"] for line in lines if "validation_uar" in line}
    assert sorted(scores) == [0, 2, 4]
    best = record["metrics"]["best_step"]
    later = max(scores[2], scores[4])
    assert scores[best] == later if best else later <= scores[0] + 0.24  # of 12 clips


def test_frozen_encoder_stays_as_it_was(prepared: Path, encoder: Path, tmp_path: Path) -> None:
    strategy = "strategy={kind: frozen, keep_probe: false}"
    config = configure(prepared, f"encoder={encoder}", strategy, "train.lr=0.01")
    run_finetune(config, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["metrics"]["best_step"] > 0
    before = load_file(encoder / "model.safetensors")
    after = AudioClassifier.from_pretrained(tmp_path / "run").encoder.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    about = Predictions.load(tmp_path / "run" / "predictions.parquet").about
    assert about.system == "Ours, pretrained, frozen"


def test_learns_to_tell_a_few_clips_apart(prepared: Path) -> None:
    """The mechanism itself: a loud error if labels, crops or gradients were mixed up."""
    corpus = PreparedCorpus.load(prepared)
    indices = np.arange(12)
    targets = SingleLabel(CLASSES).encode([corpus.clips[index] for index in indices])
    groups = np.zeros(12, np.int64)
    stream = LabelledStream(corpus, indices, 0, 1.5, targets=targets, groups=groups)
    torch.manual_seed(0)
    shape = AudioEncoderConfig(hidden_size=48, num_attention_heads=2, num_hidden_layers=2)
    classifier = AudioClassifier(AudioClassifierConfig(encoder_config=shape, classes=CLASSES))
    classifier.encoder.set_normalisation(torch.full((64,), -6.0), torch.full((64,), 3.0))
    module = FineTuning(classifier, ClassifierConfig(token_drop=0.0), torch.ones(3))
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    for step in range(25):
        optimizer.zero_grad()
        output = module(stream.__getitems__(range(step * 12, step * 12 + 12)))
        output.loss.backward()
        optimizer.step()
    assert float(output.metrics["training_accuracy"]) > 0.9


def test_an_encoder_that_saw_the_test_clips_is_transductive(prepared: Path, tmp_path: Path) -> None:
    steps = ["train.max_steps=2", "train.batch_size=4", "train.warmup_steps=1"]
    everything = load_config(PretrainConfig, None, [f"data.corpus={prepared}", *FAST, *steps])
    pretrain(everything, tmp_path / "encoder")
    config = configure(prepared, f"encoder={tmp_path / 'encoder'}", "train.max_steps=2")
    run_finetune(config, tmp_path / "run")
    about = Predictions.load(tmp_path / "run" / "predictions.parquet").about
    assert about.leak == "transductive"


def test_a_leaking_split_is_refused(prepared: Path, tmp_path: Path) -> None:
    fold = PreparedCorpus.load(prepared).folds(PROTOCOL).fold(1)
    leaking = Fold(1, fold.train, fold.validation, (*fold.test, fold.train[0]))
    Folds("mine/careless", CLASSES, (leaking,)).save(tmp_path / "careless.csv")
    config = configure(prepared, f"data.folds={tmp_path / 'careless.csv'}")
    with pytest.raises(DataError, match="leaks"):
        run_finetune(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_fold_without_a_part_is_refused_at_once(
    part: str, prepared: Path, tmp_path: Path
) -> None:
    fold = replace(PreparedCorpus.load(prepared).folds(PROTOCOL).fold(1), **{part: ()})
    Folds("mine/lacking", CLASSES, (fold,)).save(tmp_path / "lacking.csv")
    config = configure(prepared, f"data.folds={tmp_path / 'lacking.csv'}")
    with pytest.raises(DataError, match=f"mine/lacking fold 1 has no {part} clips"):
        run_finetune(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_level_beyond_the_encoder_is_named(prepared: Path, encoder: Path, tmp_path: Path) -> None:
    config = configure(prepared, f"encoder={encoder}", "level=5")
    with pytest.raises(UserError, match="the encoder has levels 0 to 4, got 5"):
        run_finetune(config, tmp_path / "run")
    with pytest.raises(ConfigError, match="level"):
        configure(prepared, "level=-1")


def test_whole_clips_are_learnt_as_they_are_judged(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the encoder can't hear at once would be learnt at once and judged in pieces."""
    monkeypatch.setitem(SIZES, "tiny", {**SMALL, "max_seconds": 0.7})
    config = configure(prepared, "data.crop_seconds=null")
    with pytest.raises(
        UserError, match=r"the encoder hears 0\.7 s at once: set data.crop_seconds, or w"
    ):
        run_finetune(config, tmp_path / "run")


def test_clips_longer_than_the_encoder_hears_are_learnt_window_by_window(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every training clip here is; the encoder itself refuses to hear one at once."""
    monkeypatch.setitem(SIZES, "tiny", {**SMALL, "max_seconds": 0.4})
    corpus = PreparedCorpus.load(prepared)
    assert corpus.num_samples.min() > 0.4 * 16_000
    windows = "windows={seconds: 0.4, hop_seconds: 0.2, combination: attention}"
    run_finetune(configure(prepared, "data.crop_seconds=null", windows), tmp_path / "run")
    classifier = load_classifier(tmp_path / "run")
    waveform = torch.from_numpy(corpus.views[0].astype(np.float32) / 32768)[None]
    with pytest.raises(ValueError, match=r"must not exceed 0\.4 s"):
        classifier.encoder.patch_audio(waveform)
    with torch.no_grad():
        answer = classifier.probabilities(waveform, torch.tensor([waveform.shape[1]]))
    assert float(answer.sum()) == pytest.approx(1, abs=1e-5)
    assert '"training_accuracy"' in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_models_are_not_mistaken_for_one_another(
    prepared: Path, encoder: Path, tuned: Path, tmp_path: Path
) -> None:
    """A classifier as an encoder would bring in the labels of other folds' test clips."""
    with pytest.raises(UserError, match="holds a ssl_audio_classifier, expected a ssl_audio_enc"):
        run_finetune(configure(prepared, f"encoder={tuned}", "data.fold=2"), tmp_path / "run")
    with pytest.raises(UserError, match="holds a ssl_audio_encoder, expected a ssl_audio_class"):
        load_classifier(encoder)
    broken = tmp_path / "broken"
    shutil.copytree(tuned, broken)
    weights = load_file(broken / "model.safetensors")
    save_file(dict(list(weights.items())[1:]), broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="does not fit AudioClassifier: .*missing_keys"):
        load_classifier(broken)


def test_the_best_step_survives_until_no_checkpoint_needs_it(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best is step 2; a better step 5 comes after checkpoint 4 and is lost by a kill."""

    def right() -> Iterator[int]:
        yield from (1, 6, 1, 2, 11)
        raise KeyboardInterrupt

    monkeypatch.setattr("finetune.learning.predict_clips", Answering(right()))
    more = ("evaluate_every=1", "train.save_every=4", "train.max_steps=10")
    config = configure(prepared, *more)
    with pytest.raises(KeyboardInterrupt):
        run_finetune(config, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000004"]
    monkeypatch.setattr("finetune.learning.predict_clips", Answering(itertools.repeat(0)))
    cut = configure(prepared, *more, "train.max_seconds=0.001")
    run_finetune(cut, tmp_path / "run", resume=True)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["metrics"]["best_step"] == 2 and record["budget_cut"]


def test_wrong_inputs_are_named(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no model: expected the output of ssl_audio pretr"):
        run_finetune(configure(prepared, f"encoder={tmp_path}"), tmp_path / "a")
    with pytest.raises(DataError, match="has the folds 1, 2, 3, 4, 5, 6; asked for 9"):
        run_finetune(configure(prepared, "data.fold=9"), tmp_path / "b")
    with pytest.raises(DataError, match="synthetic-3/speakers6"):
        run_finetune(configure(prepared, "data.folds=no-such"), tmp_path / "c")
    with pytest.raises(UserError, match="holds no model"):
        load_classifier(tmp_path)
    clips = [Clip(clip_id="x", path="x", emotion="bored")]
    with pytest.raises(DataError, match="1 of 1 clips have no label among a, b"):
        SingleLabel(("a", "b")).encode(clips)


@pytest.mark.parametrize("patch_size", [(64, 4), (16, 16)])
@pytest.mark.parametrize("pooling", ["mean", "mean_std", "attention", "cls"])
def test_padding_and_batch_change_no_answer(patch_size: tuple[int, int], pooling: str) -> None:
    """Not even a batch-mate that is too long for one pass of the encoder."""
    torch.manual_seed(0)
    shape = AudioEncoderConfig(
        hidden_size=48,
        num_attention_heads=2,
        num_hidden_layers=2,
        patch_size=patch_size,
        max_seconds=2.0,
    )
    config = AudioClassifierConfig(encoder_config=shape, pooling=pooling, classes=["a", "b"])
    classifier = AudioClassifier(config).eval()
    waveform = torch.randn(4, 90_000) * 0.1
    lengths = torch.tensor([30_000, 11_111, 700, 90_000])
    with torch.no_grad():
        together = classifier.probabilities(waveform, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = classifier.probabilities(waveform[row : row + 1, :length])
            torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(together.sum(1), torch.ones(4))


def test_impossible_classifiers_are_refused() -> None:
    with pytest.raises(ValueError, match="knows no poling"):
        AudioClassifierConfig(poling="mean")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="at least 2 classes"):
        AudioClassifier(AudioClassifierConfig(encoder_config=AudioEncoderConfig()))


def test_predict_and_evaluate_commands(prepared: Path, tuned: Path, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 30_000)
    sf.write(folder / "a.wav", noise, 16_000)
    sf.write(folder / "b.flac", np.stack([noise, noise], 1), 44_100)
    (folder / "c.wav").write_text("this is no audio")
    table = tmp_path / "out.csv"
    arguments = ["predict", folder, "--model", tuned, "--output", table]
    done = run_command("finetune", *arguments)
    assert done.returncode == 0 and "2 of 3 files predicted" in done.stdout
    alone = run_command("finetune", "predict", folder / "c.wav", *arguments[2:])
    assert alone.returncode == 2 and "none of 1 files could be read" in alone.stderr
    assert run_command("finetune", *arguments).returncode == 0
    lines = table.read_text().splitlines()
    assert lines[0] == "file,emotion,neutral,happy,angry,error"
    assert len(lines) == 4 and "can't be decoded" in lines[3]
    evaluate = ("evaluate", "--model", tuned, "--input", prepared)
    done = run_command("finetune", *evaluate)
    assert done.returncode == 0 and "uar" in done.stdout and "not honest" in done.stdout
    done = run_command("finetune", *evaluate, "--fold=1", "--json", tmp_path / "scores.json")
    record = json.loads((tuned / "run.json").read_text())
    assert f"{record['metrics']['test_uar']:.4f}" in done.stdout
    assert "not honest" not in done.stdout
    told = json.loads((tmp_path / "scores.json").read_text())
    assert {f"test_{name}": value for name, value in told["scores"].items()} == pytest.approx(
        {name: value for name, value in record["metrics"].items() if name.startswith("test_")}
    )
    speakers = {row["group"]: row["num_clips"] for row in told["groups"]["speakers"]}
    assert sum(speakers.values()) == told["num_clips"] and told["heard"] == []
    assert (told["model"], told["corpus"], told["fold"]) == (str(tuned), str(prepared), 1)
    done = run_command("finetune", *evaluate, "--json", tmp_path / "no" / "scores.json")
    assert done.returncode == 2 and "there is no folder" in done.stderr


DATA = ("--set", "data.corpus=nowhere", "--set", "data.folds=f")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["train", "--output", "x"],
            "data is needed: give --set data.corpus=... and --set data.folds=...",
        ),
        (
            ["train", *DATA, "--set", "strategy=lora", "--output", "x"],
            "error: strategy lora changes",
        ),
        (["train", *DATA], "--output is needed"),
        (["train", "--config", "no.yaml", "--output", "x"], "no.yaml: No such file"),
        (["predict", "no.wav", "--model", "no", "--output", "x.csv"], "no.wav: no such file"),
        (["evaluate", "--model", "no", "--input", "no"], "no holds no model"),
        (["train", "--set", "train.batch_size=1", "--output", "x"], "train.batch_size"),
        (["train", "--set", "evaluate_every=0", "--output", "x"], "evaluate_every"),
    ],
)
def test_a_newcomers_mistakes_get_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["finetune", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.run(app, "finetune")
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.slow
def test_a_mistake_is_told_by_the_command_itself(tmp_path: Path) -> None:
    done = call("finetune", "train", "--config", "no.yaml", "--output", str(tmp_path / "x"))
    assert done.returncode == 2
    assert "no.yaml: No such file" in done.stderr and len(done.stderr.splitlines()) == 1


def call(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)

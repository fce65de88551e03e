"""The loop through its real commands: resume after kill -9, two processes, wrong settings."""

import json
import re
import shutil
import time
from pathlib import Path

import pytest
import torch
from accelerate import PartialState
from safetensors.torch import load_file

from ssl_audio.checkpoint import load_newest, save_checkpoint
from ssl_audio.config import load_config
from ssl_audio.errors import ConfigError, UserError
from ssl_audio.pretrain import PretrainConfig, pretrain
from tests.ssl_audio.launching import Launched, launch

PROTOCOL = "synthetic-3/speakers6"
SMALL = [
    "encoder.size=tiny",
    "objective.decoder.layers=1",
    "data.crop_seconds=0.6",
    "train.batch_size=4",
    "train.max_steps=24",
    "train.warmup_steps=4",
    "train.save_every=4",
    "train.log_every=2",
    "train.precision=float32",
    "train.attention=eager",
]
TWO_STEPS = ("train.max_steps=2", "train.save_every=1")
SHAPE = ("objective.decoder.layers", "train.precision", "train.attention", "train.warmup_steps")


def settings(prepared: Path, *more: str) -> list[str]:
    data = [f"data.corpus={prepared}", f"data.folds={PROTOCOL}"]
    return [*data, *SMALL, *more]


def start(prepared: Path, output: Path, *more: str, resume: bool = False) -> Launched:
    sets = [part for item in settings(prepared, *more) for part in ("--set", item)]
    arguments = ["pretrain", *sets, "--output", str(output), *(["--resume"] if resume else [])]
    return launch(arguments, output.with_suffix(".log"))


def run(prepared: Path, output: Path, *more: str, resume: bool = False) -> None:
    started = start(prepared, output, *more, resume=resume)
    assert started.wait() == [0], started.said()


def weights(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "model.safetensors")


def logged(output: Path) -> list[dict[str, float]]:
    """What the loop wrote of training itself, between the lines of watch and monitor."""
    lines = [json.loads(x) for x in (output / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line]


def steps(output: Path) -> list[int]:
    return [int(line["step"]) for line in logged(output)]


@pytest.fixture(scope="module")
def undisturbed(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "run"
    run(prepared, output)
    return output


def test_kill_9_and_resume_end_in_the_same_weights(
    prepared: Path, undisturbed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "killed"
    started = start(prepared, output, "train.num_workers=2")
    # Killed between two checkpoints, so that steps are lost and have to come again.
    deadline = time.monotonic() + 120
    while not (output / "metrics.jsonl").exists() or max(steps(output), default=0) < 10:
        assert started.is_alive() and time.monotonic() < deadline
        time.sleep(0.01)
    started.kill()
    saved = sorted(path.name for path in (output / "checkpoints").glob("step-*"))
    assert saved and not (output / "run.json").exists()
    assert int(saved[-1].removeprefix("step-")) < 24
    run(prepared, output, resume=True)
    expected, resumed = weights(undisturbed), weights(output)
    assert expected.keys() == resumed.keys()
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    assert steps(output) == steps(undisturbed) == list(range(2, 25, 2))
    losses = [[line["loss"] for line in logged(path)] for path in (output, undisturbed)]
    assert losses[0] == losses[1]


def test_accumulation_equals_a_larger_batch(
    prepared: Path, undisturbed: Path, tmp_path: Path
) -> None:
    config = load_config(
        PretrainConfig,
        None,
        settings(prepared, "train.batch_size=2", "train.accumulation=2"),
    )
    pretrain(config, tmp_path / "run")
    expected, found = weights(undisturbed), weights(tmp_path / "run")
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=2e-4, rtol=0)


def test_loss_falls_and_the_record_is_whole(undisturbed: Path) -> None:
    lines = logged(undisturbed)
    assert lines[-1]["loss"] < 0.97 * lines[0]["loss"]
    record = json.loads((undisturbed / "run.json").read_text())
    assert record["choices"]["precision"] == "float32" and record["choices"]["attention"] == "eager"
    assert record["config"]["train"]["max_steps"] == 24
    assert re.fullmatch("[0-9a-f]{64}", record["data_fingerprint"])
    assert record["num_clips"] > 0 and record["wall_seconds"] > 0
    for name in ("loss.png", "reconstruction.png"):
        assert (undisturbed / name).read_bytes()[:4] == b"\x89PNG"


def test_a_finished_or_foreign_folder_is_refused(prepared: Path, undisturbed: Path) -> None:
    config = load_config(PretrainConfig, None, settings(prepared))
    with pytest.raises(UserError, match="pass --resume or another --output"):
        pretrain(config, undisturbed)
    other = load_config(PretrainConfig, None, settings(prepared, "train.lr=0.1"))
    with pytest.raises(UserError, match=r"train.lr was 0.0005 and is now 0.1"):
        pretrain(other, undisturbed, resume=True)


def test_another_kind_of_device_is_refused(prepared: Path, tmp_path: Path) -> None:
    config = load_config(PretrainConfig, None, settings(prepared, "train.max_steps=1"))
    pretrain(config, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    saved = load_newest(folder)
    assert saved is not None
    here = saved.state["identity"]["device"]
    saved.state["identity"]["device"] = "abacus"
    save_checkpoint(folder, 1, saved, keep=1)
    with pytest.raises(UserError, match=f"device was 'abacus' and is now '{here}'"):
        pretrain(config, tmp_path / "run", resume=True)


@pytest.fixture(scope="module")
def two_checkpoints(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the steps 1 and 2."""
    output = tmp_path_factory.mktemp("two") / "run"
    pretrain(load_config(PretrainConfig, None, settings(prepared, *TWO_STEPS)), output)
    return output


@pytest.mark.parametrize(
    ("torn", "here", "there"),
    [((), "step 2", "none"), ((2,), "step 1", "step 2"), ((1, 2), "none whole", "step 2")],
)
def test_processes_that_find_different_checkpoints_are_refused(
    torn: tuple[int, ...],
    here: str,
    there: str,
    two_checkpoints: Path,
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(two_checkpoints, tmp_path / "run")
    for step in torn:
        folder = tmp_path / "run" / "checkpoints" / f"step-{step:08d}"
        (folder / "optimizer.safetensors").write_bytes(b"torn")
    monkeypatch.setattr("ssl_audio.session.gather_object", lambda found: [*found, there])
    config = load_config(PretrainConfig, None, settings(prepared, *TWO_STEPS))
    with pytest.raises(UserError, match=f"different checkpoints.*: {here}.*, {there};") as told:
        pretrain(config, tmp_path / "run", resume=True)
    assert "\n" not in str(told.value)


def test_a_loss_that_is_not_finite_stops_with_its_step(prepared: Path, tmp_path: Path) -> None:
    wild = settings(prepared, "train.lr=1e30", "train.max_grad_norm=1e30", "train.warmup_steps=0")
    with pytest.raises(UserError, match=r"not finite at step [23]\b"):
        pretrain(load_config(PretrainConfig, None, wild), tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_cut_run_says_so(prepared: Path, tmp_path: Path) -> None:
    config = load_config(PretrainConfig, None, settings(prepared, "train.max_seconds=1e-6"))
    pretrain(config, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["budget_cut"] and record["metrics"]["steps"] == 1


def test_probed_choices_are_recorded_and_reused(prepared: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    probing = ("train.precision=auto", "train.attention=auto", "train.max_steps=4")
    run(prepared, output, *probing)
    choices = json.loads((output / "run.json").read_text())["choices"]
    assert choices["precision"] in ("float32", "bfloat16")
    assert choices["attention"] in ("eager", "sdpa") and choices["threads"] == 1
    newest = load_newest(output / "checkpoints")
    assert newest is not None and newest.state["choices"] == choices


def test_processes_that_do_not_find_each_other_are_refused(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(PretrainConfig, None, settings(prepared))
    PartialState(cpu=True)  # alone, before the launcher's announcement is in the environment
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="announced 2 processes, 1 found each other"):
        pretrain(config, tmp_path / "run")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("train.log_every=0", "train.log_every"),
        ("train.batch_size=0", "train.batch_size"),
        ("train.max_steps=0", "train.max_steps"),
        ("train.keep_checkpoints=0", "train.keep_checkpoints"),
        ("encoder.patch_size=[60,4]", "mel dividing n_mels = 64"),
        ("objective.decoder.heads=5", "dim must be a multiple of 4 and of 2 x heads: of 20"),
        ("objective.mask_ratio=1", "objective.mask_ratio"),
        ("data.crop_seconds=40", "data.crop_seconds"),
        ("data.crop_seconds=-1", "data.crop_seconds"),
    ],
)
def test_impossible_settings_are_named(prepared: Path, setting: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(PretrainConfig, None, settings(prepared, setting))
    assert said in str(caught.value)


def test_resume_without_a_checkpoint_says_that_it_starts_anew(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config(PretrainConfig, None, settings(prepared, "train.max_steps=2"))
    pretrain(config, tmp_path / "run", resume=True)
    assert "nothing to resume" in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["metrics"]["steps"] == 2


@pytest.mark.real_data
def test_loss_falls_on_real_audio(real_data: Path, tmp_path: Path) -> None:
    from ssl_audio.data.prepare import prepare

    prepare("ravdess", real_data / "ravdess" / "Actor_01", tmp_path / "prepared")
    data = [f"data.corpus={tmp_path / 'prepared'}", "data.crop_seconds=1.0"]
    steps = ["train.max_steps=100", "train.batch_size=8", "train.lr=1e-3", "train.log_every=10"]
    sets = [*data, *[item for item in SMALL if item.split("=")[0] in SHAPE], *steps]
    pretrain(load_config(PretrainConfig, None, sets), tmp_path / "run")
    losses = [line["loss"] for line in logged(tmp_path / "run")]
    # Targets have variance 1: a model that knows nothing scores 1 at best.
    assert losses[-1] < 0.95 and losses[-1] < 0.85 * losses[0]

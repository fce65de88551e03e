"""The watch on collapse: what it measures, what it stops, what it lets pass."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ssl_audio.alarm import CollapseError
from ssl_audio.collapse import (
    CollapseWatch,
    WatchConfig,
    effective_rank,
    measure_level,
    share_of_still,
)
from ssl_audio.config import load_config
from ssl_audio.data.stream import CropStream, Ints
from ssl_audio.errors import UserError
from ssl_audio.failing import find_failure
from ssl_audio.objectives.base import Level
from ssl_audio.pretrain import PretrainConfig, pretrain
from ssl_audio.probes import rank_me


def level(vectors: Tensor, lengths: list[int]) -> Level:
    return Level(vectors, torch.arange(vectors.shape[1]) < torch.tensor(lengths)[:, None])


def random_vectors(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)) + 0.5


def test_spread_is_what_loops_say() -> None:
    vectors, lengths = random_vectors(5, 7, 3), [7, 7, 4, 1, 6]
    found = measure_level(level(vectors, lengths))
    kept = [[vectors[c, p].tolist() for p in range(lengths[c])] for c in range(5)]
    values = [x for clip in kept for vector in clip for x in vector]
    scale = math.sqrt(sum(x * x for x in values) / len(values))

    def deviation(groups: list[list[list[float]]]) -> float:
        squares = []
        for group in groups:
            for axis in range(3):
                mean = sum(vector[axis] for vector in group) / len(group)
                squares += [(vector[axis] - mean) ** 2 for vector in group]
        return math.sqrt(sum(squares) / len(squares)) / scale

    at_places = [[clip[p] for clip in kept if len(clip) > p] for p in range(7)]
    assert found["scale"].item() == pytest.approx(scale, rel=1e-5)
    compared = [group for group in at_places if len(group) > 1]
    assert found["over_clips"].item() == pytest.approx(deviation(compared), rel=1e-5)
    within = [clip for clip in kept if len(clip) > 1]
    assert found["over_places"].item() == pytest.approx(deviation(within), rel=1e-5)


def test_few_clips_or_one_place_are_not_compared() -> None:
    assert set(measure_level(level(random_vectors(3, 2, 3), [2, 2, 2]))) == {"scale", "over_places"}
    assert set(measure_level(level(random_vectors(4, 1, 3), [1] * 4))) == {"scale", "over_clips"}


def test_what_is_not_counted_may_be_anything() -> None:
    vectors = random_vectors(4, 3, 2)
    other = vectors.clone()
    other[1, 2:] = torch.nan
    lengths = [3, 2, 3, 3]
    assert measure_level(level(vectors, lengths)) == measure_level(level(other, lengths))
    assert measure_level(level(vectors, [0] * 4))["scale"] == 0


def test_what_can_not_be_compared_is_not_judged() -> None:
    """Of every clip one place is counted, and no two clips' are the same."""
    vectors, apart = random_vectors(4, 4, 3), torch.eye(4, dtype=torch.bool)
    found = measure_level(Level(vectors, apart))
    assert found["scale"] > 0
    assert found["over_clips"].isnan() and found["over_places"].isnan()
    values = {f"prediction/{name}": float(value) for name, value in found.items()}
    assert find_failure({**HEALTHY, **values}, HEALTHY) is None
    assert find_failure({**HEALTHY, **values}, {**HEALTHY, **values}) is None


def test_rank_is_rank_me() -> None:
    vectors = random_vectors(9, 1, 6)
    pooled = torch.cat([vectors[:, 0], torch.full((9, 6), 1e-3)], dim=1)
    found = effective_rank(level(vectors, [1] * 9)).item()
    assert found == pytest.approx(rank_me(pooled.numpy()), rel=1e-4)
    line = random_vectors(9, 1, 1) * torch.ones(6)
    assert effective_rank(level(line, [1] * 9)).item() == pytest.approx(1, abs=1e-3)


def test_still_clips_are_counted() -> None:
    waveform = random_vectors(4, 50, 1)
    waveform[1] = 0.0
    waveform[2, :20] = 0.25
    assert share_of_still(level(waveform, [50, 50, 20, 50])).item() == 0.5


HEALTHY = {
    "waveform/scale": 0.1,
    "waveform/still": 0.0,
    "log_mel/scale": 1.0,
    "log_mel/over_clips": 0.9,
    "block_1/scale": 0.02,
    "block_1/over_clips": 0.3,
    "block_1/over_places": 0.4,
    "cls/scale": 1.0,
    "cls/over_clips": 0.1,
    "embedding/scale": 1.0,
    "embedding/over_clips": 0.4,
    "embedding/rank": 9.0,
    "target/scale": 1.0,
    "target/over_clips": 0.5,
    "sound": 1.0,
    "loss": 2.0,
    "grad_norm": 1.0,
}


@pytest.mark.parametrize(
    ("changes", "named", "said"),
    [
        ({"sound": 0.5}, "waveform", "not finite"),
        ({"waveform/still": 0.5, "cls/over_clips": 0.0}, "waveform", "50% clips"),
        ({"log_mel/scale": 1e-3}, "log_mel", "about 1 is expected"),
        ({"block_1/scale": math.nan}, "block_1", "not finite"),
        ({"block_1/over_places": 0.0, "cls/over_clips": 0.0}, "block_1", "all along a clip"),
        ({"block_1/scale": 1e-4}, "block_1", "shrank"),
        ({"block_1/scale": 0.0019}, "block_1", "shrank to 9.5e-02"),
        ({"block_1/over_clips": 0.019, "cls/over_clips": 0.0}, "block_1", "same for all clips"),
        ({"block_1/scale": 1e4}, "block_1", "grew"),
        ({"cls/over_clips": 1e-5}, "cls", "same for all clips"),
        ({"embedding/rank": 1.1}, "embedding", "1.1 dimensions"),
        ({"target/over_clips": 0.1}, "target", "kept 0.20"),
        ({"target/scale": 0.0}, "target", "zero"),
        ({"loss": math.inf}, "loss", "not finite"),
        ({"loss": 0.0}, "loss", "zero"),
        ({"loss": 20.0}, "loss", "rose from 2 to 20"),
        ({"grad_norm": 1e9}, "gradient", "norm of 1.0e+09"),
        ({"grad_norm": 0.0}, "gradient", "norm of"),
    ],
)
def test_the_first_failed_level_is_named(changes: dict[str, float], named: str, said: str) -> None:
    assert find_failure(HEALTHY, HEALTHY) is None
    failure = find_failure({**HEALTHY, **changes}, HEALTHY)
    assert failure is not None and failure.level == named and said in failure.what


def test_stages_without_positions_beside_them_have_wider_bounds() -> None:
    """And a block may lose all but a tenth of its scale."""
    few = {"cls/over_clips": 0.015, "cls/scale": 0.05, "block_1/scale": 0.0021}
    few |= {"block_1/over_places": 0.0011}
    assert find_failure({**HEALTHY, **few}, HEALTHY) is None


def test_losses_near_zero_or_of_few_clips_may_rise() -> None:
    near_zero = {**HEALTHY, "loss": 0.2}
    assert find_failure({**HEALTHY, "loss": 1.1}, near_zero) is None
    few = {name: value for name, value in HEALTHY.items() if name != "embedding/rank"}
    assert find_failure({**few, "loss": 20.0}, few) is None
    assert find_failure({**few, "loss": math.nan}, few) is not None


SILENT = {**HEALTHY, "waveform/still": 1.0, "waveform/scale": 0.0, "target/scale": 0.0}


def without_rank(values: dict[str, float]) -> dict[str, float]:
    """As of fewer than four clips."""
    return {name: value for name, value in values.items() if name != "embedding/rank"}


def test_a_look_at_few_clips_that_are_silent_tells_nothing() -> None:
    watch = CollapseWatch(None, WatchConfig())  # type: ignore[arg-type]
    sounding, silent = without_rank(HEALTHY), without_rank(SILENT)
    half = {**sounding, "waveform/still": 0.5}
    for first in (sounding, silent, half):
        for values in (sounding, silent, half):
            watch.judge(1, values, first)
    with pytest.raises(CollapseError, match="block_1 was not finite"):
        watch.judge(1, {**sounding, "block_1/scale": math.nan}, silent)
    with pytest.raises(CollapseError, match="waveform held 50% clips"):
        watch.judge(1, {**HEALTHY, "waveform/still": 0.5}, HEALTHY)


def test_one_silent_clip_is_no_reason_to_stop_a_run_of_one_clip_a_batch(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = CropStream.cut
    cuts: list[int] = []

    def silence_second(stream: CropStream, clips: Ints, keys: Tensor) -> tuple[Tensor, Tensor]:
        waveform, num_samples = cut(stream, clips, keys)
        cuts.append(len(clips))
        return waveform * (cuts.count(1) != 2 or len(clips) > 1), num_samples

    monkeypatch.setattr(CropStream, "cut", silence_second)
    small = settings(prepared, "train.batch_size=1", "watch.every=1", "train.max_steps=4")
    pretrain(load_config(PretrainConfig, None, small), tmp_path / "run")
    looks = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    still = [look["watch/waveform/still"] for look in looks if "watch/waveform/still" in look]
    assert still == [0, 1, 0, 0]


def settings(prepared: Path, *more: str) -> list[str]:
    return [
        f"data.corpus={prepared}",
        "data.crop_seconds=0.6",
        "objective.decoder.layers=1",
        "train.batch_size=8",
        "train.max_steps=6",
        "train.warmup_steps=2",
        "train.save_every=2",
        "train.log_every=2",
        "train.precision=float32",
        "train.attention=eager",
        "watch.every=3",
        *more,
    ]


def test_a_collapse_stops_the_run_and_leaves_the_last_checkpoint(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = CollapseWatch.measure

    def collapse_later(watch: CollapseWatch, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            if len(list((tmp_path / "run").glob("checkpoints/step-*"))):
                watch.objective.encoder.patch_embedding.weight.zero_()
        return measure(watch, batch)

    monkeypatch.setattr(CollapseWatch, "measure", collapse_later)
    with pytest.raises(CollapseError, match="patch_embedding .* at step 3: lower train.lr") as told:
        pretrain(load_config(PretrainConfig, None, settings(prepared)), tmp_path / "run")
    assert isinstance(told.value, UserError) and "\n" not in str(told.value)
    saved = [path.name for path in (tmp_path / "run" / "checkpoints").glob("step-*")]
    assert saved == ["step-00000002"]


def test_nothing_to_predict_is_told_before_the_first_step(prepared: Path, tmp_path: Path) -> None:
    idle = settings(prepared, "objective.mask_ratio=0")
    with pytest.raises(CollapseError, match="prediction .* at step 1: raise objective.mask_ratio"):
        pretrain(load_config(PretrainConfig, None, idle), tmp_path / "run")


@pytest.mark.parametrize(
    ("few", "hidden"),
    [
        (["objective.mask_ratio=0.05"], 1),
        (["objective.prediction_ratio=0.02"], 11),
        (["data.crop_seconds=0.12", "objective.prediction_ratio=0.5"], 2),
    ],
)
def test_few_places_to_predict_are_no_collapse(
    few: list[str], hidden: int, prepared: Path, tmp_path: Path
) -> None:
    """What can't be compared with another place of the clip is null in the metrics."""
    pretrain(load_config(PretrainConfig, None, settings(prepared, *few)), tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    looks = [json.loads(line, parse_constant=refuse) for line in lines]
    places = [look[name] for look in looks if (name := "watch/prediction/over_places") in look]
    assert len(places) == 3 and all((spread is None) == (hidden == 1) for spread in places)


def test_due() -> None:
    watch = CollapseWatch(None, WatchConfig(every=20))  # type: ignore[arg-type]
    assert [step for step in range(1, 61) if watch.due(step)] == [1, 20, 40, 60]
    never = CollapseWatch(None, WatchConfig(every=0))  # type: ignore[arg-type]
    assert not any(never.due(step) for step in range(1, 61))

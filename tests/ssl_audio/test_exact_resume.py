"""Whatever kills a run and wherever, the resumed one ends in the same weights, bit by bit."""

import json
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.stream import BackgroundStream, StepSampler, build_loader
from ssl_audio.masking import MaskingConfig, draw_masks
from ssl_audio.objectives.contrastive import ContrastConfig, hear_two_views
from ssl_audio.patches import Grid
from tests.ssl_audio.launching import Launched, launch
from tests.ssl_audio.test_processes import arguments, learnt

NUM_KILLS = 20
NUM_STEPS = 12
# A contrast with other clips mixed in, beside a teacher that follows, and a watch that remembers
# its first look: all that a checkpoint has to hold.
JOINT = ["kind=joint", "contrast.view_seconds=0.4", "prediction.kind=latent"]
JOINT += ["contrast.least_background_db=5"]
JOINT += ["prediction.decoder.layers=1", "prediction.decoder.dim=48", "prediction.num_masks=2"]
SETS = [f"objective.{item}" for item in JOINT]
SETS += [f"train.max_steps={NUM_STEPS}", "train.save_every=3", "train.log_every=1"]
SETS += ["train.batch_size=2", "watch.every=4"]


def start(prepared: Path, output: Path, processes: int, workers: int, *more: str) -> Launched:
    sets = (*SETS, f"train.num_workers={workers}")
    log = output.with_name(f"{output.name}.log")
    return launch([*arguments(prepared, output, *sets), *more], log, processes)


def last_step(output: Path) -> int:
    try:
        lines = (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return max((json.loads(line)["step"] for line in lines), default=0)
    except (OSError, ValueError):
        return 0


def kill_about(launched: Launched, output: Path, step: int, pause: float) -> None:
    """As soon as a step is logged and a pause is over, which may end while a checkpoint is written.

    A step of 0 is before the first one, while the command still gets ready.
    """
    deadline = time.monotonic() + 240
    while last_step(output) < step and launched.is_alive():
        assert time.monotonic() < deadline, launched.said()
        time.sleep(0.005)
    time.sleep(pause)
    launched.kill()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_runs_resume_exactly(
    processes: int, workers: int, prepared: Path, tmp_path: Path
) -> None:
    undisturbed = tmp_path / "undisturbed"
    launched = start(prepared, undisturbed, processes, 0)
    assert launched.wait() == [0] * processes, launched.said()
    expected = learnt(undisturbed)
    assert any("teacher" in name for name in expected)
    chance = random.Random(f"{processes} {workers}")
    record = json.loads((undisturbed / "run.json").read_text(encoding="utf-8"))
    seconds = record["wall_seconds"] / NUM_STEPS
    killed_at: list[int] = []
    for number in range(2 * NUM_KILLS):
        output = tmp_path / str(number)
        launched = start(prepared, output, processes, workers)
        kill_about(launched, output, chance.randrange(NUM_STEPS), chance.uniform(0, 2 * seconds))
        if not (output / "run.json").exists():  # else the kill came too late to be one
            killed_at.append(last_step(output))
            launched = start(prepared, output, processes, workers, "--resume")
            assert launched.wait() == [0] * processes, launched.said()
        found = learnt(output)
        assert expected.keys() == found.keys()
        different = [name for name in expected if not torch.equal(expected[name], found[name])]
        assert not different, f"killed after step {killed_at[-1:]}: {different}"
        shutil.rmtree(output)
        if len(killed_at) == NUM_KILLS:
            break
    print(f"{processes} processes, {workers} workers, killed after steps {killed_at}: all equal")
    assert len(killed_at) == NUM_KILLS


def everything_drawn(prepared: Path, processes: int, workers: int) -> dict[int, dict[int, Tensor]]:
    """By step and key of a draw: crop and background, both changed views and their masks."""
    corpus = PreparedCorpus.load(prepared)
    stream = BackgroundStream(corpus, np.arange(3, len(corpus)), seed=0, crop_seconds=0.8)
    config = ContrastConfig(view_seconds=0.4, least_background_db=5.0)
    steps: dict[int, dict[int, Tensor]] = {}
    for process in range(processes):
        sampler = StepSampler(12 // processes, 1, 2, 8, process, processes)
        for step, batch in enumerate(build_loader(stream, sampler, workers)):
            heard = hear_two_views(batch, config)
            rows = len(heard.keys)
            visible = torch.zeros(rows, 10, dtype=torch.bool)
            masking = MaskingConfig(num_masks=2)
            masks = draw_masks(heard.keys, masking, Grid(1, 10), visible).mask
            drawn = [batch["waveform"].float(), batch["background"].float()]
            drawn += [*heard.changed.chunk(2), *masks.float().chunk(4)]
            together = torch.cat(drawn, dim=1)
            by_key = zip(batch["keys"].tolist(), together, strict=True)
            steps.setdefault(step, {}).update(by_key)
    return steps


@pytest.mark.parametrize(("processes", "workers"), [(1, 2), (2, 0), (2, 2), (4, 0), (4, 2)])
def test_every_draw_is_the_same_for_any_number_of_workers_and_processes(
    processes: int, workers: int, prepared: Path
) -> None:
    expected = everything_drawn(prepared, 1, 0)
    found = everything_drawn(prepared, processes, workers)
    assert len(expected) == 6
    for step, draws in expected.items():
        assert draws.keys() == found[step].keys() and len(draws) == 12
        assert all(torch.equal(draw, found[step][key]) for key, draw in draws.items())

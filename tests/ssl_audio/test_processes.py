"""Two processes with half the batch each are one process, whatever is learnt."""

import json
from pathlib import Path

import pytest
from einops import rearrange
from torch import Tensor

from ssl_audio.checkpoint import load_newest
from tests.ssl_audio.launching import launch
from tests.ssl_audio.test_training import settings, weights

SHAPE = ["decoder.layers=1", "decoder.dim=48"]
SOUNDS = [*SHAPE, "num_clusters=16"]
TEACHER = [*SHAPE, "average_layers=4", "num_masks=2"]
VIEWS = ["contrast.view_seconds=0.4"]
OBJECTIVES = {
    "masked": ["kind=masked", *SHAPE],
    "contrastive": ["kind=contrastive", "view_seconds=0.4"],
    "bilinear": ["kind=contrastive", "view_seconds=0.4", "similarity=bilinear"],
    "latent": ["kind=latent", *TEACHER],
    "quantized": ["kind=quantized", *SOUNDS],
    "descriptors": ["kind=descriptors", *SHAPE],
    "joint": ["kind=joint", *VIEWS, *(f"prediction.{s}" for s in ("kind=quantized", *SOUNDS))],
    "joint latent": ["kind=joint", *VIEWS, *(f"prediction.{s}" for s in ("kind=latent", *TEACHER))],
}
IN_DEFAULT_RUN = "joint latent"
"""It has all that processes exchange: gathered views, a batch's mean and variance, a teacher."""


def arguments(prepared: Path, output: Path, *sets: str) -> list[str]:
    items = [item for item in settings(prepared) if not item.startswith("objective.")]
    parts = [part for item in [*items, *sets] for part in ("--set", item)]
    return ["pretrain", *parts, "--output", str(output)]


def learnt(output: Path) -> dict[str, Tensor]:
    """The saved encoder, and all of the last checkpoint: decoders, teachers, the optimizer."""
    newest = load_newest(output / "checkpoints")
    assert newest is not None
    parts = {"saved": weights(output), "module": newest.module, "optimizer": newest.optimizer}
    return {f"{part} {name}": value for part, all_ in parts.items() for name, value in all_.items()}


def differences(one: Path, other: Path) -> dict[str, float]:
    """The largest of every tensor, where there is something to learn."""
    first, second = learnt(one), learnt(other)
    assert first.keys() == second.keys()
    apart = {}
    for name, value in first.items():
        gap = (value.double() - second[name].double()).abs()
        if name.endswith("attention.qkv.bias"):
            # The keys' bias adds the same to all scores of a query, so that softmax takes it away:
            # its gradient is rounding (1e-10), which AdamW scales up.
            gap = rearrange(gap, "(three dim) -> three dim", three=3)[[0, 2]]
        apart[name] = float(gap.max())
    return apart


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n == IN_DEFAULT_RUN else pytest.mark.slow) for n in OBJECTIVES],
)
def test_two_processes_are_one_with_twice_the_batch(
    name: str, prepared: Path, tmp_path: Path
) -> None:
    own = [f"objective.{item}" for item in OBJECTIVES[name]]
    own += ["train.max_steps=20", "train.save_every=20"]
    for processes, batch_size in ((1, 8), (2, 4)):
        output = tmp_path / str(processes)
        sets = (*own, f"train.batch_size={batch_size}")
        launched = launch(arguments(prepared, output, *sets), tmp_path / "log", processes)
        assert launched.wait() == [0] * processes, launched.said()
        record = json.loads((output / "run.json").read_text())
        assert record["num_processes"] == processes
    apart = differences(tmp_path / "1", tmp_path / "2")
    assert max(apart.values()) < 1e-4, apart

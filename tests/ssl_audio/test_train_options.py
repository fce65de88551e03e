"""What changes how a run computes and not what it learns; and who else is told of it."""

import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from accelerate.tracking import TensorBoardTracker
from torch import Tensor, nn

from ssl_audio.alarm import CollapseError
from ssl_audio.config import load_config
from ssl_audio.errors import ConfigError
from ssl_audio.objectives.decoders import (
    ConvolutionBlock,
    ConvolutionDecoderConfig,
    TransformerDecoderConfig,
)
from ssl_audio.objectives.latent import LatentConfig, LatentObjective
from ssl_audio.pretrain import PretrainConfig, pretrain
from ssl_audio.transformer import Block, compile_blocks, recompute_blocks
from tests.ssl_audio.objectives.conftest import make_batch, make_encoder  # noqa: F401
from tests.ssl_audio.test_training import settings

DECODERS = [
    TransformerDecoderConfig(layers=1, dim=24, heads=2),
    ConvolutionDecoderConfig(layers=1, dim=24, groups=4),
]
OF_TORCH = pytest.mark.filterwarnings(
    "ignore::UserWarning:torch", "ignore::DeprecationWarning:torch"
)
"""Torch's compiler warns of what it does itself."""
Step = Callable[[Callable[[nn.Module], None]], tuple[Tensor, dict[str, Tensor]]]


@pytest.fixture(params=DECODERS, ids=lambda decoder: decoder.kind)
def step(request, make_encoder, make_batch) -> Step:  # noqa: F811
    """Loss and gradients of one batch, after a change to the module; with either decoder."""
    config = LatentConfig(num_masks=2, average_layers=2, decoder=request.param)

    def run(change: Callable[[nn.Module], None]) -> tuple[Tensor, dict[str, Tensor]]:
        torch.manual_seed(0)
        objective = LatentObjective(make_encoder(), config).train()
        change(objective)
        loss = objective(make_batch([16_000, 9_000, 16_000], 16_000)).loss
        loss.backward()
        weights = objective.named_parameters()
        return loss, {name: weight.grad for name, weight in weights if weight.grad is not None}

    return run


def test_recomputing_blocks_changes_no_gradient(step: Step) -> None:
    calls = []
    plain_loss, plain = step(lambda module: None)

    def count(module: nn.Module) -> None:
        recompute_blocks(module)
        for block in module.modules():
            if isinstance(block, Block | ConvolutionBlock):
                last = block.mlp_norm if isinstance(block, Block) else block.norm
                last.register_forward_hook(lambda *_: calls.append(1))

    loss, gradients = step(count)
    # Two blocks of the encoder and one of the decoder run twice, two of the teacher once.
    assert len(calls) == 2 * 3 + 2
    assert torch.equal(loss, plain_loss) and gradients.keys() == plain.keys()
    assert all(torch.equal(gradients[name], plain[name]) for name in plain)


def test_blocks_that_learn_in_part_are_compiled_and_recomputed(
    make_encoder,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the upper ones of an encoder whose lower ones are frozen, or those with adapters."""
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(module))
    encoder = make_encoder().requires_grad_(False)
    compile_blocks(encoder)
    recompute_blocks(encoder)
    assert not compiled and not any(block.gradient_checkpointing for block in encoder.blocks)
    last = encoder.blocks[-1]
    last.mlp[2].bias.requires_grad_(True)
    compile_blocks(encoder)
    recompute_blocks(encoder)
    assert compiled == [encoder.blocks]
    assert [block for block in encoder.blocks if block.gradient_checkpointing] == [last]


@pytest.mark.slow
@OF_TORCH
def test_compiled_blocks_learn_the_same(step: Step) -> None:
    plain_loss, plain = step(lambda module: None)
    loss, gradients = step(compile_blocks)
    torch.testing.assert_close(loss, plain_loss, atol=1e-5, rtol=0)
    for name, gradient in plain.items():
        torch.testing.assert_close(gradients[name], gradient, atol=1e-5, rtol=1e-3)


@pytest.mark.slow
@OF_TORCH
def test_a_compiled_and_recomputed_run_ends_where_a_plain_one_does(
    prepared: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    options = {"plain": [], "both": ["train.compile=true", "train.gradient_checkpointing=true"]}
    for name, more in options.items():
        sets = settings(prepared, "train.max_steps=4", *more)
        pretrain(load_config(PretrainConfig, None, sets), tmp_path / name)
    expected, found = (load_file(tmp_path / name / "model.safetensors") for name in options)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-4, rtol=0)


def test_tensorboard_gets_the_lines_of_the_metrics(prepared: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sets = settings(prepared, "train.max_steps=2", "train.trackers=[tensorboard]")
    pretrain(load_config(PretrainConfig, None, sets), tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tracked")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [2]
    assert {"grad_norm", "rank_me", "lr"} <= set(events.Tags()["scalars"])


def test_trackers_are_finished_by_a_collapse_too(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished: list[TensorBoardTracker] = []
    monkeypatch.setattr(TensorBoardTracker, "finish", lambda self: finished.append(self))
    idle = ("objective.mask_ratio=0", "train.trackers=[tensorboard]")
    with pytest.raises(CollapseError, match="at step 1"):
        pretrain(load_config(PretrainConfig, None, settings(prepared, *idle)), tmp_path / "run")
    assert len(finished) == 1


@pytest.mark.parametrize(
    ("tracker", "said"),
    [("paper", "paper is none of .*tensorboard"), ("aim", "pip install aim")],
)
def test_a_tracker_that_is_not_there_is_one_line(
    tracker: str, said: str, prepared: Path, tmp_path: Path
) -> None:
    config = load_config(PretrainConfig, None, settings(prepared, f"train.trackers=[{tracker}]"))
    with patch.dict(sys.modules, aim=None), pytest.raises(ConfigError, match=said):
        pretrain(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.throughput.pretraining import (
    ON_CPU,
    ON_GPU,
    Scale,
    build_ours,
    list_systems,
)
from benchmarks.throughput.rivals import build_vit_mae, build_wav2vec2
from benchmarks.throughput.steps import OPERATIONS, System, time_systems
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.errors import UserError
from ssl_audio.objectives.decoders import TransformerDecoderConfig
from ssl_audio.objectives.masked import MaskedConfig
from ssl_audio.probing import choose_precision
from ssl_audio.run_record import git_commit

CPU = torch.device("cpu")
SHAPE = AudioEncoderConfig(hidden_size=32, num_attention_heads=2, num_hidden_layers=2)


class Product(nn.Module):
    """One matrix product, whose operations are known."""

    config = SHAPE

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(32, 128, bias=False)

    def loss(self) -> Tensor:
        return self.layer(torch.ones(8, 32)).square().mean()


def test_rates_and_operations_are_those_of_the_steps(tmp_path: Path) -> None:
    product = Product()
    before = product.layer.weight.detach().clone()
    sizes = (8, 16, 2.0, 4)
    system = System("product", product, lambda: (product.loss(), 0.0), *sizes, "float32", CPU)
    report = time_systems([system], rounds=3, seconds=0.01)
    (row,) = report.rows
    # Forward and the weight's gradient: two products of 2 * 8 * 32 * 128; none for the input.
    assert row.flops_per_clip == 2 * 2 * 32 * 128
    assert row.audio_seconds_per_second == pytest.approx(2 * row.clips_per_second)
    assert row.views_per_second == pytest.approx(2 * row.clips_per_second)
    assert row.slowest <= row.audio_seconds_per_second <= row.fastest
    assert row.parameters == 32 * 128 and row.data_wait_fraction == 0
    assert not torch.equal(before, product.layer.weight)
    report.save(tmp_path / "report.json")
    saved = json.loads((tmp_path / "report.json").read_text())
    assert saved["processor"] and saved["git_commit"] == git_commit()
    assert json.loads((tmp_path / "report.json").read_text())["rows"][0]["system"] == "product"
    assert "product" in report.describe()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fused_attention_counts_as_its_products_do(dtype: torch.dtype) -> None:
    query, key, value = (torch.randn(2, 3, 20, 64, dtype=dtype, requires_grad=True) for _ in "qkv")
    with FlopCounterMode(display=False, custom_mapping=OPERATIONS) as fused:
        functional.scaled_dot_product_attention(query, key, value).float().sum().backward()
    with FlopCounterMode(display=False) as apart:
        ((query @ key.mT).softmax(-1) @ value).float().sum().backward()
    # Going back, the fused one makes the product of queries and keys again.
    again = 2 * 2 * 3 * 20 * 20 * 64
    assert fused.get_total_flops() == apart.get_total_flops() + again


def test_clips_that_are_too_short_are_refused(prepared: Path) -> None:
    corpus = PreparedCorpus.load(prepared)
    with pytest.raises(UserError, match=r"crops of 50 s are timed, and its longest clip has \d"):
        build_ours(corpus, "masked", "tiny", MaskedConfig(), 2, 50.0, "float32", CPU)


def test_ours_is_fed_from_the_corpus(prepared: Path) -> None:
    corpus = PreparedCorpus.load(prepared)
    system = build_ours(corpus, "masked", "tiny", MaskedConfig(num_masks=2), 2, 0.4, "float32", CPU)
    losses = [system.loss() for _ in range(2)]
    assert all(torch.isfinite(loss) and waited > 0 for loss, waited in losses)
    assert losses[0][0] != losses[1][0] and system.views == 4


def test_the_corpus_is_read_back_before_each_round_of_ours(prepared: Path) -> None:
    corpus = PreparedCorpus.load(prepared)
    read: list[slice] = []

    class View(np.ndarray):
        def __getitem__(self, part: Any) -> Any:
            read.append(part)
            return super().__getitem__(part)

    watched = replace(corpus, views=tuple(view.view(View) for view in corpus.views))
    config = MaskedConfig()
    system = build_ours(watched, "masked", "tiny", config, 2, 0.4, "float32", CPU)
    time_systems([system], rounds=1, seconds=0.0)
    pages = [part for part in read if part.step == 2048]  # 4 KiB of int16
    assert len(pages) == 2 * len(corpus)


@pytest.mark.slow
def test_the_table_of_a_gpu_has_the_rows_of_a_cpu_at_its_own_scale(prepared: Path) -> None:
    corpus = PreparedCorpus.load(prepared)
    small = replace(ON_GPU, size="tiny", patches_a_side=3, clip_seconds=0.4)
    systems = list_systems(corpus, small, 2, CPU)
    own = "bf16" if choose_precision(CPU) == "bfloat16" else "f32"
    assert [system.name for system in systems] == [
        *(
            f"ours, {kind}, tiny, {how}"
            for kind in ("masked", "masked, half predicted")
            for how in ("bf16", "bf16, compiled", "f32")
        ),
        "ViTMAE, our decoder, bf16",
        "ViTMAE, as shipped, bf16",
        "wav2vec 2.0, bf16",
        "ViTMAE, our decoder, f32",
        "ViTMAE, as shipped, f32",
        "wav2vec 2.0, f32",
        *(f"ours, latent, {masks} masks, tiny, {own}" for masks in (1, 4, 16)),
        f"ours, latent, 4 masks, tiny, {own}, compiled",
    ]
    assert [system.views for system in systems[-4:]] == [2, 8, 32, 8]


@pytest.mark.parametrize("groups", [1, 4])
def test_groups_of_a_convolution_are_counted_in_both_directions(groups: int) -> None:
    """What comes out of it and both gradients cost two operations a product each."""
    layer = nn.Conv2d(8, 8, (1, 3), padding=(0, 1), groups=groups)
    audio = torch.randn(2, 8, 1, 5, requires_grad=True)
    with FlopCounterMode(display=False, custom_mapping=OPERATIONS) as counting:
        layer(audio).sum().backward()
    products = 2 * 5 * 8 * (8 // groups) * 3
    assert counting.get_total_flops() == 3 * 2 * products


@pytest.mark.parametrize("decoder", [None, TransformerDecoderConfig(dim=24, heads=2)])
@pytest.mark.parametrize("scale", [ON_CPU, ON_GPU])
def test_vit_mae_gets_as_many_patches_as_ours(
    decoder: TransformerDecoderConfig | None, scale: Scale
) -> None:
    model, loss = build_vit_mae(SHAPE, decoder, None, 2, scale.patches_a_side, CPU)
    patches = model.vit.embeddings.patch_embeddings.num_patches
    assert patches == round(25 * scale.picture_seconds) == (81 if scale is ON_CPU else 256)
    assert model.config.patch_size**2 * model.config.num_channels == 64 * 4
    layers, width = (8, 512) if decoder is None else (2, 24)
    assert len(model.decoder.decoder_layers) == layers
    assert model.config.decoder_hidden_size == width and model.config.hidden_size == 32
    assert torch.isfinite(loss())


def test_wav2vec2_learns_from_masked_audio() -> None:
    model, loss = build_wav2vec2(SHAPE, batch_size=2, seconds=1.0, device=CPU)
    value = loss()
    value.backward()
    assert torch.isfinite(value) and model.wav2vec2.masked_spec_embed.grad.abs().sum() > 0

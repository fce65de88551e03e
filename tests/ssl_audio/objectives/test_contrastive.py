import math
from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.multiprocessing
from torch import Tensor

from ssl_audio.encoder import AudioEncoder
from ssl_audio.objectives.contrastive import (
    Bilinear,
    Contrast,
    ContrastConfig,
    ContrastiveConfig,
    ContrastiveObjective,
    NtXent,
    hear_two_views,
)
from tests.ssl_audio.launching import start_server
from tests.ssl_audio.objectives.conftest import Batches, Encoders

CLIPS = torch.tensor([3, 1, 4, 1])
"""The second and the last are one recording."""


def build(encoder: AudioEncoder, **settings: object) -> ContrastiveObjective:
    return ContrastiveObjective(encoder, ContrastiveConfig(projection_dim=16, **settings)).eval()


def draw_views(seed: int = 0, count: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(count, 8, generator=generator) for _ in range(2))  # type: ignore[return-value]


def slow_nt_xent(view_a: Tensor, view_b: Tensor, clips: Tensor, temperature: float) -> float:
    """The paper's formula in loops; views of the anchor's own recording are left out."""
    views = [*view_a.tolist(), *view_b.tolist()]
    names = [*clips.tolist(), *clips.tolist()]
    count = len(view_a)

    def similarity(u: list[float], v: list[float]) -> float:
        dot = sum(x * y for x, y in zip(u, v, strict=True))
        return dot / math.hypot(*u) / math.hypot(*v) / temperature

    losses = []
    for anchor in range(2 * count):
        partner = (anchor + count) % (2 * count)
        others = [k for k in range(2 * count) if k == partner or names[k] != names[anchor]]
        weights = [math.exp(similarity(views[anchor], views[k])) for k in others]
        losses.append(-math.log(weights[others.index(partner)] / sum(weights)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_nt_xent_equals_the_slow_definition(temperature: float) -> None:
    view_a, view_b = draw_views()
    loss = NtXent(temperature)(view_a, view_b, CLIPS)
    assert math.isclose(float(loss), slow_nt_xent(view_a, view_b, CLIPS, temperature), abs_tol=1e-5)


def test_bilinear_equals_the_slow_definition() -> None:
    torch.manual_seed(1)
    loss = Bilinear(8)
    torch.nn.init.normal_(loss.weight)
    view_a, view_b = draw_views()
    a, b = (torch.tanh(loss.norm(view)).tolist() for view in (view_a, view_b))
    weight = loss.weight.tolist()
    losses = []
    for i in range(4):
        scores = {
            j: sum(a[i][p] * weight[p][q] * b[j][q] for p in range(8) for q in range(8))
            for j in range(4)
            if j == i or CLIPS[j] != CLIPS[i]
        }
        losses.append(-math.log(math.exp(scores[i]) / sum(map(math.exp, scores.values()))))
    with torch.no_grad():
        fast = float(loss(view_a, view_b, CLIPS))
    assert math.isclose(fast, sum(losses) / 4, abs_tol=1e-5)


LOSSES = {"cosine": lambda: NtXent(0.2), "bilinear": lambda: Bilinear(8)}


@pytest.mark.parametrize("similarity", ["cosine", "bilinear"])
def test_similarities_keep_their_digits_under_autocast(
    similarity: Literal["cosine", "bilinear"],
) -> None:
    torch.manual_seed(0)
    config = ContrastConfig(similarity=similarity, projection_dim=8, temperature=0.02)
    contrast = Contrast(16, config).eval()
    tokens, padding = torch.randn(8, 5, 16), torch.zeros(8, 5, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        halved = contrast.project(tokens, padding).float().chunk(2)
        loss = contrast(tokens, padding, CLIPS).loss
    assert loss.dtype == torch.float32
    assert torch.allclose(loss, contrast.loss(*halved, CLIPS), rtol=1e-6)


def _step(similarity: str, mine: slice) -> tuple[Tensor, Tensor]:
    """The loss of some clips, and its slope at a weight before the views, as an encoder is."""
    weight = torch.eye(8, requires_grad=True)
    view_a, view_b = (view[mine] @ weight for view in draw_views())
    loss = LOSSES[similarity]()(view_a, view_b, CLIPS[mine])
    loss.backward()
    assert weight.grad is not None
    return loss.detach(), weight.grad


def _run_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    results = {}
    for similarity in LOSSES:
        results[similarity] = _step(similarity, slice(2 * rank, 2 * rank + 2))
        # DDP takes the mean of the gradients over processes.
        for tensor in results[similarity]:
            torch.distributed.all_reduce(tensor)
            tensor /= 2
    torch.save(results, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_equal_one(tmp_path: Path) -> None:
    start_server()
    torch.multiprocessing.start_processes(
        _run_process, (str(tmp_path),), nprocs=2, start_method="forkserver"
    )
    for rank in range(2):
        results = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for similarity in LOSSES:
            for shared, alone in zip(
                results[similarity], _step(similarity, slice(None)), strict=True
            ):
                torch.testing.assert_close(shared, alone, atol=1e-6, rtol=0)


def cut(batch: dict[str, Tensor], **settings: object) -> tuple[Tensor, Tensor, Tensor]:
    """Both views as the encoder hears them, and the lengths of the first."""
    heard = hear_two_views(batch, ContrastiveConfig(**settings))
    view_a, view_b = heard.changed.chunk(2)
    return view_a, view_b, heard.num_samples.chunk(2)[0]


def test_views_differ_only_as_the_settings_say(make_batch: Batches) -> None:
    batch = make_batch([48_000, 30_000], 48_000)
    plain = {"level_db": 0.0, "least_snr_db": None, "shift_ms": 0.0}
    one, other, _ = cut(batch, positives="same_crop", **plain)
    torch.testing.assert_close(one, other, atol=0, rtol=0)
    *crops, _ = cut(batch, positives="same_clip", **plain)
    assert not torch.equal(*crops)
    whole = batch["waveform"][0].float() / 32768
    for crop in crops:
        starts = (whole.unfold(0, crop.shape[1], 1) == crop[0]).all(1)
        assert int(starts.sum()) == 1
    a, b, _ = cut(batch, positives="same_crop", level_db=6.0, least_snr_db=None, shift_ms=0.0)
    gain = (b.square().sum(1) / a.square().sum(1)).log10() * 10
    assert (gain.abs() > 0.01).all() and (gain.abs() <= 12).all()


def test_views_of_one_crop_are_shifted_a_little(make_batch: Batches) -> None:
    batch = make_batch([48_000] * 16 + [19_200, 10_000], 48_000)
    plain = {"positives": "same_crop", "level_db": 0.0, "least_snr_db": None}
    places = []
    for shift_ms in (0.0, 50.0):
        views = cut(batch, shift_ms=shift_ms, **plain)[:2]
        for view in views:
            whole = batch["waveform"][:16].float() / 32768
            found = (whole.unfold(1, 19_200, 1)[:, :, :50] == view[:16, None, :50]).all(2)
            places.append(found.float().argmax(1))
            assert found.any(1).all()
        # Clips that a view fills, or does not fill, have no room.
        assert torch.equal(views[0][16:], views[1][16:])
    unmoved, again, moved, otherwise = places
    assert torch.equal(unmoved, again)
    for place in (moved, otherwise):
        far = (place - unmoved).abs()
        assert 700 < int(far.max()) <= 800 and float(far.float().mean()) > 250
    assert not torch.equal(moved, otherwise)


def test_targets_are_of_what_was_not_changed(make_batch: Batches) -> None:
    batch = make_batch([48_000, 30_000], 48_000)
    heard = hear_two_views(batch, ContrastiveConfig())
    plain = hear_two_views(batch, ContrastiveConfig(level_db=0.0, least_snr_db=None))
    assert torch.equal(heard.clean, plain.changed) and not torch.equal(heard.clean, heard.changed)
    assert len(set(heard.keys.tolist())) == 4


def test_noise_has_the_level_that_was_drawn_and_leaves_padding_silent(make_batch: Batches) -> None:
    batch = make_batch([12_000] * 64, 19_200)
    clean, _, _ = cut(batch, positives="same_crop", level_db=0.0, least_snr_db=None)
    noisy, _, lengths = cut(batch, positives="same_crop", level_db=0.0, least_snr_db=10.0)
    assert lengths.tolist() == [12_000] * 64
    assert (noisy[:, 12_000:] == 0).all()
    noise = noisy - clean
    snr_db = 10 * (clean.square().sum(1) / noise.square().sum(1)).log10()
    assert 9.8 < float(snr_db.min()) < 15 and 35 < float(snr_db.max()) < 40.2


@pytest.mark.parametrize("similarity", ["cosine", "bilinear"])
def test_loss_is_the_same_in_any_padding(
    similarity: str, make_encoder: Encoders, make_batch: Batches
) -> None:
    objective = build(make_encoder(), similarity=similarity)
    narrow, wide = make_batch([14_000, 9_000], 14_000), make_batch([14_000, 9_000], 14_000)
    wide["waveform"] = torch.nn.functional.pad(wide["waveform"], (0, 30_000))
    with torch.no_grad():
        losses = [float(objective(batch).loss) for batch in (narrow, wide)]
    assert math.isclose(*losses, abs_tol=1e-5)


def test_some_steps_bring_views_together(make_encoder: Encoders, make_batch: Batches) -> None:
    objective = build(make_encoder()).train()
    batch = make_batch([48_000] * 8, 48_000)
    # Recordings that differ: each louder in another place of the spectrum.
    time = torch.arange(48_000) / 16_000
    tones = [torch.sin(2 * torch.pi * 300 * (k + 1) * time) for k in range(8)]
    batch["waveform"] = (batch["waveform"] * 0.1 + torch.stack(tones) * 9000).short()
    optimizer = torch.optim.AdamW(objective.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        output = objective(batch)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses.append(float(output.loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert set(output.metrics) == {"positive_cosine", "projection_std"}

import math

import torch

from ssl_audio.draws import draw_keys
from ssl_audio.encoder import AudioEncoder
from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.objectives.masked import (
    MaskedConfig,
    MaskedObjective,
    masked_mse,
    normalise_patches,
)

CONFIG = MaskedConfig(decoder_layers=1, decoder_dim=24, decoder_heads=2)


def build(patch_size: tuple[int, int] = (64, 4)) -> MaskedObjective:
    torch.manual_seed(0)
    shape = AudioEncoderConfig(
        hidden_size=24, num_attention_heads=2, num_hidden_layers=2, patch_size=patch_size
    )
    encoder = AudioEncoder(shape)
    encoder.set_normalisation(torch.full((64,), -6.0), torch.full((64,), 3.0))
    return MaskedObjective(encoder, CONFIG)


def make_batch(lengths: list[int], width: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    waveform = torch.randint(-9000, 9000, (len(lengths), width), generator=generator)
    clips = torch.arange(len(lengths))
    return {
        "waveform": waveform.short(),
        "num_samples": torch.tensor(lengths),
        "keys": draw_keys(0, torch.zeros_like(clips), clips),
        "clip_indices": clips,
    }


def slow_loss(objective: MaskedObjective, batch: dict[str, torch.Tensor]) -> float:
    """The definition in loops: clip by clip, patch by patch, value by value."""
    audio, masked = objective.mask(batch)
    tokens = objective.encoder.encode(audio, masked).last_hidden_state
    prediction = objective.decoder(tokens, masked, audio)
    clip_losses = []
    for row in range(len(masked.mask)):
        errors = []
        for patch in masked.mask[row].nonzero().flatten().tolist():
            values = audio.patches[row, patch].tolist()
            mean = sum(values) / len(values)
            variance = sum((value - mean) ** 2 for value in values) / len(values)
            target = [(value - mean) / math.sqrt(variance + 1e-6) for value in values]
            guesses = prediction[row, patch].tolist()
            squares = [(g - t) ** 2 for g, t in zip(guesses, target, strict=True)]
            errors.append(sum(squares) / len(squares))
        clip_losses.append(sum(errors) / len(errors))
    return sum(clip_losses) / len(clip_losses)


def test_loss_equals_the_slow_definition() -> None:
    objective = build().eval()
    batch = make_batch([16_000, 9_000, 4_000], 16_000)
    with torch.no_grad():
        assert math.isclose(float(objective(batch).loss), slow_loss(objective, batch), abs_tol=1e-5)


def test_encoder_sees_visible_patches_only() -> None:
    """Changing hidden audio must change neither the visible tokens nor the prediction."""
    objective = build().eval()
    audio, masked = objective.mask(make_batch([16_000, 9_000], 16_000))
    changed = type(audio)(
        audio.patches + masked.mask[:, :, None] * 100.0, audio.padding_mask, audio.grid
    )
    with torch.no_grad():
        tokens = [objective.encoder.encode(a, masked).last_hidden_state for a in (audio, changed)]
        predictions = [
            objective.decoder(t, masked, a) for t, a in zip(tokens, (audio, changed), strict=True)
        ]
    assert tokens[0].shape[1] == masked.ids_keep.shape[1] == 6
    visible = ~masked.keep_padding_mask
    assert torch.equal(tokens[0][visible], tokens[1][visible])
    assert torch.equal(predictions[0], predictions[1])


def test_loss_depends_neither_on_batch_nor_padding() -> None:
    objective = build().eval()
    lengths = [16_000, 9_000, 4_000]
    batch = make_batch(lengths, 24_000)
    with torch.no_grad():
        together = float(objective(batch).loss)
        alone = []
        for row, length in enumerate(lengths):
            one = {name: value[row : row + 1] for name, value in batch.items()}
            one["waveform"] = one["waveform"][:, :length]
            alone.append(float(objective(one).loss))
    assert math.isclose(together, sum(alone) / 3, abs_tol=1e-5)


def test_normalised_patches_have_mean_0_and_variance_1() -> None:
    patches = normalise_patches(torch.randn(2, 3, 256) * 5 + 2)
    torch.testing.assert_close(patches.mean(-1), torch.zeros(2, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(patches.var(-1, correction=0), torch.ones(2, 3), atol=1e-4, rtol=0)
    assert torch.equal(normalise_patches(torch.full((1, 1, 8), 3.0)), torch.zeros(1, 1, 8))


def test_clips_weigh_the_same_however_long() -> None:
    prediction, target = torch.zeros(2, 4, 3), torch.ones(2, 4, 3)
    target[1] = 3.0
    mask = torch.tensor([[True, True, True, True], [True, False, False, False]])
    assert float(masked_mse(prediction, target, mask)) == (1 + 9) / 2


def test_reconstruction_keeps_what_is_visible() -> None:
    for patch_size in ((64, 4), (16, 16)):
        objective = build(patch_size).eval()
        picture = objective.reconstruct(make_batch([16_000, 9_000], 16_000))
        hidden = picture.masked.isnan()
        assert picture.original.shape == picture.reconstructed.shape == picture.masked.shape
        assert torch.equal(picture.reconstructed[~hidden], picture.original[~hidden])
        assert not torch.equal(picture.reconstructed[hidden], picture.original[hidden])
        assert picture.num_frames.tolist() == [100, 57]
        assert 0.6 < float(hidden[0].float().mean()) < 0.9


def test_every_weight_learns() -> None:
    objective = build()
    objective(make_batch([16_000, 9_000], 16_000)).loss.backward()
    without = [name for name, weight in objective.named_parameters() if weight.grad is None]
    assert not without

import math

import pytest
import torch

from ssl_audio.objectives.base import hear
from ssl_audio.objectives.decoders import TransformerDecoderConfig
from ssl_audio.objectives.masked import MaskedConfig, MaskedObjective, normalise_patches
from ssl_audio.objectives.prediction import mean_over_predicted
from tests.ssl_audio.objectives.conftest import Batches, Encoders, list_predicted

DECODER = TransformerDecoderConfig(layers=1, dim=24, heads=2)
CONFIG = MaskedConfig(decoder=DECODER)


def slow_loss(objective: MaskedObjective, batch: dict[str, torch.Tensor]) -> float:
    """The definition in loops: clip by clip, patch by patch, value by value."""
    heard = hear(batch)
    audio = objective.encoder.patch_audio(heard.clean, heard.num_samples)
    answers = objective.answer(audio, heard.keys)
    masked, prediction = answers.masked, answers.prediction
    clip_losses = []
    for row in range(len(masked.mask)):
        errors = []
        for column, patch in list_predicted(masked, row):
            values = audio.patches[row, patch].tolist()
            mean = sum(values) / len(values)
            variance = sum((value - mean) ** 2 for value in values) / len(values)
            target = [(value - mean) / math.sqrt(variance + 1e-6) for value in values]
            guesses = prediction[row, column].tolist()
            squares = [(g - t) ** 2 for g, t in zip(guesses, target, strict=True)]
            errors.append(sum(squares) / len(squares))
        clip_losses.append(sum(errors) / len(errors))
    return sum(clip_losses) / len(clip_losses)


@pytest.mark.parametrize("prediction_ratio", [1.0, 0.4])
def test_loss_equals_the_slow_definition(
    prediction_ratio: float, make_encoder: Encoders, make_batch: Batches
) -> None:
    config = MaskedConfig(decoder=DECODER, prediction_ratio=prediction_ratio)
    objective = MaskedObjective(make_encoder(), config).eval()
    batch = make_batch([16_000, 9_000, 4_000], 16_000)
    with torch.no_grad():
        assert math.isclose(float(objective(batch).loss), slow_loss(objective, batch), abs_tol=1e-5)


def test_encoder_sees_visible_patches_only(make_encoder: Encoders, make_batch: Batches) -> None:
    """Changing hidden audio must change neither the visible tokens nor the prediction."""
    objective = MaskedObjective(make_encoder(), CONFIG).eval()
    heard = hear(make_batch([16_000, 9_000], 16_000))
    audio = objective.encoder.patch_audio(heard.clean, heard.num_samples)
    masked = objective.answer(audio, heard.keys).masked
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


def test_loss_depends_neither_on_batch_nor_padding(
    make_encoder: Encoders, make_batch: Batches
) -> None:
    objective = MaskedObjective(make_encoder(), CONFIG).eval()
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
    error = torch.tensor([[1.0] * 4, [9.0] * 4, [5.0] * 4])
    mask = torch.tensor([[True, True, True, True], [True, False, False, False], [False] * 4])
    assert math.isclose(float(mean_over_predicted(error, mask)), (1 + 9 + 0) / 3, rel_tol=1e-6)


def test_reconstruction_keeps_what_is_visible(make_encoder: Encoders, make_batch: Batches) -> None:
    some = MaskedConfig(decoder=DECODER, num_masks=2, prediction_ratio=0.3)
    for patch_size, config in (((64, 4), CONFIG), ((16, 16), CONFIG), ((64, 4), some)):
        objective = MaskedObjective(make_encoder(patch_size), config).eval()
        picture = objective.reconstruct(make_batch([16_000, 9_000], 16_000))
        hidden = picture.masked.isnan()
        assert picture.original.shape == picture.reconstructed.shape == picture.masked.shape
        assert torch.equal(picture.reconstructed[~hidden], picture.original[~hidden])
        # Of the clip that fills the batch; where there is no sound, the original's deviation is 0.
        assert (picture.reconstructed != picture.original)[0][hidden[0]].all()
        assert picture.num_frames.tolist() == [100, 57]
        assert 0.6 < float(hidden[0].float().mean()) < 0.9


def test_every_weight_learns(make_encoder: Encoders, make_batch: Batches) -> None:
    objective = MaskedObjective(make_encoder(), CONFIG)
    objective(make_batch([16_000, 9_000], 16_000)).loss.backward()
    without = [name for name, weight in objective.named_parameters() if weight.grad is None]
    assert not without

import copy
import math

import pytest
import torch

from ssl_audio.objectives.base import hear
from ssl_audio.objectives.latent import LatentConfig, LatentObjective, ema_decay
from tests.ssl_audio.objectives.conftest import Batches, Encoders, list_predicted

SMALL = {"decoder": {"layers": 1, "dim": 24, "groups": 4}, "average_layers": 2}


def build(encoders: Encoders, **settings: object) -> LatentObjective:
    return LatentObjective(encoders(), LatentConfig(**SMALL, **settings)).eval()


def test_targets_equal_the_slow_definition(make_encoder: Encoders, make_batch: Batches) -> None:
    """Layer by layer, clip by clip, channel by channel, over its valid tokens."""
    objective = build(make_encoder)
    heard = hear(make_batch([16_000, 9_000], 20_000))
    audio = objective.encoder.patch_audio(heard.clean, heard.num_samples)
    targets = objective.make_targets(heard, audio)
    with torch.no_grad():
        levels = objective.teacher.encode(audio, output_hidden_states=True).hidden_states
    whole = []
    for row in range(2):
        valid = (~audio.padding_mask[row]).nonzero().flatten().tolist()
        expected = torch.zeros(len(valid), 24)
        means = torch.zeros(24)
        for level in levels[-2:]:
            for channel in range(24):
                values = [float(level[row, token, channel]) for token in valid]
                mean = sum(values) / len(values)
                variance = sum((value - mean) ** 2 for value in values) / len(values)
                scaled = [(value - mean) / math.sqrt(variance + 1e-5) for value in values]
                expected[:, channel] += torch.tensor(scaled) / 2
                means[channel] += mean / 2
        whole.append(means)
        torch.testing.assert_close(targets.local[row, valid], expected, atol=1e-4, rtol=1e-4)
    both = torch.stack(whole)
    standardised = (both - both.mean(0)) / (both.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(targets.utterance, standardised, atol=1e-3, rtol=1e-3)


def test_loss_equals_the_slow_definition(make_encoder: Encoders, make_batch: Batches) -> None:
    objective = build(make_encoder, num_masks=2, utterance_weight=0.5)
    batch = make_batch([16_000, 9_000], 16_000)
    heard = hear(batch)
    audio = objective.encoder.patch_audio(heard.clean, heard.num_samples)
    targets = objective.make_targets(heard, audio)
    with torch.no_grad():
        answers = objective.answer(audio, heard.keys)
        guesses = objective.utterance(answers.encoded.cls)
        fast = float(objective(batch).loss)
    locals_, utterances = [], []
    for row in range(4):
        clip = row % 2
        errors = [
            sum(float(d) ** 2 for d in answers.prediction[row, column] - targets.local[clip, p])
            / 24
            for column, p in list_predicted(answers.masked, row)
        ]
        locals_.append(sum(errors) / len(errors))
        utterances.append(sum(float(d) ** 2 for d in guesses[row] - targets.utterance[clip]) / 24)
    assert math.isclose(fast, sum(locals_) / 4 + 0.5 * sum(utterances) / 4, rel_tol=1e-4)


def test_teacher_follows_at_the_pace_that_was_asked_for(make_encoder: Encoders) -> None:
    objective = build(make_encoder, ema_start=0.1, ema_end=0.3)
    before = copy.deepcopy(objective.teacher.patch_embedding.weight)
    with torch.no_grad():
        objective.encoder.patch_embedding.weight.add_(1.0)
    objective.after_step(50, 100)
    # Half way the time constant is 0.2 of 100 steps, so a twentieth of the way is gone.
    moved = objective.teacher.patch_embedding.weight - before
    torch.testing.assert_close(moved, torch.full_like(moved, 1 / 20), atol=1e-6, rtol=0)
    assert ema_decay(LatentConfig(ema_start=1e-9), 0, 100) == 0.0
    assert not any(weight.requires_grad for weight in objective.teacher.parameters())


def test_settings_that_do_not_fit_are_named(make_encoder: Encoders) -> None:
    with pytest.raises(ValueError, match=r"at most the encoder's 2 blocks, got 3"):
        LatentObjective(make_encoder(), LatentConfig(average_layers=3))
    with pytest.raises(ValueError, match=r"ema_end must be at least ema_start = 0.5, got 0.2"):
        LatentConfig(ema_start=0.5)

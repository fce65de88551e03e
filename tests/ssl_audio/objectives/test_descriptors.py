import math

import torch

from ssl_audio.objectives.base import hear
from ssl_audio.objectives.decoders import TransformerDecoderConfig
from ssl_audio.objectives.descriptors import (
    DescriptorsConfig,
    DescriptorsObjective,
    compute_descriptors,
)
from tests.ssl_audio.objectives.conftest import Batches, Encoders, list_predicted

CONFIG = DescriptorsConfig(decoder=TransformerDecoderConfig(layers=1, dim=24, heads=2))
PLACES = {"pitch": [0], "periodicity": [1], "energy": [2, 3]}
PLACES |= {"mfcc": list(range(4, 16)), "slopes": list(range(16, 28))}


def test_loss_equals_the_slow_definition(make_encoder: Encoders, make_batch: Batches) -> None:
    objective = DescriptorsObjective(make_encoder(), CONFIG).eval()
    batch = make_batch([16_000, 9_000], 16_000)
    tone = 9000 * torch.sin(2 * torch.pi * 200 * torch.arange(16_000) / 16_000)
    batch["waveform"] = (batch["waveform"] * 0.05 + tone).short()
    batch["waveform"][0, 6_000:] = make_batch([10_000], 10_000)["waveform"][0]
    heard = hear(batch)
    audio = objective.encoder.patch_audio(heard.clean, heard.num_samples)
    found = compute_descriptors(objective.encoder, heard, audio)
    with torch.no_grad():
        answers = objective.answer(audio, heard.keys)
        fast = float(objective(batch).loss)
    voiced = found.voiced & answers.masked.mask
    assert voiced.any() and not torch.equal(voiced, answers.masked.mask)
    group_losses = []
    for name, places in PLACES.items():
        clip_losses = []
        for row in range(2):
            errors = [
                sum(
                    float(answers.prediction[row, column, d] - found.values[row, p, d]) ** 2
                    for d in places
                )
                / len(places)
                for column, p in list_predicted(answers.masked, row)
                if name != "pitch" or voiced[row, p]
            ]
            clip_losses.append(sum(errors) / max(1, len(errors)))
        group_losses.append(sum(clip_losses) / 2)
    assert math.isclose(fast, sum(group_losses) / 5, rel_tol=1e-4)


def test_pitch_and_level_are_what_was_played(make_encoder: Encoders) -> None:
    encoder = make_encoder()
    torch.manual_seed(0)
    time = torch.arange(32_000) / 16_000
    voices = []
    for f0 in (110.0, 220.0):
        harmonics = [torch.sin(2 * torch.pi * f0 * k * time) / k for k in range(1, 9)]
        voices.append(torch.stack(harmonics).sum(0) + 0.05 * torch.randn(32_000))
    waveform = torch.stack([voices[0] * 3000, voices[1] * 3000, voices[1] * 6000]).short()
    heard = hear(
        {
            "waveform": waveform,
            "num_samples": torch.full((3,), 32_000),
            "keys": torch.arange(3),
        }
    )
    audio = encoder.patch_audio(heard.clean, heard.num_samples)
    values = compute_descriptors(encoder, heard, audio).values[:, 5:40]
    torch.testing.assert_close(
        values[:, :, 0].median(1).values.exp(),
        torch.tensor([110.0, 220.0, 220.0]),
        rtol=0.02,
        atol=0,
    )
    assert (values[..., 1] > 0.9).all()
    # The first MFCC is 8 times the mean log power of 64 bands; twice as loud is 2 ln 2 more.
    louder = (values[2, :, 2] - values[1, :, 2]).median()
    assert math.isclose(float(louder), 8 * 2 * math.log(2), rel_tol=0.05)

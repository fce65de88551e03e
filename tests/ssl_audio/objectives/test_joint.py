"""The joint loss is the prediction's plus the weighted contrast of each mask's two views."""

import math

import pytest
import torch

from ssl_audio.masking import Masked
from ssl_audio.objectives.base import Heard
from ssl_audio.objectives.contrastive import ContrastConfig, hear_two_views
from ssl_audio.objectives.decoders import TransformerDecoderConfig
from ssl_audio.objectives.descriptors import DescriptorsConfig
from ssl_audio.objectives.joint import JointConfig, JointObjective
from ssl_audio.objectives.masked import MaskedConfig
from tests.ssl_audio.objectives.conftest import Batches, Encoders, list_predicted
from tests.ssl_audio.objectives.test_contrastive import slow_nt_xent

TEMPERATURE = 0.3
MASKS = 3
DECODER = TransformerDecoderConfig(layers=1, dim=24, heads=2)


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_loss_equals_the_slow_definition(
    weight: float, make_encoder: Encoders, make_batch: Batches
) -> None:
    """Every view under every mask by itself; two clips of the four are one recording."""
    config = JointConfig(
        prediction=MaskedConfig(num_masks=MASKS, decoder=DECODER),
        contrast=ContrastConfig(view_seconds=0.6, temperature=TEMPERATURE, projection_dim=8),
        contrastive_weight=weight,
    )
    objective = JointObjective(make_encoder(), config).eval()
    batch = make_batch([30_000, 24_000, 16_000, 9_000], 30_000)
    batch["clip_indices"] = torch.tensor([3, 1, 4, 1])
    prediction = objective.prediction
    with torch.no_grad():
        output = objective(batch)
        heard = hear_two_views(batch, config.contrast)
        audio = objective.encoder.patch_audio(heard.changed, heard.num_samples)
        drawn = prediction.answer(audio, heard.keys).masked
        prediction_losses, contrasts = [], []
        for mask in range(MASKS):
            projections = []
            for row in range(8):
                one = Heard(*(getattr(heard, name)[row : row + 1] for name in Heard.__match_args__))
                masked = Masked(
                    *(getattr(drawn, name)[8 * mask + row][None] for name in Masked.__match_args__)
                )
                patches = objective.encoder.patch_audio(one.changed, one.num_samples)
                encoded = objective.encoder.encode(patches, masked)
                told = prediction.decoder(encoded.last_hidden_state, masked, patches)[0]
                target = prediction.make_targets(one, patches)[0]
                errors = [
                    float((told[column] - target[p]).square().mean())
                    for column, p in list_predicted(masked, 0)
                ]
                prediction_losses.append(sum(errors) / len(errors))
                tokens = encoded.last_hidden_state[0][~encoded.padding_mask[0]]
                pooled = torch.cat([tokens.mean(0), tokens.std(0, correction=0)])
                projections.append(objective.contrast.projection(pooled))
            views = torch.stack(projections).chunk(2)
            contrasts.append(slow_nt_xent(*views, batch["clip_indices"], TEMPERATURE))
    predicted = sum(prediction_losses) / len(prediction_losses)
    contrasted = sum(contrasts) / MASKS
    assert math.isclose(float(output.metrics["prediction_loss"]), predicted, rel_tol=1e-4)
    assert math.isclose(float(output.metrics["contrastive_loss"]), contrasted, rel_tol=1e-4)
    assert math.isclose(float(output.loss), predicted + weight * contrasted, rel_tol=1e-4)


def test_it_pictures_what_its_prediction_reconstructs(
    make_encoder: Encoders, make_batch: Batches
) -> None:
    batch = make_batch([30_000, 9_000], 30_000)
    config = JointConfig(prediction=MaskedConfig(decoder=DECODER))
    masked = JointObjective(make_encoder(), config).eval()
    picture, expected = masked.reconstruct(batch), masked.prediction.reconstruct(batch)
    assert picture is not None and expected is not None
    assert torch.equal(picture.reconstructed, expected.reconstructed)
    descriptors = JointConfig(prediction=DescriptorsConfig(decoder=DECODER))
    assert JointObjective(make_encoder(), descriptors).reconstruct(batch) is None

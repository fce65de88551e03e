"""What holds for every masked prediction, alone and joined with a contrast."""

import math
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from ssl_audio.collapse import measure_level
from ssl_audio.draws import draw_keys
from ssl_audio.failing import LEAST_SPREAD
from ssl_audio.masking import Masked
from ssl_audio.objectives import OBJECTIVES, Objective, ObjectiveConfig
from ssl_audio.objectives.base import hear
from ssl_audio.objectives.masked import MaskedConfig, MaskedObjective
from ssl_audio.objectives.prediction import MaskedPrediction
from tests.ssl_audio.objectives.conftest import Batches, Encoders, list_predicted

SMALL = {"decoder": {"layers": 1, "dim": 24, "heads": 2}}
CONVOLUTIONS = {"decoder": {"kind": "convolution", "layers": 2, "dim": 24, "groups": 4}}
FORMS: dict[str, dict[str, Any]] = {
    "masked": {"kind": "masked", **SMALL},
    "latent": {"kind": "latent", "average_layers": 2, "num_masks": 2, **CONVOLUTIONS},
    "quantized": {"kind": "quantized", "num_clusters": 8, **SMALL},
    "projected": {"kind": "quantized", "targets": "random_projection", **SMALL},
    "descriptors": {"kind": "descriptors", **SMALL},
    "changed": {"kind": "masked", "changes": {"level_db": 3}, **SMALL},
    "some": {"kind": "masked", "prediction_ratio": 0.5, "num_masks": 2, **SMALL},
    "some_latent": {"kind": "latent", "average_layers": 2, "prediction_ratio": 0.5, **CONVOLUTIONS},
    "joint": {"kind": "joint", "prediction": {"kind": "quantized", "num_masks": 2, **SMALL}},
}


def build(values: dict[str, Any], encoders: Encoders) -> Objective:
    config: Any = TypeAdapter(ObjectiveConfig).validate_python(values)
    objective: Objective = OBJECTIVES[config.kind](encoders(), config)
    for name, buffer in objective.named_buffers():
        if name.endswith("centres"):
            buffer.copy_(torch.randn(buffer.shape, generator=torch.Generator().manual_seed(1)) * 9)
    return objective


@pytest.mark.parametrize("form", FORMS)
def test_padding_changes_nothing(form: str, make_encoder: Encoders, make_batch: Batches) -> None:
    objective = build(FORMS[form], make_encoder).eval()
    batch = make_batch([16_000, 9_000, 30_000], 30_000)
    wide = {**batch, "waveform": torch.nn.functional.pad(batch["waveform"], (0, 20_000))}
    with torch.no_grad():
        assert math.isclose(float(objective(batch).loss), float(objective(wide).loss), abs_tol=2e-5)


@pytest.mark.parametrize("form", FORMS)
def test_what_follows_a_clip_is_not_heard(
    form: str, make_encoder: Encoders, make_batch: Batches
) -> None:
    objective = build(FORMS[form], make_encoder).eval()
    batch = make_batch([16_000, 9_000], 24_000)
    loud = batch["waveform"].clone()
    loud[0, 16_000:], loud[1, 9_000:] = 20_000, -20_000
    with torch.no_grad():
        plain, changed = (
            float(objective({**batch, "waveform": w}).loss) for w in (batch["waveform"], loud)
        )
    assert math.isclose(plain, changed, abs_tol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_every_weight_learns(form: str, make_encoder: Encoders, make_batch: Batches) -> None:
    objective = build(FORMS[form], make_encoder)
    objective(make_batch([30_000, 28_000], 30_000)).loss.backward()
    without = [
        name
        for name, weight in objective.named_parameters()
        if weight.requires_grad and weight.grad is None
    ]
    has_teacher = FORMS[form]["kind"] == "latent"
    assert without == ([] if has_teacher else [n for n in without if n.endswith("cls_token")])
    still = [name for name, weight in objective.named_parameters() if not weight.requires_grad]
    assert all(".teacher." in f".{name}" for name in still) and bool(still) == has_teacher


@pytest.mark.parametrize("form", FORMS)
def test_some_steps_lower_the_loss(form: str, make_encoder: Encoders, make_batch: Batches) -> None:
    objective = build(FORMS[form], make_encoder).train()
    batch = make_batch([30_000] * 4, 30_000)
    weights = [weight for weight in objective.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, 3e-3)
    losses = []
    for step in range(1, 41):
        output = objective(batch)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        objective.after_step(step, 40)
        losses.append(float(output.loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_saved_once(form: str, make_encoder: Encoders) -> None:
    objective = build(FORMS[form], make_encoder)
    places = [tensor.data_ptr() for tensor in objective.state_dict().values() if tensor.numel()]
    assert len(places) == len(set(places))


def test_several_masks_are_several_single_ones(make_encoder: Encoders, make_batch: Batches) -> None:
    """The mean of the losses under each mask; their targets are made once."""
    batch = make_batch([16_000, 9_000], 16_000)
    many = MaskedObjective(make_encoder(), MaskedConfig(num_masks=3, **SMALL)).eval()
    one = MaskedObjective(make_encoder(), MaskedConfig(num_masks=1, **SMALL)).eval()
    one.load_state_dict(many.state_dict())
    heard = hear(batch)
    audio = many.encoder.patch_audio(heard.clean, heard.num_samples)
    with torch.no_grad():
        answers = many.answer(audio, heard.keys)
        losses: list[Tensor] = []
        for rows in torch.arange(6).chunk(3):
            masked = type(answers.masked)(
                *(getattr(answers.masked, name)[rows] for name in Masked.__match_args__)
            )
            encoded = one.encoder.encode(audio, masked)
            prediction = one.decoder(encoded.last_hidden_state, masked, audio)
            targets = one.make_targets(heard, audio)
            losses.append(one.compare(type(answers)(prediction, encoded, masked), targets).loss)
        assert math.isclose(
            float(many(batch).loss), float(torch.stack(losses).mean()), abs_tol=1e-5
        )
    assert not torch.equal(answers.masked.mask[:2], answers.masked.mask[2:4])


@pytest.mark.parametrize("form", ["masked", "latent", "quantized", "projected", "descriptors"])
def test_targets_are_of_the_sound_without_its_changes(
    form: str, make_encoder: Encoders, make_batch: Batches
) -> None:
    """Louder, noisy, with another clip in it: the encoder hears all that, the targets none."""
    changes = {"level_db": 12, "least_snr_db": 0, "least_background_db": 0}
    plain = build(FORMS[form], make_encoder)
    changed = build({**FORMS[form], "changes": changes}, make_encoder)
    assert isinstance(plain, MaskedPrediction) and isinstance(changed, MaskedPrediction)
    assert changed.needs_background and not plain.needs_background
    other = make_batch([16_000, 20_000], 24_000)["waveform"].flip(0)
    more = {"background": other, "background_samples": torch.tensor([20_000, 16_000])}
    batch = {**make_batch([24_000, 9_000], 24_000), **more}
    heard, as_it_is = changed.hear(batch), plain.hear(batch)
    assert torch.equal(heard.clean, as_it_is.clean)
    assert (heard.changed[1, 9_000:] == 0).all()
    energies = [(sound[0].square().sum()) for sound in (heard.changed, heard.clean)]
    assert not math.isclose(float(energies[0]), float(energies[1]), rel_tol=0.05)
    targets = [
        objective.target_vectors(
            objective.make_targets(one, objective.encoder.patch_audio(one.changed, one.num_samples))
        )
        for objective, one in ((changed, heard), (plain, as_it_is))
    ]
    torch.testing.assert_close(*targets)
    losses = [objective.eval()(batch).loss.item() for objective in (changed, plain)]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("decoder", [SMALL, CONVOLUTIONS])
@pytest.mark.parametrize("bias", [None, 0.0, 0.5])
@pytest.mark.parametrize("settings", [{}, {"prediction_ratio": 0.3}, {"num_masks": 2}])
def test_answers_to_what_is_not_heard_have_no_spread_over_clips(
    settings: dict[str, Any],
    bias: float | None,
    decoder: dict[str, Any],
    make_encoder: Encoders,
    make_batch: Batches,
) -> None:
    """Whichever places are hidden, and however long clips are."""
    objective = build({"kind": "masked", **decoder, **settings}, make_encoder).eval()
    assert isinstance(objective, MaskedPrediction)
    batch = make_batch([30_000, 9_000, 24_000, 30_000, 16_000, 20_000], 30_000)
    embedding = objective.decoder.embedding
    with torch.no_grad():
        healthy = measure_level(objective.inspect_learning(batch)["prediction"])
        embedding.weight.zero_()
        if bias is None:  # what is visible looks like what is hidden, too
            embedding.bias.copy_(objective.decoder.mask_token)
        else:
            embedding.bias.fill_(bias)
        deaf = measure_level(objective.inspect_learning(batch)["prediction"])
    assert float(healthy["over_clips"]) > 1e-2
    assert float(deaf["over_clips"]) < 1e-5 < float(deaf["over_places"])


@pytest.mark.parametrize("form", ["masked", "latent"])
def test_clips_that_are_all_short_are_told_apart(
    form: str, make_encoder: Encoders, make_batch: Batches
) -> None:
    """What is visible of them under the mask that they share is not their padding alone."""
    objective = build(FORMS[form], make_encoder).eval()
    assert isinstance(objective, MaskedPrediction)
    batch = make_batch([8_000] * 6, 48_000)
    for draw in range(30):
        keys = draw_keys(0, torch.full((6,), draw), torch.arange(6))
        spread = measure_level(objective.inspect_learning({**batch, "keys": keys})["prediction"])
        assert spread["over_clips"] > LEAST_SPREAD


def test_several_masks_of_a_clip_are_one_to_the_watch(
    make_encoder: Encoders, make_batch: Batches
) -> None:
    objective = build({"kind": "masked", "num_masks": 4, **SMALL}, make_encoder).eval()
    assert len(objective.inspect_learning(make_batch([16_000], 16_000))["prediction"].vectors) == 1


def test_predictions_lie_at_their_places(make_encoder: Encoders, make_batch: Batches) -> None:
    config = MaskedConfig(num_masks=2, prediction_ratio=0.4, **SMALL)
    objective = MaskedObjective(make_encoder(), config).eval()
    heard = hear(make_batch([16_000, 9_000, 600], 16_000))
    audio = objective.encoder.patch_audio(heard.clean, heard.num_samples)
    answers = objective.answer(audio, heard.keys)
    filled, asked = answers.on_grid()
    assert filled.shape == (6, audio.grid.num_patches, 256) and not filled[~asked].any()
    for row in range(6):
        places = list_predicted(answers.masked, row)
        assert asked[row].nonzero().flatten().tolist() == [patch for _, patch in places]
        for column, patch in places:
            assert torch.equal(filled[row, patch], answers.prediction[row, column])
    assert not asked[2].any() and not (asked & ~answers.masked.mask).any()


def test_changes_of_joint_are_its_contrasts() -> None:
    values = {"kind": "joint", "prediction": {"kind": "masked", "changes": {}}}
    with pytest.raises(ValueError, match=r"prediction\.changes of joint are its contrast's"):
        TypeAdapter(ObjectiveConfig).validate_python(values)

"""The section ``objective`` is of one of several types, told by its kind."""

import pytest

from ssl_audio.config import load_config
from ssl_audio.errors import ConfigError
from ssl_audio.objectives.contrastive import ContrastiveConfig
from ssl_audio.objectives.decoders import ConvolutionDecoderConfig, TransformerDecoderConfig
from ssl_audio.objectives.descriptors import DescriptorsConfig
from ssl_audio.objectives.masked import MaskedConfig
from ssl_audio.pretrain import PretrainConfig

CORPUS = "data.corpus=somewhere"


def test_masked_unless_the_kind_says_otherwise():
    assert load_config(PretrainConfig, None, [CORPUS]).objective == MaskedConfig()
    masked = load_config(PretrainConfig, None, [CORPUS, "objective.mask_ratio=0.5"]).objective
    assert masked == MaskedConfig(mask_ratio=0.5)
    settings = [CORPUS, "objective.kind=contrastive", "objective.temperature=0.2"]
    assert load_config(PretrainConfig, None, settings).objective == ContrastiveConfig(
        temperature=0.2
    )


def test_an_objective_can_be_named_alone():
    named = load_config(PretrainConfig, None, [CORPUS, "objective=latent"])
    assert named == load_config(PretrainConfig, None, [CORPUS, "objective.kind=latent"])
    more = ["objective=joint", "objective.prediction=descriptors"]
    assert load_config(PretrainConfig, None, [CORPUS, *more]).objective.prediction == (
        DescriptorsConfig()
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["kind=masked"], TransformerDecoderConfig()),
        (["kind=latent"], ConvolutionDecoderConfig()),
        (["kind=latent", "decoder.layers=1"], ConvolutionDecoderConfig(layers=1)),
        (["kind=latent", "decoder=transformer"], TransformerDecoderConfig()),
        (["kind=quantized", "decoder.kind=convolution"], ConvolutionDecoderConfig()),
        (["kind=joint", "prediction.kind=latent"], ConvolutionDecoderConfig()),
        (["kind=joint", "prediction.decoder.heads=6"], TransformerDecoderConfig(heads=6)),
    ],
)
def test_decoders_are_transformers_but_for_latent(settings, expected):
    objective = load_config(
        PretrainConfig, None, [CORPUS, *(f"objective.{item}" for item in settings)]
    ).objective
    assert getattr(objective, "prediction", objective).decoder == expected


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["objective.temperature=1"], r"unknown key objective\.temperature \(known: kind, mask, "),
        (
            ["objective.kind=contrastive", "objective.decoder=transformer"],
            r"unknown key objective\.decoder \(known: kind, level_db, ",
        ),
        (["objective.kind=contrastive", "objective.temperature=0"], r"^objective\.temperature: "),
        (
            ["objective.kind=magic"],
            "objective: expected one of masked, .* got .magic.",
        ),
        (["objective=3"], "objective: expected one of masked, contrastive, .* got 3"),
        (["monitor.level=13"], "monitor.level: the encoder has levels 0 to 12"),
        (
            ["objective=latent", "objective.average_layers=13"],
            "at most the encoder's 12 blocks, got 13",
        ),
        (["objective=joint", "objective.contrast.view_seconds=31"], "view_seconds: .* 30"),
        (
            ["objective=contrastive", "data.crop_seconds=1"],
            "less than data.crop_seconds = 1, got 1.2: both",
        ),
        (["objective.decoder.dim=90"], "dim must be a multiple of 4 and of 2 x heads: of 12"),
        (["objective.decoder.dim=20", "objective.decoder.heads=4"], "of 2 x heads: of 8"),
        (["data.fold=3"], "^data: fold is of no protocol"),
        (["data.fold=1"], "^data: fold is of no protocol"),
        (["data.fold=3", "data.folds=null"], "^data: fold is of no protocol"),
        (["monitor.fold=3"], "^monitor: folds and fold are of monitor.corpus"),
        (["monitor.folds=emodb-4/loso10"], "^monitor: folds and fold are of monitor.corpus"),
    ],
)
def test_mistakes_are_told_in_one_line(settings, said):
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(PretrainConfig, None, [CORPUS, *settings])
    assert "\n" not in str(caught.value)


def test_what_was_printed_can_be_read_again():
    config = load_config(PretrainConfig, None, [CORPUS])
    assert PretrainConfig.model_validate(config.model_dump()) == config

"""Every recipe of a benchmark names systems and settings that there are."""

from pathlib import Path

import pytest

from benchmarks.runs import BenchmarkConfig
from benchmarks.systems import find_system
from benchmarks.systems.speech_features import build_random
from benchmarks.systems.wav2vec2 import SpeechEncoderSettings
from ssl_audio.config import build_config, load_config
from ssl_audio.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "benchmarks"


@pytest.mark.parametrize(
    "path",
    sorted(path for path in CONFIGS.glob("*.yaml") if "systems:" in path.read_text()),
    ids=lambda path: path.stem,
)
def test_recipes_resolve_and_their_rows_have_names_of_their_own(path):
    config = load_config(BenchmarkConfig, path, ["corpus=prepared"])
    titles = []
    for name, row in config.systems.items():
        system = find_system(row.system or name)
        settings = build_config(system.settings_type, row.settings)
        titles.append((row.title or system.title, settings.model_dump_json()))
    assert titles and len(set(titles)) == len(titles)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seeds=[-1]", "seeds.0: .*greater than or equal to 0, got -1"),
        ("seeds=[4294967296]", "seeds.0: .*less than 4294967296, got 4294967296"),
        ("seeds=[0, 3, 0]", "seeds: .*0 is there twice"),
        ("seeds=[]", "seeds: .*at least 1 item"),
        ("fold_numbers=[2, 2]", "fold_numbers: .*2 is there twice"),
    ],
)
def test_folds_and_seeds_that_cannot_be_are_named(override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(BenchmarkConfig, None, ["corpus=prepared", override])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"hidden_size": 10}, "random.hidden_size: .*multiple of 16, got 10"),
        ({"hidden_size": 48}, "random: .*multiple of num_heads, which is 5"),
        ({"hidden_size": 0}, "random.hidden_size: .*greater than 0"),
        ({"conv_dim": 0}, "random.conv_dim: .*greater than 0"),
    ],
)
def test_shapes_that_no_encoder_has_are_named(shape, message):
    with pytest.raises(ConfigError, match=message):
        build_config(SpeechEncoderSettings, {"random": {"num_heads": 5, **shape}})


def test_the_smallest_shape_makes_an_encoder():
    settings = build_config(
        SpeechEncoderSettings,
        {"random": {"hidden_size": 16, "num_layers": 1, "num_heads": 16, "conv_dim": 1}},
    )
    model, _ = build_random(**settings.random.options, device="cpu")
    assert model.config.hidden_size == 16

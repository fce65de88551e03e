"""Every recipe of a benchmark names systems and settings that there are."""

from pathlib import Path

import pytest

from benchmarks.runs import BenchmarkConfig
from benchmarks.systems import find_system
from ssl_audio.config import build_config, load_config

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

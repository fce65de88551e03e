"""The real commands, as a user calls them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from finetune.predictions import Predictions
from tests.ssl_audio.launching import run_command

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "configs" / "benchmarks" / "quickstart.yaml"
TONES = "tones-3/speakers3"


def benchmarks(*arguments, cwd=ROOT):
    return run_command("benchmarks", *arguments, cwd=cwd)


def start_python(*arguments, cwd):
    """The same in a Python that has imported nothing yet."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )


@pytest.mark.slow
def test_run_import_and_tables_make_a_table(tones, tmp_path):
    use = ("--config", RECIPE, "--set", f"corpus={tones}", "--set", f"folds={TONES}")
    fast = (
        *("--set", "systems.mfcc_xgboost.settings.n_estimators=5"),
        *(
            "--set",
            "systems.efficientnet.settings.train={max_steps: 2, warmup_steps: 1, batch_size: 2}",
        ),
        *("--set", "systems.efficientnet.settings.evaluate_every=2"),
        *("--set", "systems.wav2vec2.settings.train={max_steps: 20, warmup_steps: 2}"),
    )
    done = benchmarks("run", *use, *fast, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "[4/6] mfcc_xgboost fold 1 seed 0: fitted in" in done.stdout
    assert f"next: python -m benchmarks tables --results {tmp_path}" in done.stdout
    (tmp_path / "mine.csv").write_text(
        "clip_id,speaker,fold,seed,label,high,low,mid\na-low-0,a,1,0,low,0.2,0.7,0.1\n"
    )
    mine = (tmp_path / "mine.csv", "--system", "Mine", "--protocol", TONES, "--results", tmp_path)
    assert benchmarks("import", *mine).returncode == 0
    done = benchmarks("tables", "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "table.md").read_text(encoding="utf-8") in done.stdout
    for name in (
        "Chance",
        "Majority class",
        "MFCC + XGBoost",
        "efficientnet_b0",
        "wav2vec2",
        "Mine",
    ):
        assert name in done.stdout
    for name in ("results.csv", "table.tex", "table.html"):
        assert (tmp_path / name).stat().st_size > 500
    assert len(list((tmp_path / "figures").glob("confusion__*.png"))) == 7


def test_options_choose_rows_folds_and_seeds(tones, tmp_path):
    use = ("--set", f"corpus={tones}", "--set", f"folds={TONES}", "--output", "out")
    rows = ("--only", "chance", "--folds", "1,3", "--seeds", "0,7")
    done = start_python("run", *use, *rows, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out/predictions").iterdir()) == [
        f"tones-3-speakers3__chance__fold{fold}__seed{seed}.parquet"
        for fold in (1, 3)
        for seed in (0, 7)
    ]


def write_corpus_csv(folder, swap=""):
    """Noise of three speakers and two classes; the classes of one speaker may be swapped."""
    rng = np.random.default_rng(0)
    other = {"high": "low", "low": "high"}
    lines = ["path,emotion,speaker"]
    for speaker in "abc":
        for emotion in other:
            name = f"{speaker}-{emotion}.wav"
            soundfile.write(folder / name, rng.uniform(-0.3, 0.3, 8000), 16_000)
            label = other[emotion] if speaker == swap else emotion
            lines.append(f"{name},{label},{speaker}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n")
    return folder / "clips.csv"


def prepare(source, output):
    done = run_command("ssl_audio", "prepare", "csv", source, "--output", output)
    assert done.returncode == 0, done.stderr


def test_changed_labels_are_not_taken_for_the_old_ones(tmp_path):
    """A corpus whose labels were mended, prepared again in the same place."""
    use = ("--set", f"corpus={tmp_path / 'corpus'}", "--set", "folds=csv-2/speakers3")
    run = ("run", *use, "--only", "majority", "--folds", "1", "--output", tmp_path / "out")
    prepare(write_corpus_csv(tmp_path), tmp_path / "corpus")
    assert benchmarks(*run).returncode == 0
    again = benchmarks(*run)
    assert again.returncode == 0 and "1 of 1 runs are there already" in again.stdout
    (speaker,) = (
        Predictions.load(
            tmp_path / "out/predictions/csv-2-speakers3__majority__fold1__seed0.parquet"
        )
        .frame["speaker"]
        .unique()
    )

    prepare(write_corpus_csv(tmp_path, swap=speaker), tmp_path / "corpus")
    refused = benchmarks(*run)
    assert refused.returncode == 2
    assert "was made with other data_fingerprint: choose another --output" in refused.stderr
    assert refused.stderr.count("\n") == 1

    # Beside predictions of the old labels, new ones make no table.
    fresh = [*run[:-1], tmp_path / "fresh"]
    assert benchmarks(*fresh, "--set", "systems.majority.title=New").returncode == 0
    (tmp_path / "fresh/predictions/csv-2-speakers3__majority__fold1__seed0.parquet").rename(
        tmp_path / "out/predictions/csv-2-speakers3__new__fold1__seed0.parquet"
    )
    refused = benchmarks("tables", "--results", tmp_path / "out")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert f"clip {speaker}-high is 'low' for New and 'high' for Majority class" in refused.stderr


def test_print_config_runs_nothing():
    done = benchmarks("run", "--config", RECIPE, "--set", "corpus=x", "--print-config")
    assert done.returncode == 0
    assert "fold_numbers:\n- 1\n" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--output", "out"), "corpus is needed: give --set corpus=..."),
        (("run", "--set", "corpus=nowhere", "--output", "out"), "is not a prepared corpus"),
        (("run", "--set", "corpus=x", "--folds", "one", "--output", "out"), "fold_numbers.0"),
        (("run", "--set", "corpus=x", "--seeds=-1", "--output", "out"), "seeds.0: "),
        (("run", "--set", "corpus=x", "--seeds", "0,0", "--output", "out"), "0 is there twice"),
        (("run", "--set", "corpus=x"), "--output is needed"),
        (("run", "--device", "gpu"), "--device gpu: choose cpu, cuda or cuda:N"),
        (("run", "--device", "cuda:99"), "--device cuda:99: torch finds"),
        (("tables", "--results", "nowhere"), "holds no predictions"),
        (("import", "no.csv", "--system", "m", "--results", "out"), "give --protocol"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments, message, tmp_path):
    done = benchmarks(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())

"""The real commands, as a user calls them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "configs" / "benchmarks" / "quickstart.yaml"
TONES = "tones-3/speakers3"


def benchmarks(*arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )


def test_run_import_and_tables_make_a_table(tones, tmp_path):
    use = ("--config", RECIPE, "--set", f"corpus={tones}", "--set", f"folds={TONES}")
    fast = ("--set", "systems.mfcc_xgboost.settings.n_estimators=5")
    done = benchmarks("run", *use, *fast, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "[4/4] mfcc_xgboost fold 1 seed 0: fitted in" in done.stdout
    assert f"next: python -m benchmarks tables --results {tmp_path}" in done.stdout
    (tmp_path / "mine.csv").write_text(
        "clip_id,speaker,fold,seed,label,high,low,mid\na-low-0,a,1,0,low,0.2,0.7,0.1\n"
    )
    mine = (tmp_path / "mine.csv", "--system", "Mine", "--protocol", TONES, "--results", tmp_path)
    assert benchmarks("import", *mine).returncode == 0
    done = benchmarks("tables", "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "table.md").read_text(encoding="utf-8") in done.stdout
    for name in ("Chance", "Majority class", "MFCC + XGBoost", "Mine"):
        assert name in done.stdout
    for name in ("results.csv", "table.tex", "table.html"):
        assert (tmp_path / name).stat().st_size > 500
    assert len(list((tmp_path / "figures").glob("confusion__*.png"))) == 5


def test_options_choose_rows_folds_and_seeds(tones, tmp_path):
    use = ("--set", f"corpus={tones}", "--set", f"folds={TONES}", "--output", tmp_path)
    done = benchmarks("run", *use, "--only", "chance", "--folds", "1,3", "--seeds", "0,7")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "predictions").iterdir()) == [
        f"chance__fold{fold}__seed{seed}.parquet" for fold in (1, 3) for seed in (0, 7)
    ]


def test_print_config_runs_nothing():
    done = benchmarks("run", "--config", RECIPE, "--set", "corpus=x", "--print-config")
    assert done.returncode == 0
    assert "fold_numbers:\n- 1\n" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--output", "out"), "corpus is needed: give it with --set corpus=..."),
        (("run", "--set", "corpus=nowhere", "--output", "out"), "is not a prepared corpus"),
        (("run", "--set", "corpus=x", "--folds", "one", "--output", "out"), "fold_numbers.0"),
        (("run", "--set", "corpus=x"), "--output is needed"),
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

"""The main job in one command, run as the public commands that it prints: also the tutorial."""

import csv
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_audio.data.corpora import guess_corpus
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.splits import Folds
from ssl_audio.errors import UserError
from ssl_audio.run_record import read_run_record

MARK = "quickstart.txt"
"""Names a folder as an earlier quickstart's, which a new one may replace."""

PROTOCOL_ENDINGS = ("/emobox6", "/speakers6", "/dedup5")
"""The protocol to use, the first that the corpus offers."""


@dataclass(frozen=True)
class Budget:
    """Training steps for a number of minutes on two cores, and when to cut a slower machine.

    Preparing, baselines and tables take about a minute and a half; the rest is shared out between
    pretraining and the two fine-tunings. The rates were measured on two cores with bfloat16.
    """

    minutes: float

    PRETRAIN_SHARE = 0.5
    PRETRAIN_STEPS_PER_SECOND = 3.0
    FINETUNE_STEPS_PER_SECOND = 3.0

    def seconds(self, share: float) -> float:
        """Of one training run."""
        return max(10.0, (self.minutes * 60 - 90) * share)

    def settings(self, share: float, steps_per_second: float) -> list[str]:
        """``--set`` items of one training run."""
        seconds = self.seconds(share)
        steps = max(20, round(seconds * 0.85 * steps_per_second))
        return [
            f"train.max_steps={steps}",
            f"train.warmup_steps={steps // 10}",
            f"train.max_seconds={seconds:.0f}",
        ]


def quickstart(data: Path | None, minutes: float | None, output: Path) -> None:
    """Prepares, audits, pretrains, fine-tunes, compares and prints the table.

    Args:
        data: RAVDESS folder, class-per-folder tree or CSV; None is the built-in synthetic corpus.
        minutes: budget on two cores; by default 8 for real data and 3 for the synthetic corpus.
        output: everything goes below it; an earlier quickstart there is replaced.

    Raises:
        UserError: data that can't be used, or a folder that holds something else.
    """
    started = time.monotonic()
    corpus = guess_corpus(data) if data else "synthetic"
    budget = Budget(minutes or (8.0 if data else 3.0))
    _clear(output)
    prepared = output / "prepared"
    _run("ssl_audio", "prepare", corpus, *([str(data)] if data else []), "--output", str(prepared))
    protocol, folds = _choose_protocol(prepared)
    _run("ssl_audio", "audit", str(prepared), "--folds", str(folds))

    use = ["--set", f"data.corpus={prepared}", "--set", f"data.folds={protocol}"]
    share = (1 - budget.PRETRAIN_SHARE) / 2
    shorter = _sets(budget.settings(share, budget.FINETUNE_STEPS_PER_SECOND))
    longer = _sets(budget.settings(budget.PRETRAIN_SHARE, budget.PRETRAIN_STEPS_PER_SECOND))
    encoder = output / "pretrained"
    tuned, scratch = output / "finetuned", output / "from-scratch"
    _run("ssl_audio", "pretrain", *use, *longer, "--output", str(encoder))
    pretrained = ["--set", f"encoder={encoder}"]
    _run("finetune", "train", *use, *pretrained, *shorter, "--output", str(tuned))
    _run("finetune", "train", *use, *shorter, "--output", str(scratch))

    if importlib.util.find_spec("benchmarks"):
        _compare(prepared, protocol, output, (scratch, tuned))
    else:
        _print_own_rows(output, (scratch, tuned))
    _conclude(output, protocol, encoder, tuned, scratch, time.monotonic() - started)


def _clear(output: Path) -> None:
    if output.exists() and any(output.iterdir()):
        if not (output / MARK).is_file():
            raise UserError(f"{output} holds something that no quickstart made: name another one")
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)
    (output / MARK).write_text("made by python -m ssl_audio quickstart\n", encoding="utf-8")


def _choose_protocol(prepared: Path) -> tuple[str, Path]:
    files = sorted((prepared / "folds").glob("*.csv"))
    protocols = {Folds.load(file).protocol: file for file in files}
    for ending in PROTOCOL_ENDINGS:
        for name, file in protocols.items():
            if name.endswith(ending):
                return name, file
    labelled = sum(clip.emotion is not None for clip in PreparedCorpus.load(prepared).clips)
    raise UserError(
        f"{prepared} offers no folds ({labelled} labelled clips): quickstart needs labels with a "
        "few clips each; without labels use python -m ssl_audio pretrain"
    )


def _compare(prepared: Path, protocol: str, output: Path, runs: Sequence[Path]) -> None:
    recipe = ["--config", str(Path("configs") / "benchmarks" / "quickstart.yaml")]
    use = _sets([f"corpus={prepared}", f"folds={protocol}"])
    _run("benchmarks", "run", *recipe, *use, "--output", str(output))
    for run in runs:
        name = str(read_run_record(run)["system"])
        predictions = str(run / "predictions.parquet")
        _run("benchmarks", "import", predictions, "--system", name, "--results", str(output))
    _run("benchmarks", "tables", "--results", str(output))


def _print_own_rows(output: Path, runs: Sequence[Path]) -> None:
    """Without ``benchmarks`` (an installed wheel): the rows that finetune can make."""
    lines = ["| system | test UAR |", "|---|---|"]
    for run in runs:
        record = read_run_record(run)
        lines.append(f"| {record['system']} | {100 * record['metrics']['test_uar']:.1f} |")
    table = "\n".join(lines) + "\n"
    (output / "table.md").write_text(table, encoding="utf-8")
    print(table)
    print("Baselines, intervals, LaTeX and HTML need the checkout: benchmarks is not installed.")


def _conclude(
    output: Path, protocol: str, encoder: Path, tuned: Path, scratch: Path, seconds: float
) -> None:
    scores = [100 * read_run_record(run)["metrics"]["test_uar"] for run in (tuned, scratch)]
    verb = "more" if scores[0] > scores[1] else "less"
    best = _best_row(output)
    files = {
        "table": "table.md, table.tex, table.html, results.csv",
        "pictures": "figures/ (confusion matrix), "
        f"{encoder.name}/loss.png, {encoder.name}/reconstruction.png",
        "corpus": "prepared/corpus.html",
        "model": f"{tuned.name}/",
    }
    print(f"\nWhat was learnt, in {seconds / 60:.1f} minutes, on {protocol}, fold 1, seed 0:")
    print(
        f"  UAR {scores[0]:.1f} % with pretraining and {scores[1]:.1f} % from scratch, "
        f"{abs(scores[0] - scores[1]):.1f} points {verb}: one fold, one seed, indicative only."
    )
    if best:
        print(f"  Best row of the table: {best}.")
    print(f"Where it is, below {output}:")
    for what, where in files.items():
        print(f"  {what:9} {where}")
    print("What to run next:")
    print(f"  python -m finetune predict YOUR.wav --model {tuned} --output predictions.csv")
    print(f"  python -m finetune evaluate --model {tuned} --input {output / 'prepared'} --fold 1")
    print("  make quickstart MINUTES=30        (longer training; DATA=... for your own audio)")


def _best_row(output: Path) -> str | None:
    if not (output / "results.csv").is_file():
        return None
    with (output / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "uar"]
    best = max(rows, key=lambda row: float(row["value"]))
    return f"{best['system']} with UAR {100 * float(best['value']):.1f} %"


def _sets(items: Sequence[str]) -> list[str]:
    return [part for item in items for part in ("--set", item)]


def _run(*command: str) -> None:
    """Runs ``python -m ...`` after printing it; its failure is ours, with its exit code."""
    print(f"\n$ python -m {shlex.join(command)}", flush=True)
    # Nothing is downloaded unasked: the Hugging Face libraries stay offline.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    finished = subprocess.run([sys.executable, "-m", *command], env=environment, check=False)
    if finished.returncode:
        print(f"quickstart stopped: the command above failed ({finished.returncode})")
        sys.exit(finished.returncode)

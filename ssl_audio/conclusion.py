"""The end of a quickstart: what was learnt, where it is, what to run next."""

import csv
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.run_record import read_run_record


@dataclass(frozen=True)
class Comparison:
    """What is compared, and where it lies."""

    output: Path
    protocol: str

    @property
    def prepared(self) -> Path:
        """The prepared corpus."""
        return self.output / "prepared"

    @property
    def encoder(self) -> Path:
        """The pretrained encoder."""
        return self.output / "pretrained"

    @property
    def tuned(self) -> Path:
        """The fine-tuned classifier."""
        return self.output / "finetuned"

    @property
    def scratch(self) -> Path:
        """The same, without pretraining."""
        return self.output / "from-scratch"


def conclude(comparison: Comparison, seconds: float) -> list[str]:
    """What was learnt, where it is, what to run next: lines for the terminal.

    Args:
        comparison: a finished one.
        seconds: that it took.
    """
    output, protocol = comparison.output, comparison.protocol
    records = [read_run_record(run) for run in (comparison.tuned, comparison.scratch)]
    rows = _read_uar(output / "results.csv")
    values = [100 * record["metrics"]["test_uar"] for record in records]
    shown = [
        _format_uar(value, rows.get(record["system"], {}))
        for value, record in zip(values, records, strict=True)
    ]
    difference = round(values[0] - values[1], 1)
    verdict = f"{abs(difference):.1f} points {'more' if difference > 0 else 'less'}"
    lines = [
        f"\nWhat was learnt, in {seconds / 60:.1f} minutes, on {protocol}, fold 1, seed 0:",
        f"  UAR {shown[0]} with pretraining and {shown[1]} from scratch: "
        f"{verdict if difference else 'the same'}.",
        *_warn(comparison, [read_run_record(comparison.encoder), *records]),
    ]
    if rows:
        best = max(rows, key=lambda name: float(rows[name]["value"]))
        value = 100 * float(rows[best]["value"])
        lines.append(f"  Best row of the table: {best} with {_format_uar(value, rows[best])}.")
    wav, csv_file = ("YOUR.wav", "predictions.csv")
    model = ("--model", str(comparison.tuned))
    test = ("--input", str(comparison.prepared), "--fold", "1")
    return [
        *lines,
        f"Where it is, below {output}:",
        *_list_files(output),
        "What to run next:",
        f"  {to_line('finetune', 'predict', wav, *model, '--output', csv_file)}",
        f"  {to_line('finetune', 'evaluate', *model, *test)}",
    ]


def _warn(comparison: Comparison, records: Sequence[Mapping[str, Any]]) -> list[str]:
    """What keeps the difference from meaning much."""
    corpus = PreparedCorpus.load(comparison.prepared)
    tested = corpus.indices(corpus.folds(comparison.protocol).fold(1).test)
    speakers = {corpus.clips[index].speaker for index in tested} - {None}
    known = "1 speaker" if len(speakers) == 1 else f"{len(speakers)} speakers"
    who = known if speakers else "unknown speakers"
    lines = [f"  Tested on {len(tested)} clips of {who}, one fold, one seed: indicative only."]
    if not speakers:
        lines.append("  The same voices may be in training and test, which flatters every row.")
    names = ("pretraining", "fine-tuning after it", "training from scratch")
    if cut := [name for name, record in zip(names, records, strict=True) if record["budget_cut"]]:
        lines.append(f"  Cut before its last step, for time: {', '.join(cut)}.")
    return lines


def _read_uar(results: Path) -> dict[str, dict[str, str]]:
    """The UAR row of each system, if there are results."""
    if not results.is_file():
        return {}
    with results.open(newline="", encoding="utf-8") as file:
        return {row["system"]: row for row in csv.DictReader(file) if row["metric"] == "uar"}


def _format_uar(percent: float, row: Mapping[str, str]) -> str:
    if not row.get("ci_low") or not row.get("ci_high"):
        return f"{percent:.1f} %"
    low, high = (100 * float(row[bound]) for bound in ("ci_low", "ci_high"))
    return f"{percent:.1f} % [{low:.1f}, {high:.1f}]"


def _list_files(output: Path) -> list[str]:
    files = {
        "table": ("table.md", "table.tex", "table.html", "results.csv"),
        "pictures": ("figures", "pretrained/loss.png", "pretrained/reconstruction.png"),
        "corpus": ("prepared/corpus.html",),
        "model": ("finetuned",),
    }
    there = {
        what: [name for name in names if (output / name).exists()] for what, names in files.items()
    }
    return [f"  {what:9} {', '.join(names)}" for what, names in there.items() if names]


def to_line(*command: str) -> str:
    """``python -m ...`` as one types it here, with the interpreter that runs this."""
    python, found = Path(sys.executable), shutil.which("python")
    if found and Path(found) == python:
        python = Path("python")
    elif python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    return shlex.join([str(python), "-m", *command])

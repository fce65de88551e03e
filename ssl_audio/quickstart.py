"""The main job in one command, run as the public commands that it prints: also the tutorial."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_audio.conclusion import Comparison, conclude, to_line
from ssl_audio.data.corpora import CORPORA, guess_corpus
from ssl_audio.data.manifest import SAMPLE_RATE
from ssl_audio.data.prepared import PreparedCorpus, folds_path
from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.errors import DataError, UserError
from ssl_audio.run_record import read_run_record

MARK = "quickstart.txt"
"""Names a folder as an earlier quickstart's, which a new one may replace."""

MADE = (
    *("prepared", "pretrained", "finetuned", "from-scratch", "predictions", "runs"),
    *("features", "figures", "results.csv", "comparisons.csv", "folds.csv"),
    *("table.md", "table.tex", "table.html"),
)
"""What a quickstart puts below its output: the only names that a new one removes."""

FINETUNING = ("strategy=head_first", "train.lr=1e-4")
"""Of both fine-tunings: what never lost much to the encoder's own probe on a development corpus."""

SCHEMES = ("emobox", "speakers", "dedup")
"""How the name of the protocol to use goes on after the slash, best first."""

CHECKOUT = Path(__file__).resolve().parents[1]
RECIPE = Path("configs") / "benchmarks" / "quickstart.yaml"


@dataclass(frozen=True)
class Budget:
    """Training steps for a number of minutes on two cores, and when to cut a slower machine.

    Preparing, baselines and tables take some two minutes with RAVDESS; the rest, at least a quarter
    of all, is shared out between pretraining, the two fine-tunings and the ImageNet network. The
    rate was measured on two cores with bfloat16.
    """

    minutes: float

    FIXED_SECONDS = 130
    PRETRAIN_SHARE = 0.45
    FINETUNE_SHARE = 0.22
    NETWORK_SHARE = 0.11
    STEPS_PER_SECOND = 2.5

    def seconds(self, share: float) -> float:
        """Of one training run."""
        return max(self.minutes * 60 - self.FIXED_SECONDS, self.minutes * 15) * share

    def settings(self, share: float) -> list[str]:
        """``--set`` items of one training run."""
        seconds = self.seconds(share)
        steps = max(10, round(seconds * 0.85 * self.STEPS_PER_SECOND))
        return [
            f"train.max_steps={steps}",
            f"train.warmup_steps={steps // 10}",
            f"train.max_seconds={seconds:.0f}",
        ]

    def describe(self) -> str:
        """Who gets how much, one line."""
        shares = (self.PRETRAIN_SHARE, self.FINETUNE_SHARE, self.NETWORK_SHARE)
        pretraining, tuning, network = map(self.seconds, shares)
        return (
            f"Plan for --minutes {self.minutes:g} on two cores: pretraining {pretraining:.0f} s, "
            f"each of two fine-tunings {tuning:.0f} s, an ImageNet network {network:.0f} s, all "
            "cut if they take longer; preparing, other baselines and tables, which are never cut, "
            f"some {self.FIXED_SECONDS} s."
        )


def quickstart(
    data: Path | None,
    minutes: float | None,
    output: Path,
    columns: Mapping[str, str] | None = None,
) -> None:
    """Prepares, audits, pretrains, fine-tunes, compares and prints the table.

    Args:
        data: RAVDESS folder, class-per-folder tree or CSV; None is the built-in synthetic corpus.
        minutes: budget on two cores; by default 8 for real data and 3 for the synthetic corpus.
        output: everything goes below it; an earlier quickstart there is replaced once the new
            data has turned out to be of use.
        columns: which columns of a CSV hold what, by field of Clip.

    Raises:
        UserError: data that can't be used, or a folder that holds something else.
    """
    started = time.monotonic()
    corpus = guess_corpus(data) if data else "synthetic"
    _refuse_output(data, output)
    budget = Budget(minutes or (8.0 if data else 3.0))
    print(budget.describe())
    comparison = _prepare(corpus, data, columns or {}, output)
    _train(comparison, budget)
    runs = (comparison.scratch, comparison.tuned)
    if _has_benchmarks():
        _compare(comparison, runs, budget)
    else:
        _print_own_rows(output, runs)
    print("\n".join(conclude(comparison, time.monotonic() - started)))
    again = ["--data", str(data)] if data else []
    again += [part for item in (columns or {}).items() for part in ("--map", "=".join(item))]
    again += ["--minutes", f"{budget.minutes * 3:g}", "--output", str(output)]
    print(f"  {to_line('ssl_audio', 'quickstart', *again)}    # train longer")


def _refuse_output(data: Path | None, output: Path) -> None:
    """Before anything is written: no folder of somebody else's, and none with the data in it."""
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is a file: name a folder")
    if data and data.resolve().is_relative_to(output.resolve()):
        raise UserError(
            f"--data {data} lies in --output {output}, whose content is replaced: name another one"
        )
    if output.exists() and any(output.iterdir()) and not (output / MARK).is_file():
        raise UserError(f"{output} holds something that no quickstart made: name another one")


def _prepare(
    corpus: str, data: Path | None, columns: Mapping[str, str], output: Path
) -> Comparison:
    """Prepares aside; only a corpus that offers folds takes an earlier quickstart's place."""
    output.mkdir(parents=True, exist_ok=True)
    (output / MARK).write_text("made by python -m ssl_audio quickstart\n", encoding="utf-8")
    aside = output / "prepared.new"
    maps = [part for item in columns.items() for part in ("--map", "=".join(item))]
    source = [str(data)] if data else []
    _run("ssl_audio", "prepare", corpus, *source, "--output", str(aside), *maps)
    protocol = _choose_protocol(aside)
    _remove_made(output)
    comparison = Comparison(output, protocol)
    aside.rename(comparison.prepared)
    print(f"{aside} offers {protocol}: it is {comparison.prepared} from here on")
    folds = folds_path(comparison.prepared, protocol)
    _run("ssl_audio", "audit", str(comparison.prepared), "--folds", str(folds))
    return comparison


def _choose_protocol(prepared: Path) -> str:
    corpus = PreparedCorpus.load(prepared)
    try:
        offered = CORPORA[corpus.name].build_folds(corpus.clips)
    except DataError as error:
        raise UserError(
            f"nothing to compare on: {error} (quickstart needs labels: name a table's columns with "
            "--map emotion=COLUMN; without labels use python -m ssl_audio pretrain)"
        ) from None
    return next(
        folds.protocol
        for scheme in SCHEMES
        for folds in offered
        if folds.protocol.partition("/")[2].startswith(scheme)
    )


def _remove_made(output: Path) -> None:
    for path in (output / name for name in MADE):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _train(comparison: Comparison, budget: Budget) -> None:
    use = _sets([f"data.corpus={comparison.prepared}", f"data.folds={comparison.protocol}"])
    tuning = (*FINETUNING, f"level={_choose_level(comparison)}")
    shorter = _sets([*tuning, *budget.settings(budget.FINETUNE_SHARE)])
    longer = _sets(budget.settings(budget.PRETRAIN_SHARE))
    encoder = str(comparison.encoder)
    _run("ssl_audio", "pretrain", *use, *longer, "--output", encoder)
    pretrained = _sets([f"encoder={encoder}"])
    _run("finetune", "train", *use, *pretrained, *shorter, "--output", str(comparison.tuned))
    _run("finetune", "train", *use, *shorter, "--output", str(comparison.scratch))


def _choose_level(comparison: Comparison) -> str:
    """``chosen``, unless fold 1's clips of up to 30 s don't show two classes in both parts."""
    corpus = PreparedCorpus.load(comparison.prepared)
    fold = corpus.folds(comparison.protocol).fold(1)
    for part in (fold.train, fold.validation):
        clips = [corpus.clips[index] for index in corpus.indices(part)]
        most = AudioEncoderConfig().max_seconds * SAMPLE_RATE
        if len({clip.emotion for clip in clips if (clip.num_samples or 0) <= most}) < 2:
            return "last"
    return "chosen"


def _has_benchmarks() -> bool:
    """Whether this package runs from a checkout; any folder may be called ``benchmarks``."""
    files = (CHECKOUT / "benchmarks" / "__main__.py", CHECKOUT / RECIPE)
    return all(file.is_file() for file in files)


def _compare(comparison: Comparison, runs: Sequence[Path], budget: Budget) -> None:
    output = str(comparison.output)
    recipe = RECIPE if Path.cwd() == CHECKOUT else CHECKOUT / RECIPE
    seconds = budget.seconds(budget.NETWORK_SHARE)
    cut = f"systems.efficientnet.settings.train.max_seconds={seconds:.0f}"
    use = _sets([f"corpus={comparison.prepared}", f"folds={comparison.protocol}", cut])
    _run("benchmarks", "run", "--config", str(recipe), *use, "--output", output)
    for run in runs:
        name = str(read_run_record(run)["system"])
        predictions = str(run / "predictions.parquet")
        _run("benchmarks", "import", predictions, "--system", name, "--results", output)
    _run("benchmarks", "tables", "--results", output)


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


def _sets(items: Sequence[str]) -> list[str]:
    return [part for item in items for part in ("--set", item)]


def _run(*command: str) -> None:
    """Runs ``python -m ...`` after printing it; a failure ends quickstart with its exit code."""
    print(f"\n$ {to_line(*command)}", flush=True)
    # Nothing is downloaded unasked: the Hugging Face libraries stay offline.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if _has_benchmarks():
        # From any folder, whatever else there is called benchmarks.
        paths = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}
    finished = subprocess.run([sys.executable, "-m", *command], env=environment, check=False)
    if finished.returncode == 2:
        sys.exit(2)  # the user's mistake: the command has said it in its one line
    if finished.returncode:
        message = f"quickstart stopped: the command above failed ({finished.returncode})"
        print(message, file=sys.stderr)
        sys.exit(finished.returncode if finished.returncode > 0 else 1)

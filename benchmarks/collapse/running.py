"""Runs every case with every seed; each run is a file, and what is there of this code is kept."""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ssl_audio
from benchmarks.collapse.case import Case
from benchmarks.collapse.config import CollapseConfig
from benchmarks.collapse.failures import list_failures
from benchmarks.collapse.healthy import list_healthy
from benchmarks.collapse.report import Verdict, write_report
from benchmarks.collapse.runs import Seen, run_case
from benchmarks.results import slug
from ssl_audio.data.prepared import PreparedCorpus, write_corpus
from ssl_audio.data.synthetic import SyntheticSettings, synthesise
from ssl_audio.progress import with_progress
from ssl_audio.run_record import code_sha256, git_commit, write_run_record

Half = Literal["setting", "reported"]


@dataclass(frozen=True)
class Planned:
    """One run to come."""

    case: Case
    corpus: PreparedCorpus
    seed: int
    half: Half

    @property
    def name(self) -> str:
        """Of its file: other for other audio or other code."""
        key = hashlib.sha256(f"{_code()} {self.corpus.fingerprint}".encode()).hexdigest()[:16]
        which = (self.half, slug(self.corpus.name), slug(self.case.cause), str(self.seed), key)
        return "__".join(which)


def run_collapse(config: CollapseConfig, output: Path) -> str:
    """Makes ``output/parts`` and from them the report; a folder that is there is continued.

    Returns:
        The report, as Markdown.
    """
    git_commit()  # remembered as it is now
    start = time.monotonic()
    (output / "parts").mkdir(parents=True, exist_ok=True)
    corpora = [
        make_corpus(output / f"corpus-{_code()[:16]}"),
        *map(PreparedCorpus.load, config.corpora),
    ]
    planned = list(plan_runs(config, corpora))
    verdicts = [
        judge_run(run, _keep(run, output / "parts"))
        for run in with_progress(planned, len(planned), "watch", "run")
    ]
    report = write_report(verdicts, output)
    write_run_record(
        output,
        command="benchmarks collapse",
        config=config,
        seed=min(config.setting_seeds),
        device="cpu",
        choices={"cores": os.cpu_count()},
        data_fingerprint=" ".join(corpus.fingerprint for corpus in corpora),
        wall_seconds=time.monotonic() - start,
        metrics={},
    )
    return report


def _code() -> str:
    """Of the watch, of what it watches, and of the corpus."""
    return code_sha256(Path(ssl_audio.__file__).parent, Path(__file__).parent)


def make_corpus(root: Path) -> PreparedCorpus:
    """48 clips of eight synthetic speakers; made once."""
    if not root.is_dir():
        settings = SyntheticSettings(
            num_speakers=8,
            emotions=("neutral", "happy", "angry"),
            num_statements=1,
            num_repetitions=2,
        )
        aside = root.with_name(f"{root.name}.partial")
        aside.mkdir()
        write_corpus(aside, "synthetic", synthesise(settings))
        aside.rename(root)
    return PreparedCorpus.load(root)


def plan_runs(config: CollapseConfig, corpora: list[PreparedCorpus]) -> Iterator[Planned]:
    """Every other cause with the setting seeds, the others with the reported ones.

    Healthy runs come with all seeds on the synthetic corpus, and once on each other one.
    """
    synthetic, *others = corpora
    failures = list_failures()
    halves: dict[Half, tuple[list[Case], tuple[int, ...]]] = {
        "setting": (failures[::2], config.setting_seeds),
        "reported": (failures[1::2], config.reported_seeds),
    }
    for half, (cases, seeds) in halves.items():
        for case in [*cases, *list_healthy()]:
            yield from (Planned(case, synthetic, seed, half) for seed in seeds)
    for corpus in others:
        for case in list_healthy():
            yield Planned(case, corpus, config.reported_seeds[0], "reported")


def _keep(run: Planned, folder: Path) -> Seen:
    path = folder / f"{run.name}.json"
    if not path.is_file():
        seen = run_case(run.case, run.corpus, run.seed)
        aside = path.with_suffix(f".{os.getpid()}")
        aside.write_text(json.dumps(seen.document()), encoding="utf-8")
        aside.rename(path)
    return Seen(**json.loads(path.read_text(encoding="utf-8")))


def judge_run(run: Planned, seen: Seen) -> Verdict:
    """What the watch said."""
    case = run.case
    facts: dict[str, Any] = {
        "half": run.half,
        "corpus": run.corpus.name,
        "cause": case.cause,
        "objective": case.objective["kind"],
        "right_levels": " ".join(case.levels),
        "seed": run.seed,
        "begins": seen.start,
        "first_loss": seen.looks[0][1]["loss"],
        "last_loss": seen.looks[-1][1]["loss"],
    }
    level, step, what = seen.alarm or ("", None, "")
    return Verdict(**facts, level=level, step=step, what=what)

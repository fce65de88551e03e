"""The benchmark of the watch on collapse: what it breaks is broken, and told with its level."""

from dataclasses import replace

import pytest

from benchmarks.collapse.case import Case
from benchmarks.collapse.config import CollapseConfig
from benchmarks.collapse.failures import list_failures
from benchmarks.collapse.healthy import list_healthy
from benchmarks.collapse.report import Verdict, write_report
from benchmarks.collapse.running import Planned, judge_run, plan_runs
from benchmarks.collapse.runs import Seen, run_case
from ssl_audio.data.prepared import PreparedCorpus

CASES = {case.cause: case for case in [*list_failures(), *list_healthy()]}
QUICK = [
    "NaN audio, one clip a batch",
    "patch embedding zero from the start",
    "cls the same for all clips",
    "codes all equal",
    "masked",
    "contrastive",
]


@pytest.fixture(scope="module")
def corpus(prepared):
    return PreparedCorpus.load(prepared)


def run(case: Case, corpus: PreparedCorpus, steps: int) -> tuple[Seen, Verdict]:
    short = replace(case, train={**case.train, "max_steps": steps, "batch_size": 8})
    seen = run_case(short, corpus, 4)
    return seen, judge_run(Planned(short, corpus, 4, "reported"), seen)


@pytest.mark.parametrize("cause", QUICK)
def test_failures_are_told_and_healthy_runs_go_through(corpus, cause):
    begins = run_case(replace(CASES[cause], train={"max_steps": 1}), corpus, 4).start
    seen, verdict = run(CASES[cause], corpus, max(20, begins))
    assert verdict.named == bool(CASES[cause].levels)
    assert (verdict.step is None) == (not CASES[cause].levels)
    assert [step for step, _ in seen.looks][:2] == [1, 20][: len(seen.looks)]


@pytest.mark.slow
@pytest.mark.parametrize("cause", CASES)
def test_every_case_runs(corpus, cause):
    assert run(CASES[cause], corpus, 20)[0].looks


def test_halves_share_neither_causes_nor_seeds(corpus):
    planned = list(plan_runs(CollapseConfig(), [corpus, corpus]))
    failures = [run for run in planned if run.case.levels]
    halves = [
        {(run.case.cause, run.seed) for run in failures if run.half == half}
        for half in ("setting", "reported")
    ]
    for place in (0, 1):
        first, second = ({key[place] for key in half} for half in halves)
        assert first and second and not first & second
    assert len(failures) == len({run.name for run in failures}) >= 2 * 30
    assert len(planned) - len(failures) >= 20


def test_runs_of_other_audio_or_code_are_not_taken_for_these(corpus, monkeypatch):
    case = CASES["masked"]
    name = Planned(case, corpus, 4, "reported").name
    assert name == Planned(case, corpus, 4, "reported").name
    other = replace(corpus, fingerprint="other")
    assert Planned(case, other, 4, "reported").name != name
    monkeypatch.setattr("benchmarks.collapse.running.code_sha256", lambda *_: "other")
    assert Planned(case, corpus, 4, "reported").name != name


def verdict(step: int | None, level: str, levels: str = "target", half: str = "reported"):
    return Verdict(
        half, "synthetic", "cause", "latent", levels, 0, 10, level, step, "said", 2.0, 1.0
    )


def test_an_alarm_counts_after_its_cause_and_with_its_level():
    told, late, early, other, none = (
        verdict(12, "target"),
        verdict(300, "target"),
        verdict(5, "target"),
        verdict(12, "cls"),
        verdict(None, ""),
    )
    assert told.flagged and told.named and told.delay == 2
    assert not late.flagged and not early.flagged and not none.flagged
    assert other.flagged and not other.named


def test_the_report_counts(tmp_path):
    runs = [verdict(12, "target"), verdict(14, "cls"), verdict(None, ""), verdict(None, "", "")]
    text = write_report([*runs, verdict(20, "cls", "", "setting")], tmp_path)
    assert "| reported | 3 | 2 | 1 | 3.0 | 4.0 | 1 | 0 |" in text
    assert "| cause | latent | 3 | 2 | 1 | target, cls, none | 2, 4, - |" in text
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 6

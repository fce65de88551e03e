"""The benchmark's result as tables."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

MOST_STEPS = 200


@dataclass(frozen=True)
class Verdict:
    """How one run fared."""

    half: str
    corpus: str
    cause: str
    objective: str
    right_levels: str
    """Of which any is right to name; none if nothing is wrong."""
    seed: int
    begins: int
    """First step at which something was wrong."""
    level: str
    """That the watch named; none if it raised no alarm."""
    step: int | None
    """Of the alarm."""
    what: str
    first_loss: float
    last_loss: float
    """Of the last look, at the alarm if there was one: a collapse may hide under a falling loss."""

    @property
    def delay(self) -> int | None:
        """Steps from the beginning of the failure to the alarm, negative for a false one."""
        return None if self.step is None else self.step - self.begins

    @property
    def flagged(self) -> bool:
        """Told within 200 steps, and not before anything was wrong."""
        return self.delay is not None and 0 <= self.delay <= MOST_STEPS

    @property
    def named(self) -> bool:
        """Told with a right level."""
        return self.flagged and self.level in self.right_levels.split()


def write_report(verdicts: Sequence[Verdict], output: Path) -> str:
    """``runs.csv`` and ``collapse.md``."""
    pd.DataFrame([{**asdict(v), "delay": v.delay} for v in verdicts]).to_csv(
        output / "runs.csv", index=False
    )
    parts = ["## In sum\n", _tabulate(_sum_up(verdicts))]
    for half, title in (("reported", "Reported half"), ("setting", "Half on which they were set")):
        parts += [f"\n## {title}\n", _tabulate(_by_cause(v for v in verdicts if v.half == half))]
    parts += ["\n## Healthy runs\n", _tabulate(_healthy(verdicts))]
    text = "\n".join(parts) + "\n"
    (output / "collapse.md").write_text(text, encoding="utf-8")
    return text


def _sum_up(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    rows = []
    for half in ("reported", "setting"):
        runs = [v for v in verdicts if v.half == half]
        failures = [v for v in runs if v.right_levels]
        healthy = [v for v in runs if not v.right_levels]
        delays = [v.delay for v in failures if v.flagged]
        rows.append(
            {
                "half": half,
                "failures": len(failures),
                "stopped within 200 steps": sum(v.flagged for v in failures),
                "with the right level": sum(v.named for v in failures),
                "median delay": pd.Series(delays, dtype=float).median(),
                "longest": pd.Series(delays, dtype=float).max(),
                "healthy runs": len(healthy),
                "false alarms": sum(v.step is not None for v in healthy),
            }
        )
    return pd.DataFrame(rows)


def _by_cause(verdicts: Iterable[Verdict]) -> pd.DataFrame:
    rows: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.right_levels:
            rows.setdefault(verdict.cause, []).append(verdict)
    return pd.DataFrame(
        {
            "cause": cause,
            "objective": runs[0].objective,
            "runs": len(runs),
            "stopped": sum(run.flagged for run in runs),
            "right level": sum(run.named for run in runs),
            "levels named": ", ".join(dict.fromkeys(run.level or "none" for run in runs)),
            "delays": ", ".join("-" if run.delay is None else str(run.delay) for run in runs),
            "loss": ", ".join(f"{run.first_loss:.3g} to {run.last_loss:.3g}" for run in runs),
        }
        for cause, runs in rows.items()
    )


def _healthy(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    rows: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        if not verdict.right_levels:
            rows.setdefault((verdict.corpus, verdict.cause), []).append(verdict)
    return pd.DataFrame(
        {
            "corpus": corpus,
            "run": cause,
            "runs": len(runs),
            "false alarms": sum(run.step is not None for run in runs),
            "said": "; ".join(run.what for run in runs if run.step is not None),
        }
        for (corpus, cause), runs in rows.items()
    )


def _tabulate(rows: pd.DataFrame) -> str:
    head, rule = "| " + " | ".join(rows) + " |", "|" + "---|" * len(rows.columns)
    body = ["| " + " | ".join(map(str, row)) + " |" for row in rows.itertuples(index=False)]
    return "\n".join([head, rule, *body])

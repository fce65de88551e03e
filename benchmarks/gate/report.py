"""The benchmark's result as tables and a picture."""

from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from benchmarks.figures.style import (
    BLUE,
    COLUMN_MM,
    FONT_PT,
    GREY,
    add_axes,
    new_figure,
    save_figure,
)

KEYS = ["corpus", "kind", "change", "strength"]
SUMMED = ("near_identical_audio", "augmented_copies")


def write_report(
    scores: pd.DataFrame, alarms: pd.DataFrame, cost: pd.DataFrame | None, output: Path
) -> str:
    """``recall.csv``, ``alarms.csv``, ``cost.csv``, ``gate.md`` and ``cost.png``.

    Args:
        scores: rows of ``running.Score``.
        alarms: rows of ``running.Alarms``.
        cost: rows of ``running.Cost``.
        output: folder.
    """
    recall = summarise(scores)
    recall.to_csv(output / "recall.csv", index=False)
    alarms.to_csv(output / "alarms.csv", index=False)
    # Of changes of the sound that all make one kind, the sum; others are leaks of their own.
    summed = scores["kind"].isin(SUMMED)
    by_kind = summarise(scores.assign(change=scores["change"].where(~summed, ""), strength="all"))
    parts = [
        "## By kind\n",
        _format_recall(by_kind),
        "\n## Protocols with which nothing is wrong\n",
        _tabulate(alarms),
        "\n## By kind and strength\n",
        _format_recall(recall),
    ]
    if cost is not None:
        cost.to_csv(output / "cost.csv", index=False)
        draw_cost(cost, output / "cost.png")
        parts += ["\n## Cost of the search for copies\n", _tabulate(cost.round(2))]
    text = "\n".join(parts) + "\n"
    (output / "gate.md").write_text(text, encoding="utf-8")
    return text


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Recall of each kind and strength over seeds, with Wilson's 95 % interval."""
    rows = scores.groupby(KEYS, sort=False, dropna=False).sum(numeric_only=True).reset_index()
    low, high = proportion_confint(rows["found"], rows["injected"], method="wilson")
    return rows.drop(columns="seed").assign(
        recall=rows["found"] / rows["injected"], ci_low=low, ci_high=high
    )


def _format_recall(rows: pd.DataFrame) -> str:
    shown = rows[[*KEYS, "injected", "found", "called_right", "false_alarms"]].copy()
    shown["recall [95 %]"] = [
        f"{100 * r.recall:.1f} [{100 * r.ci_low:.1f}, {100 * r.ci_high:.1f}]"
        for r in rows.itertuples()
    ]
    return _tabulate(shown.fillna(""))


def _tabulate(rows: pd.DataFrame) -> str:
    head, rule = "| " + " | ".join(rows) + " |", "|" + "---|" * len(rows.columns)
    body = ["| " + " | ".join(map(str, row)) + " |" for row in rows.itertuples(index=False)]
    return "\n".join([head, rule, *body])


def draw_cost(cost: pd.DataFrame, path: Path) -> None:
    """Seconds against clips, both logarithmic, with what grows in proportion and with all pairs."""
    figure = new_figure(COLUMN_MM, 65)
    axes = add_axes(figure, 15, 4, 66, 48)
    sizes = cost["num_clips"].to_numpy()
    seconds = cost["seconds"].to_numpy()
    axes.loglog(sizes, seconds, "o-", color=BLUE, markersize=3, linewidth=1, label="measured")
    for power, style, label in ((1, "--", "in proportion"), (2, ":", "all pairs")):
        grown = seconds[0] * np.power(sizes / sizes[0], power)
        axes.loglog(sizes, grown, style, color=GREY, linewidth=0.8, label=label)
    ticks = [10**power * digit for power in range(1, 8) for digit in (1, 3)]
    axes.set_xticks([tick for tick in ticks if sizes.min() <= tick <= sizes.max()])
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("clips", fontsize=FONT_PT)
    axes.set_ylabel("seconds", fontsize=FONT_PT)
    axes.tick_params(labelsize=FONT_PT)
    axes.legend(fontsize=FONT_PT, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)

"""``throughput cost``: what a training step costs against clips, tokens of a clip, and weights.

One of them grows at a time; every setting trains in turn, round by round.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from benchmarks.figures.style import (
    BLUE,
    FONT_PT,
    GREY,
    ORANGE,
    PAGE_MM,
    add_axes,
    new_figure,
    save_figure,
)
from benchmarks.throughput.pretraining import build_ours
from benchmarks.throughput.steps import Row, System, time_systems
from ssl_audio.allocation import keep_freed_memory
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.encoder_config import Size
from ssl_audio.objectives.latent import LatentConfig
from ssl_audio.objectives.masked import MaskedConfig
from ssl_audio.probing import choose_precision
from ssl_audio.run_record import git_commit

Axis = Literal["clips", "tokens", "weights"]

OBJECTIVES = {"masked": MaskedConfig(), "latent": LatentConfig()}
COLOURS = {"masked": BLUE, "latent": ORANGE}
CLIPS = (4, 8, 16, 32, 64)
SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0)
SIZES: tuple[Size, ...] = ("tiny", "small", "base")
TOKENS_PER_SECOND = 25
USUAL_CLIPS, USUAL_SECONDS = 16, 3.0
"""What does not grow."""


@dataclass(frozen=True)
class Setting:
    """One point of a curve.

    Attributes:
        axis: what grows.
        objective: by its kind.
        size: of the encoder.
        clips: of a step.
        seconds: of a clip.
    """

    axis: Axis
    objective: str
    size: Size
    clips: int
    seconds: float

    def build(self, corpus: PreparedCorpus) -> System:
        """Ready to take steps, in the precision that a run would choose."""
        name = f"{self.objective}, {self.axis}, {self.clips} clips of {self.seconds:g} s"
        config = OBJECTIVES[self.objective]
        sizes = (self.clips, self.seconds)
        device = torch.device("cpu")
        precision = choose_precision(device)
        return build_ours(corpus, name, self.size, config, *sizes, precision, device)

    def value(self, row: Row) -> float:
        """Where it lies on its axis."""
        values = {
            "clips": self.clips,
            "tokens": self.seconds * TOKENS_PER_SECOND,
            "weights": row.parameters,
        }
        return float(values[self.axis])


def list_settings() -> Iterator[Setting]:
    """Every point of every curve."""
    for kind in OBJECTIVES:
        yield from (Setting("clips", kind, "tiny", clips, USUAL_SECONDS) for clips in CLIPS)
        yield from (Setting("tokens", kind, "tiny", USUAL_CLIPS, length) for length in SECONDS)
        yield from (Setting("weights", kind, size, USUAL_CLIPS, USUAL_SECONDS) for size in SIZES)


def measure_cost(
    corpus: PreparedCorpus, rounds: int, seconds: float, settings: Sequence[Setting]
) -> pd.DataFrame:
    """One row of each setting: what it is, where on its axis, milliseconds a clip, peak memory.

    Args:
        corpus: prepared, with clips of 16 s at least.
        rounds: that count; one more warms up.
        seconds: that each setting trains in a round, one step at least.
        settings: points to measure.
    """
    git_commit()  # remembered as it is now
    keep_freed_memory()
    report = time_systems([setting.build(corpus) for setting in settings], rounds, seconds)
    return pd.DataFrame(
        {
            "axis": setting.axis,
            "objective": setting.objective,
            "size": setting.size,
            "clips": setting.clips,
            "seconds": setting.seconds,
            "value": setting.value(row),
            "ms_per_clip": 1000 / row.clips_per_second,
            "slowest": 1000 * setting.seconds / row.slowest,
            "fastest": 1000 * setting.seconds / row.fastest,
            "gflops_per_clip": row.flops_per_clip / 1e9,
            "share_of_matmul_peak": row.share_of_matmul_peak,
            "peak_mebibytes": row.peak_mebibytes,
            "precision": row.precision,
            "processor": report.processor,
            "git_commit": report.git_commit,
        }
        for setting, row in zip(settings, report.rows, strict=True)
    )


def draw_cost(table: pd.DataFrame, path: Path) -> None:
    """Milliseconds a clip against each axis, with the rounds' range and the operations' growth."""
    figure = new_figure(PAGE_MM, 65)
    labels = {"clips": "clips of a step", "tokens": "tokens of a clip", "weights": "weights"}
    for number, (axis, label) in enumerate(labels.items()):
        axes = add_axes(figure, 13 + 56 * number, 4, 46, 48)
        for kind, colour in COLOURS.items():
            rows = table[(table["axis"] == axis) & (table["objective"] == kind)]
            places, cost = rows["value"].to_numpy(), rows["ms_per_clip"].to_numpy()
            around = np.abs(rows[["fastest", "slowest"]].to_numpy().T - cost)
            style: dict[str, Any] = {"fmt": "o-", "markersize": 3, "linewidth": 1, "capsize": 2}
            axes.errorbar(places, cost, yerr=around, color=colour, label=kind, **style)
            if len(rows):
                work = rows["gflops_per_clip"].to_numpy()
                axes.plot(places, cost[-1] * work / work[-1], ":", color=GREY, linewidth=0.8)
        axes.set(xscale="log", yscale="log")
        unit, name = (1e6, " M") if axis == "weights" else (1, "")
        first = table["objective"] == table["objective"].iloc[0]  # others differ by their heads
        whole = (table[first & (table["axis"] == axis)]["value"] / unit).round().tolist()
        axes.set_xticks([unit * value for value in whole], [f"{value:g}{name}" for value in whole])
        axes.set_yticks([1, 3, 10, 30, 100, 300], ["1", "3", "10", "30", "100", "300"])
        axes.set_ylim(min(4, table["ms_per_clip"].min() / 1.5), table["ms_per_clip"].max() * 1.5)
        axes.minorticks_off()
        axes.set_xlabel(label, fontsize=FONT_PT)
        axes.set_ylabel("ms a clip" if not number else "", fontsize=FONT_PT)
        axes.tick_params(labelsize=FONT_PT)
        axes.spines[["top", "right"]].set_visible(False)
        if axis == "weights":
            axes.plot([], [], ":", color=GREY, linewidth=0.8, label="as operations grow")
            axes.legend(fontsize=FONT_PT, frameon=False)
    save_figure(figure, path)

"""Pictures of a run: its loss, and what a masked model makes of a spectrogram."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ssl_audio.encoder import AudioEncoder
    from ssl_audio.objectives.base import Reconstruction


def draw_loss_curve(output: Path) -> float | None:
    """Draws ``output/loss.png`` from ``metrics.jsonl``; returns the last logged loss.

    Loss and, where logged, validation UAR over steps.
    """
    lines = _read_metrics(output / "metrics.jsonl")
    losses = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    scores = [(line["step"], line["validation_uar"]) for line in lines if "validation_uar" in line]
    last = losses[-1][1] if losses else None
    figure = _new_figure(6.4, 3.6)
    if figure is None:
        return last
    axes = figure.subplots()
    axes.plot(*zip(*losses, strict=True), color="tab:blue", label="training loss")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss", color="tab:blue")
    axes.grid(alpha=0.3)
    if scores:
        other = axes.twinx()
        other.plot(*zip(*scores, strict=True), color="tab:orange", marker="o", markersize=3)
        other.set_ylabel("validation UAR", color="tab:orange")
        other.set_ylim(0, 1)
    figure.savefig(output / "loss.png", dpi=150)
    return last


def draw_reconstruction(
    picture: "Reconstruction", names: Sequence[str], encoder: "AudioEncoder", path: Path
) -> None:
    """Draws original, masked and reconstructed log-mel, one row per clip."""
    figure = _new_figure(12, 2.1 * len(names) + 0.6)
    if figure is None:
        return
    hop_seconds = encoder.config.hop_length / encoder.config.sample_rate
    columns = {
        "original": picture.original,
        "masked: what the encoder sees": picture.masked,
        "reconstructed (each patch's level is given)": picture.reconstructed,
    }
    grid: Any = figure.subplots(len(names), len(columns), squeeze=False, sharey=True)
    for row, name in enumerate(names):
        frames = int(picture.num_frames[row])
        original = picture.original[row, :, :frames].cpu().numpy()
        low, high = np.percentile(original, [1, 99])
        for axes, (title, images) in zip(grid[row], columns.items(), strict=True):
            axes.set_facecolor("0.8")
            image = axes.imshow(
                images[row, :, :frames].cpu().numpy(),
                origin="lower",
                aspect="auto",
                vmin=low,
                vmax=high,
                cmap="magma",
                extent=(0, frames * hop_seconds, 0, encoder.config.n_mels),
            )
            if row == 0:
                axes.set_title(title, fontsize=10)
            if row == len(names) - 1:
                axes.set_xlabel("seconds")
        grid[row][0].set_ylabel(f"{name}\nmel band", fontsize=8)
        figure.colorbar(image, ax=grid[row].tolist(), label="normalised log power", pad=0.01)
    figure.savefig(path, dpi=130)


def draw_map(
    plane: npt.NDArray[np.float32], labels: Sequence[str | None], title: str, path: Path
) -> None:
    """Draws (clips, 2) places coloured by label; clips without one are small and grey."""
    figure = _new_figure(6.4, 5.2)
    if figure is None:
        return
    axes = figure.subplots()
    names = sorted({label for label in labels if label is not None})
    of_clip = np.array([names.index(label) if label is not None else -1 for label in labels])
    unnamed = plane[of_clip < 0]
    axes.scatter(unnamed[:, 0], unnamed[:, 1], s=3, color="0.85")
    colours = _distinct_colours(len(names))
    for number, name in enumerate(names):
        places = plane[of_clip == number]
        mark = "os^vDPX"[number // len(colours) % 7]
        colour = colours[number % len(colours)]
        across, up = places[:, 0], places[:, 1]
        axes.scatter(across, up, s=7, color=colour, marker=mark, linewidths=0, label=name)
    axes.set(title=title, xticks=[], yticks=[])
    columns = 1 if len(names) <= 24 else 2
    axes.legend(
        loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7, ncols=columns, markerscale=1.6
    )
    figure.savefig(path, dpi=150)


def _distinct_colours(count: int) -> list[tuple[float, ...]]:
    from matplotlib import colormaps

    return list(colormaps["tab10" if count <= 10 else "tab20"].colors)  # type: ignore[attr-defined]


def _new_figure(width: float, height: float) -> "Figure | None":
    """An empty figure in inches, without pyplot's global state; None without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no pictures: pip install 'ssl-audio[benchmarks]' brings matplotlib", file=sys.stderr)
        return None
    return Figure(figsize=(width, height), layout="constrained")


def _read_metrics(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

"""Runs the trials of every design; what is there already is not run again."""

import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks.results import slug
from benchmarks.simulation.config import SimulationConfig
from benchmarks.simulation.methods import (
    INTERVALS,
    TESTS,
    bound_difference,
    by_fold,
    draw_weights,
)
from benchmarks.simulation.report import write_report
from benchmarks.simulation.world import Trial, draw_class_means, find_truth, run_trial
from finetune import metrics
from ssl_audio.config import dump_config, load_config
from ssl_audio.errors import ConfigError
from ssl_audio.progress import progress_bar
from ssl_audio.run_record import write_run_record

CHUNK = 100
"""Trials in a file: what a stopped simulation loses at most."""

Numbers = dict[str, float]
Draw = Callable[[np.random.Generator], Numbers]


def run_simulation(config: SimulationConfig, output: Path) -> str:
    """Makes ``output/trials`` and from them the report; a folder that is there is continued.

    Args:
        config: world, designs and numbers of trials.
        output: folder.

    Returns:
        The table, as Markdown.

    Raises:
        ConfigError: the folder is of a simulation with another configuration.
    """
    _claim(config, output)
    total = sum(design.num_trials + config.num_truths for design in config.designs.values())
    trials, truths = {}, {}
    # The matrices are small: a second thread gains nothing.
    with threadpool_limits(1, user_api="blas"), progress_bar(total, "simulate", "trial") as bar:
        for name in config.designs:
            bar.set_postfix_str(name)
            draw_trial, draw_truth = _plan(config, name)
            stem = output / "trials" / slug(name)
            entropy = [config.seed, zlib.crc32(name.encode())]
            truths[name] = _draw_all(
                draw_truth, [*entropy, 0], config.num_truths, Path(f"{stem}__truth"), bar
            )
            trials[name] = _draw_all(
                draw_trial,
                [*entropy, 1],
                config.designs[name].num_trials,
                Path(f"{stem}__trial"),
                bar,
            )
    text = write_report(config, trials, truths, output)
    write_run_record(
        output,
        command="benchmarks simulate",
        config=config,
        seed=config.seed,
        device="cpu",
        choices={"threads": 1},
        data_fingerprint="",
        wall_seconds=sum(
            float(frame["seconds"].sum()) for frame in (*trials.values(), *truths.values())
        ),
        metrics={},
    )
    return text


def _claim(config: SimulationConfig, output: Path) -> None:
    """Writes down what the folder's trials are of; refuses those of something else.

    More trials and further designs only add to what is there.
    """
    path = output / "config.yaml"
    if path.exists() and not _continues(config, load_config(SimulationConfig, path)):
        raise ConfigError(
            f"{output} holds trials of another configuration ({path}): choose another --output or "
            "delete the folder"
        )
    (output / "trials").mkdir(parents=True, exist_ok=True)
    path.write_text(dump_config(config), encoding="utf-8")


def _continues(config: SimulationConfig, there: SimulationConfig) -> bool:
    """Whether what both draw is the same, but for how often."""
    same = {"designs": {}, "num_truths": 1}
    return config.model_copy(update=same) == there.model_copy(update=same) and all(
        design.model_copy(update={"num_trials": 1})
        == there.designs[name].model_copy(update={"num_trials": 1})
        for name, design in config.designs.items()
        if name in there.designs
    )


def _plan(config: SimulationConfig, name: str) -> tuple[Draw, Draw]:
    """What one trial and one training set of a design give, as functions of the draws."""
    world, design = config.world, config.designs[name]
    means = draw_class_means(world, config.seed)

    def draw_trial(rng: np.random.Generator) -> Numbers:
        trial = run_trial(world, design, means, rng)
        return judge(trial, config.num_resamples, rng)

    def draw_truth(rng: np.random.Generator) -> Numbers:
        uars = find_truth(world, design, means, config.truth_speakers, rng)
        return {f"uar {system}": float(uar) for system, uar in enumerate(uars)}

    return draw_trial, draw_truth


def judge(trial: Trial, num_resamples: int, rng: np.random.Generator) -> Numbers:
    """What every interval and test says of one trial."""
    weights = draw_weights(trial.confusion.shape[1], num_resamples, rng)
    own = trial.confusion[0]
    fold_uars = metrics.uar(by_fold(own, trial.folds))
    numbers = {
        "uar": float(metrics.uar(own.sum(axis=0))),
        "speaker sd": float(np.std(metrics.uar(own), ddof=1)),
        "fold sd": float(np.std(fold_uars, ddof=1)) if len(fold_uars) > 1 else float("nan"),
    }
    for name, interval in INTERVALS.items():
        numbers[f"low {name}"], numbers[f"high {name}"] = interval(own, trial.folds, weights)
    numbers["low difference"], numbers["high difference"] = bound_difference(trial, 2)
    for name, test in TESTS.items():
        numbers[f"equal {name}"] = test(trial, 1, weights)
        numbers[f"weaker {name}"] = test(trial, 2, weights)
    return numbers


def _draw_all(
    draw: Draw, entropy: list[int], total: int, stem: Path, bar: "tqdm[None]"
) -> pd.DataFrame:
    """Rows of one kind; each is a function of ``entropy`` and its own number alone."""
    chunks = []
    for start in range(0, total, CHUNK):
        numbers = range(start, min(start + CHUNK, total))
        path = stem.with_name(f"{stem.name}{start}.parquet")
        if path.exists() and len(there := pd.read_parquet(path)) == len(numbers):
            chunks.append(there)
            bar.update(len(numbers))
            continue
        rows = []
        for number in numbers:
            begin = time.perf_counter()
            row = draw(np.random.default_rng([*entropy, number]))
            rows.append({**row, "seconds": time.perf_counter() - begin})
            bar.update()
        chunk = pd.DataFrame(rows)
        # Aside and renamed, so that a file that is there is whole.
        aside = path.with_name(f".{path.name}.partial")
        chunk.to_parquet(aside)
        aside.replace(path)
        chunks.append(chunk)
    return pd.concat(chunks, ignore_index=True)

"""What a recipe of a benchmark asks for: rows, folds and seeds as a list of runs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from benchmarks.results import list_rows, refuse_taken_names
from benchmarks.systems import SYSTEMS, find_system
from benchmarks.systems.base import FeatureCache, System
from ssl_audio.config import Config, build_config
from ssl_audio.data.folds import Fold, Folds
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.errors import ConfigError, DataError, UserError


class RowConfig(Config):
    """One row of the table."""

    system: str = ""
    """A name in ``SYSTEMS``; the row's own name if empty."""
    title: str = ""
    """As printed; the system's title if empty."""
    reduced: str = ""
    """How this is smaller than what the system stands for, e.g. ``12 of 71 epochs``; the row's
    name then says ``reduced``."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """What differs from the system's defaults."""


class BenchmarkConfig(Config):
    """What ``python -m benchmarks run`` does."""

    corpus: tuple[Path, ...] = Field(min_length=1)
    """A prepared corpus, or the two that a protocol learns from and is tested on."""
    folds: str = "ravdess-speech-8/emobox6"
    """A protocol by name (of ``configs/protocols`` or of the corpus), or its file."""
    fold_numbers: tuple[int, ...] = ()
    """Which folds to run; all if empty."""
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = Field((0,), min_length=1)
    """As NumPy and scikit-learn take them."""
    systems: dict[str, RowConfig] = Field(default_factory=dict)
    """Rows by the name that their files get; every system that is installed if none are named."""

    @field_validator("corpus", mode="before")
    @classmethod
    def _accept_one(cls, value: object) -> object:
        return (value,) if isinstance(value, str | Path) else value

    @field_validator("fold_numbers", "seeds")
    @classmethod
    def _name_each_once(cls, numbers: tuple[int, ...]) -> tuple[int, ...]:
        twice = [number for number in numbers if numbers.count(number) > 1]
        if twice:
            raise ValueError(f"{twice[0]} is there twice")
        return numbers


class RunConfig(Config):
    """What decides a run's predictions; a run with another one can't be resumed."""

    row: str
    system: str
    title: str
    reduced: str
    settings: dict[str, Any]
    protocol: str
    fold: int
    seed: int
    data_fingerprint: str
    folds_fingerprint: str


@dataclass(frozen=True)
class Run:
    """One system on one fold with one seed."""

    config: RunConfig
    settings: Config

    @property
    def name(self) -> str:
        """As printed while running."""
        return f"{self.config.row} fold {self.config.fold} seed {self.config.seed}"

    def build(self, classes: tuple[str, ...], cache: FeatureCache) -> System[Any]:
        """The system, not fitted."""
        system_type = find_system(self.config.system)
        return system_type(self.settings, classes, self.config.seed, cache)


def plan_runs(
    config: BenchmarkConfig, corpus: PreparedCorpus, folds: Folds, only: Sequence[str]
) -> list[Run]:
    """Every run asked for, all checked before the first one starts.

    Args:
        config: rows, folds and seeds.
        corpus: prepared.
        folds: of the protocol.
        only: names of rows; all if empty.

    Raises:
        ConfigError: an unknown row, system or setting, two rows with one title, or a row that
            can't run here.
        DataError: a fold that is not there or lacks a part, or a class named as a column.
    """
    systems = choose_rows(config, only)
    if folds.task == "multilabel":
        raise ConfigError(f"{folds.protocol} is multilabel: the systems give a clip one class")
    refuse_taken_names(folds.classes, folds.protocol)
    rows = {name: _resolve(name, row) for name, row in systems.items()}
    _refuse_namesakes({name: title for name, (_, title, _) in rows.items()})
    for name in only or rows:
        system, _, settings = rows[name]
        _refuse_unrunnable(name, system, settings)
    chosen = [folds.fold(number) for number in config.fold_numbers] or folds.folds
    for fold in chosen:
        _refuse_unusable(fold, folds.protocol)
    return [
        Run(
            RunConfig(
                row=name,
                system=system,
                title=title,
                reduced=systems[name].reduced,
                settings=settings.model_dump(mode="json"),
                protocol=folds.protocol,
                fold=fold.number,
                seed=seed,
                data_fingerprint=corpus.fingerprint,
                folds_fingerprint=folds.fingerprint,
            ),
            settings,
        )
        for name, (system, title, settings) in rows.items()
        if not only or name in only
        for seed in config.seeds
        for fold in chosen
    ]


def choose_rows(config: BenchmarkConfig, only: Sequence[str]) -> dict[str, RowConfig]:
    """The recipe's rows; without any, the systems of ``only``, or all that are installed.

    Raises:
        ConfigError: ``only`` names another row.
    """
    known = config.systems or SYSTEMS
    if unknown := sorted(set(only) - set(known)):
        raise ConfigError(f"--only {unknown[0]}: the rows are {', '.join(known)}")
    if config.systems:
        return config.systems
    return {name: RowConfig() for name in only or SYSTEMS if only or _runs_here(name)}


def refuse_taken_titles(runs: Sequence[Run], output: Path) -> None:
    """Refuses rows whose title another row has in a results folder: in a table they would be one.

    Args:
        runs: from ``plan_runs``.
        output: results folder, which need not be there.

    Raises:
        ConfigError: such a row.
    """
    titles = {run.config.title: run.config for run in runs}
    for protocol in {run.config.protocol for run in runs}:
        for name, (path, title) in list_rows(output, protocol).items():
            here = titles.get(title)
            if here is not None and here.row != name:
                raise ConfigError(
                    f"row {here.row} is called {title!r}, and so is the one of {path}: give it "
                    f"another title with systems.{here.row}.title, or choose another --output"
                )


def _resolve(name: str, row: RowConfig) -> tuple[str, str, Config]:
    """System, title and settings of a row."""
    if not re.fullmatch(r"[\w-]+", name):
        raise ConfigError(f"row {name!r} names files: use letters, digits, - and _ only")
    system = row.system or name
    if system not in SYSTEMS:
        raise ConfigError(f"unknown system {system!r}: choose one of {', '.join(SYSTEMS)}")
    system_type = find_system(system)
    try:
        settings = build_config(system_type.settings_type, row.settings)
    except ConfigError as error:
        raise ConfigError(f"systems.{name}.settings: {error}") from None
    title = (row.title or system_type.title) + system_type.suffix(settings)
    return system, title + (", reduced" if row.reduced else ""), settings


def _runs_here(system: str) -> bool:
    """Whether a system's defaults find all they need, such as an optional package."""
    system_type = find_system(system)
    try:
        system_type.check(system_type.settings_type())
    except UserError:
        return False
    return True


def _refuse_unrunnable(name: str, system: str, settings: Config) -> None:
    try:
        find_system(system).check(settings)
    except UserError as error:
        raise ConfigError(f"systems.{name}: {error}") from None


def _refuse_namesakes(titles: dict[str, str]) -> None:
    first: dict[str, str] = {}
    for name, title in titles.items():
        if first.setdefault(title, name) != name:
            raise ConfigError(
                f"rows {first[title]} and {name} are both called {title!r}: "
                f"give one another title with systems.{name}.title"
            )


def _refuse_unusable(fold: Fold, protocol: str) -> None:
    for part in ("train", "validation", "test"):
        if not getattr(fold, part):
            raise DataError(f"{protocol} fold {fold.number} has no {part} clips")

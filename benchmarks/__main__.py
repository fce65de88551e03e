"""``python -m benchmarks``: parse, then import what the command needs."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.throughput.commands import app as throughput
from ssl_audio import cli

app = cli.build_app("Compare systems on the same folds, and make the table of a paper.")
app.add_typer(throughput, name="throughput")

ResultsOption = Annotated[Path, typer.Option("--results", help="Results folder.")]


@app.command()
def run(
    output: cli.OptionalOutputOption = None,
    config: cli.ConfigOption = None,
    overrides: cli.SetOption = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="SYSTEM", help="Only this row (repeatable)."),
    ] = None,
    folds: Annotated[
        str | None, typer.Option("--folds", metavar="1,2", help="Only these folds.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="0,1", help="These seeds.")
    ] = None,
    device: cli.DeviceOption = None,
    print_config: cli.PrintConfigOption = False,
) -> None:
    """Fit systems and store their test predictions; runs that are there already are skipped."""
    cli.use_device(device)
    from benchmarks.protocol import run_benchmark
    from benchmarks.runs import BenchmarkConfig

    items = list(overrides or [])
    items += [f"fold_numbers=[{folds}]"] if folds is not None else []
    items += [f"seeds=[{seeds}]"] if seeds is not None else []
    resolved = cli.resolve(BenchmarkConfig, config, items, print_config)
    results = cli.needed(output)
    run_benchmark(resolved, results, only or [])
    typer.echo(f"next: python -m benchmarks tables --results {results}")


@app.command()
def tables(results: ResultsOption) -> None:
    """Compute every number from the predictions: CSV, Markdown, LaTeX, HTML and figures."""
    from benchmarks.tables import build_tables

    typer.echo(build_tables(results))
    typer.echo(
        f"also written below {results}: results.csv, comparisons.csv, folds.csv, table.md (with "
        "published figures where there are any), table.tex, table.html, figures/"
    )


@app.command("import")
def import_(
    predictions: Annotated[
        Path,
        typer.Argument(
            help="CSV with clip_id, speaker, fold, seed, label and one column for each class, "
            "or a predictions.parquet of finetune."
        ),
    ],
    system: Annotated[str, typer.Option("--system", help="The row's name in the table.")],
    results: ResultsOption,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="What a CSV was tested by (its full name).")
    ] = None,
    folds: Annotated[
        Path | None,
        typer.Option(
            "--folds",
            help="The protocol's file (YAML) or its folds (CSV), to check the tests by; default: "
            "its own of configs/protocols, or those of --corpus.",
        ),
    ] = None,
    corpus: Annotated[
        list[Path] | None,
        typer.Option(
            "--corpus",
            help="Prepared corpus: checks labels, speakers, audio, folds (repeat it for a protocol "
            "of two).",
        ),
    ] = None,
    train_clips: Annotated[
        Path | None,
        typer.Option(
            "--train-clips",
            help="What the system learnt from, to audit it: CSV with fold and clip_id, or the "
            "training.parquet of finetune.",
        ),
    ] = None,
    pretraining_data: Annotated[
        str, typer.Option(help="Declared: what it was pretrained on, without labels.")
    ] = "",
    parameters: Annotated[
        int | None, typer.Option(min=0, help="Declared: its number of weights.")
    ] = None,
    train_seconds: Annotated[
        float | None, typer.Option(min=0, help="Declared: training for one fold and seed.")
    ] = None,
    contaminated: Annotated[
        str, typer.Option(help="Declared: how labels of the test reached its weights.")
    ] = "",
    reduced: Annotated[
        str, typer.Option(help="Declared: how it is smaller than what its name stands for.")
    ] = "",
) -> None:
    """Put predictions that something else made into the table: intervals, tests, leak verdict."""
    from benchmarks.importing import Declared, import_predictions

    imported = import_predictions(
        predictions,
        system,
        protocol,
        results,
        folds=folds,
        corpora=corpus or (),
        train_clips=train_clips,
        declared=Declared(
            pretraining_data=pretraining_data,
            parameters=parameters,
            train_seconds=train_seconds,
            contaminated=contaminated,
            reduced=reduced,
        ),
    )
    typer.echo(f"{system}: {len(imported.files)} file(s) in {results / 'predictions'}")
    typer.echo(imported.verdict.describe())
    typer.echo(f"LaTeX row: {imported.latex_row}")
    for note in imported.notes:
        typer.echo(f"  {note}")
    typer.echo(f"next: python -m benchmarks tables --results {results}")


@app.command()
def plan(
    difference: Annotated[
        float, typer.Option("--difference", help="Points of UAR that are to be seen.")
    ],
    results: Annotated[
        Path | None,
        typer.Option("--results", help="Measure the SDs here, on --first and --second."),
    ] = None,
    first: Annotated[str | None, typer.Option("--first", help="A row of --results.")] = None,
    second: Annotated[str | None, typer.Option("--second", help="Another one.")] = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="Of both rows, if they ran under several.")
    ] = None,
    speaker_sd: Annotated[
        float | None,
        typer.Option(
            "--speaker-sd",
            help="SD over speakers of the difference, each one's mean over many seeds, in points.",
        ),
    ] = None,
    seed_sd: Annotated[
        float | None,
        typer.Option(
            "--seed-sd",
            help="SD over seeds of the difference pooled over many speakers: what a seed does to "
            "all of them, in points; else 0.",
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds", min=2, help="Of the evaluation; default: of --results, or one a speaker."
        ),
    ] = None,
    power: Annotated[float, typer.Option("--power", help="Chance of seeing it.")] = 0.8,
    alpha: Annotated[float, typer.Option("--alpha", help="Chance of a false alarm.")] = 0.05,
    comparisons: Annotated[
        int, typer.Option("--comparisons", min=1, help="Pairs of the table that share --alpha.")
    ] = 1,
    json: Annotated[Path | None, typer.Option("--json", help="Also write it here.")] = None,
) -> None:
    """Speakers and seeds that a difference needs, from two rows or two standard deviations."""
    from benchmarks import planning

    spread, folds_there = planning.choose_spread(
        results, first, second, protocol, speaker_sd, seed_sd
    )
    aim = planning.Aim(difference / 100, power, alpha, comparisons, folds or folds_there)
    made = planning.make_plan(spread, aim)
    if json is not None:
        planning.write_plan(made, json)
    typer.echo(planning.describe_plan(made))


@app.command()
def simulate(
    output: cli.OptionalOutputOption = None,
    config: cli.ConfigOption = None,
    overrides: cli.SetOption = None,
    print_config: cli.PrintConfigOption = False,
) -> None:
    """Do intervals cover, do tests keep their size? Refits classifiers on known worlds."""
    from benchmarks.simulation.config import SimulationConfig
    from benchmarks.simulation.running import run_simulation

    resolved = cli.resolve(SimulationConfig, config, overrides, print_config)
    typer.echo(run_simulation(resolved, cli.needed(output)))


@app.command()
def curves(
    output: cli.OptionalOutputOption = None,
    config: cli.ConfigOption = None,
    overrides: cli.SetOption = None,
    print_config: cli.PrintConfigOption = False,
) -> None:
    """How much pretraining runs have taught by when: probes on development protocols."""
    from benchmarks.curves.config import CurvesConfig
    from benchmarks.curves.reading import read_curves

    resolved = cli.resolve(CurvesConfig, config, overrides, print_config)
    typer.echo(read_curves(resolved, cli.needed(output)))


@app.command()
def gate(
    output: cli.OptionalOutputOption = None,
    config: cli.ConfigOption = None,
    overrides: cli.SetOption = None,
    print_config: cli.PrintConfigOption = False,
) -> None:
    """Does the leak gate find what is put into clean splits? Recall, false alarms and cost."""
    from benchmarks.gate.config import GateConfig
    from benchmarks.gate.running import run_gate

    resolved = cli.resolve(GateConfig, config, overrides, print_config)
    typer.echo(run_gate(resolved, cli.needed(output)))


@app.command()
def collapse(
    output: cli.OptionalOutputOption = None,
    config: cli.ConfigOption = None,
    overrides: cli.SetOption = None,
    print_config: cli.PrintConfigOption = False,
) -> None:
    """Does the watch on collapse stop runs that are lost, with the right level, and no others?"""
    from benchmarks.collapse.config import CollapseConfig
    from benchmarks.collapse.running import run_collapse

    resolved = cli.resolve(CollapseConfig, config, overrides, print_config)
    typer.echo(run_collapse(resolved, cli.needed(output)))


if __name__ == "__main__":
    cli.run(app, "benchmarks")

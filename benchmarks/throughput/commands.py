"""``python -m benchmarks throughput``: parse, then import what the mode needs."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from ssl_audio import cli

app = cli.build_app("Speed and memory, beside the least that the work can cost.")

JsonOption = Annotated[Path | None, typer.Option("--json", help="Also write every figure here.")]


@app.command()
def data(
    corpus: Annotated[
        Path | None,
        typer.Option("--corpus", help="A prepared one; default: synthetic speech of --hours."),
    ] = None,
    hours: Annotated[float, typer.Option("--hours", min=0.1, help="Of the default corpus.")] = 10,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Crops.")] = 64,
    crop_seconds: Annotated[float, typer.Option("--crop-seconds", min=0.1)] = 3,
    round_seconds: Annotated[
        float, typer.Option("--round-seconds", help="Processor seconds of each of six rounds.")
    ] = 1,
    json: JsonOption = None,
) -> None:
    """Random crops from memory-mapped shards, beside memcpy, datasets and decoding FLAC."""
    from benchmarks.throughput.crops import measure_crops, write_long_corpus
    from ssl_audio.data.prepared import PreparedCorpus

    with TemporaryDirectory() as folder:
        opened = (
            PreparedCorpus.load(corpus)
            if corpus is not None
            else write_long_corpus(Path(folder) / "generated", hours)
        )
        report = measure_crops(opened, batch_size, crop_seconds, round_seconds)
    if json is not None:
        report.save(json)
    typer.echo(report.describe())


@app.command()
def pretrain(
    corpus: Annotated[
        Path | None,
        typer.Option("--corpus", help="A prepared one; default: synthetic speech of an hour."),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=2, help="Clips.")] = 32,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="One more warms up.")] = 5,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0, help="Of training each system a round.")
    ] = 4,
    json: JsonOption = None,
) -> None:
    """Training steps of ours beside ViTMAE and wav2vec 2.0 of the same width and depth.

    On a GPU, if there is one, with encoders of size base and clips of 10 s; else with tiny ones.
    """
    import torch

    from benchmarks.throughput.crops import write_long_corpus
    from benchmarks.throughput.pretraining import measure_pretraining
    from ssl_audio.data.prepared import PreparedCorpus

    with TemporaryDirectory() as folder:
        opened = (
            PreparedCorpus.load(corpus)
            if corpus is not None
            else write_long_corpus(Path(folder) / "generated", 1)
        )
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        report = measure_pretraining(opened, batch_size, rounds, seconds, device)
    if json is not None:
        report.save(json)
    typer.echo(report.describe())


@app.command()
def predict(
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="Of audio files; default: files of synthetic speech."),
    ] = None,
    files: Annotated[int, typer.Option("--files", min=1, help="Taken evenly from it.")] = 200,
    sizes: Annotated[
        list[str] | None,
        typer.Option("--size", help="Of the encoder; repeat it for several [default: tiny small]."),
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="One more warms up.")] = 3,
    json: JsonOption = None,
) -> None:
    """From files on disk to answers, beside a loop with librosa and transformers' pipeline."""
    from benchmarks.throughput.predicting import measure_predicting

    report = measure_predicting(folder, files, sizes or ["tiny", "small"], rounds)
    if json is not None:
        report.save(json)
    typer.echo(report.describe())


@app.command()
def cost(
    output: Annotated[Path, typer.Option("--output", help="For cost.csv and cost.png.")],
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="One more warms up.")] = 5,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0, help="Of training each point a round.")
    ] = 2,
) -> None:
    """A training step of ours against clips, tokens of a clip, and weights; with a picture."""
    from benchmarks.throughput.cost import draw_cost, list_settings, measure_cost
    from benchmarks.throughput.crops import write_long_corpus

    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        corpus = write_long_corpus(Path(folder) / "generated", 1)
        table = measure_cost(corpus, rounds, seconds, list(list_settings()))
    table.to_csv(output / "cost.csv", index=False, float_format="%.6g", lineterminator="\n")
    draw_cost(table, output / "cost.png")
    typer.echo(table.round(3).to_string(index=False))


@app.command()
def prepare(
    folder: Annotated[
        Path, typer.Option("--folder", help="Where there is room; emptied again afterwards.")
    ],
    files: Annotated[int, typer.Option("--files", min=1, help="Long recordings.")] = 200,
    minutes: Annotated[float, typer.Option("--minutes", min=1, help="Of each.")] = 60,
    limit: Annotated[
        float, typer.Option("--limit", help="GB of memory; exit 1 if more are resident.")
    ] = 1.5,
    json: JsonOption = None,
) -> None:
    """Prepare long recordings (mp3 and FLAC) and watch the memory of all processes."""
    from benchmarks.throughput.preparing import measure_preparing

    report = measure_preparing(folder, files, minutes, num_cores=len(os.sched_getaffinity(0)))
    if json is not None:
        report.save(json)
    typer.echo(report.describe())
    watched = report.watched
    if max(watched.peak_resident_bytes, watched.high_water_bytes) > limit * 1e9:
        raise typer.Exit(1)

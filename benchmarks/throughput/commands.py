"""``python -m benchmarks throughput``: parse, then import what the mode needs."""

import os
from pathlib import Path
from typing import Annotated

import typer

from ssl_audio import cli

app = cli.build_app("Speed and memory, beside the least that the work can cost.")

JsonOption = Annotated[Path | None, typer.Option("--json", help="Also write every figure here.")]


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
    if report.watched.peak_resident_bytes > limit * 1e9:
        raise typer.Exit(1)

"""``python -m ssl_audio``: parse, then import what the command needs."""

from pathlib import Path
from typing import Annotated

import typer

from ssl_audio import cli

app = cli.build_app("Pretrain audio encoders without labels.")


MapOption = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="FIELD=COLUMN", help="Which column of a table holds what."),
]


@app.command()
def quickstart(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="A corpus's folder, class-per-folder tree or table; default: a synthetic corpus.",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=1, help="Budget on 2 cores; default 8, synthetic corpus 3."),
    ] = None,
    output: cli.OutputOption = Path("runs/quickstart"),
    mapping: MapOption = None,
) -> None:
    """The whole path on your audio: prepare, audit, pretrain, fine-tune, compare, table."""
    from ssl_audio.data.prepare import parse_columns
    from ssl_audio.quickstart import quickstart

    quickstart(data, minutes, output, parse_columns(mapping or []))


@app.command()
def download(
    corpus: Annotated[str, typer.Argument(help="What to fetch: ravdess.")],
    output: cli.OutputOption,
    server: Annotated[
        str, typer.Option("--server", help="Where the published record is.")
    ] = "https://zenodo.org/",
) -> None:
    """Fetch a published corpus; goes on where it stopped, and checks every file's MD5."""
    from ssl_audio.download import download as fetch

    for path in fetch(corpus, output, server):
        typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB, whole")
    typer.echo(f"next: python -m ssl_audio prepare {corpus} {output} --output DIR")


@app.command()
def prepare(
    corpus: Annotated[
        str,
        typer.Argument(
            help="Its reader: ravdess, hackerearth, emodb, folder, csv, hf, synthetic, joined."
        ),
    ],
    output: cli.OutputOption,
    source: Annotated[
        Path | None, typer.Argument(help="Folder, zip, table or dataset; synthetic needs none.")
    ] = None,
    mapping: MapOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail if anything has to be set aside.")
    ] = False,
) -> None:
    """Decode a corpus once, to 16 kHz mono int16, with its manifest, folds and a page about it.

    After an interruption the same command goes on where it was. Recordings over 30 s are cut.
    """
    from ssl_audio.data import prepare as preparing

    columns = preparing.parse_columns(mapping or [])
    typer.echo(preparing.describe(preparing.prepare(corpus, source, output, columns, strict)))


@app.command()
def audit(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="PREPARED_OR_MANIFEST",
            help="A prepared corpus, a manifest, a table of audio files or a folder of audio.",
        ),
    ],
    train: Annotated[Path | None, typer.Option("--train", help="List of training clips.")] = None,
    validation: Annotated[
        Path | None, typer.Option("--validation", help="List of validation clips.")
    ] = None,
    test: Annotated[Path | None, typer.Option("--test", help="List of test clips.")] = None,
    folds: Annotated[
        Path | None,
        typer.Option(
            "--folds",
            help="Folds: a table, JSON or a folder of lists; default: all that the corpus brings.",
        ),
    ] = None,
    mapping: MapOption = None,
    features: Annotated[
        Path | None, typer.Option("--features", help="Table of features, one row per clip or more.")
    ] = None,
    pretraining: Annotated[
        Path | None,
        typer.Option("--pretraining", help="What pretraining saw: a corpus, a manifest or audio."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="Folder of a run, whose record is looked at.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", help="Also write every finding to this file.")
    ] = None,
) -> None:
    """Look for leaks between training, validation and test; exit 1 if there is one."""
    from ssl_audio.audit import format_report, has_leak, write_json
    from ssl_audio.audit.command import Request, audit
    from ssl_audio.data.prepare import parse_columns

    request = Request(
        source=source,
        train=train,
        validation=validation,
        test=test,
        folds=folds,
        columns=parse_columns(mapping or []),
        features=features,
        pretraining=pretraining,
        run=run,
    )
    audited = audit(request)
    if json is not None:
        write_json(audited.findings, json)
    typer.echo(format_report(audited))
    if has_leak(audited.findings):
        raise typer.Exit(1)


@app.command()
def embed(
    encoder: Annotated[Path, typer.Option("--encoder", help="Folder of a pretrained encoder.")],
    source: Annotated[
        Path, typer.Option("--input", help="A prepared corpus or a folder of audio.")
    ],
    output: Annotated[Path, typer.Option("--output", help="Parquet file to write.")],
) -> None:
    """One vector per clip as a parquet table, with maps by emotion, gender and speaker."""
    from ssl_audio.embed import embed as embed_source

    for path in embed_source(encoder, source, output):
        typer.echo(path)


@app.command()
def pretrain(
    output: cli.OptionalOutputOption = None,
    config: cli.ConfigOption = None,
    overrides: cli.SetOption = None,
    resume: cli.ResumeOption = False,
    print_config: cli.PrintConfigOption = False,
) -> None:
    """Pretrain an encoder without labels. Also under torchrun and accelerate launch."""
    from ssl_audio.pretrain import PretrainConfig, pretrain

    resolved = cli.resolve(PretrainConfig, config, overrides, print_config)
    pretrain(resolved, cli.needed(output), resume)


if __name__ == "__main__":
    cli.run(app, "ssl_audio")

"""``python -m finetune``: parse, then import what the command needs."""

from pathlib import Path
from typing import Annotated

import typer

from ssl_audio import cli

app = cli.build_app("Fine-tune an encoder on emotion labels, evaluate it, predict with it.")

ModelOption = Annotated[Path, typer.Option("--model", help="Folder that finetune train wrote.")]


@app.command()
def train(
    output: cli.OptionalOutputOption = None,
    config: cli.ConfigOption = None,
    overrides: cli.SetOption = None,
    resume: cli.ResumeOption = False,
    print_config: cli.PrintConfigOption = False,
) -> None:
    """Fine-tune a classifier on one fold. Also under torchrun and accelerate launch."""
    from finetune.config import FinetuneConfig
    from finetune.train import finetune

    resolved = cli.resolve(FinetuneConfig, config, overrides, print_config)
    finetune(resolved, cli.needed(output), resume)


@app.command()
def evaluate(
    model: ModelOption,
    prepared: Annotated[Path, typer.Option("--input", help="Prepared corpus.")],
    fold: Annotated[
        int | None,
        typer.Option("--fold", help="Only this fold's test clips, of the protocol it learnt by."),
    ] = None,
    utterances: Annotated[
        Path | None,
        typer.Option(
            "--utterances",
            help="Prepared corpus that joined clips were made from: scores what is heard when.",
        ),
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Also write every figure here.")
    ] = None,
) -> None:
    """Score a model on labelled clips."""
    from finetune.evaluate import evaluate

    evaluate(model, prepared, fold, utterances, json_path)


@app.command()
def predict(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Audio files, folders of them, or a CSV list with a column filename."),
    ],
    models: Annotated[
        list[Path],
        typer.Option(
            "--model",
            help="Folder that finetune train wrote; repeat it for several models.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", help="CSV file to write.")],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="table|submission|timeline",
            help="table: emotion and probabilities of each file; submission: filename and emotion; "
            "timeline: segments with start and end in seconds.",
        ),
    ] = "table",
    combination: Annotated[
        str,
        typer.Option(
            "--combine",
            metavar="mean|mode|weighted",
            help="Of several models: the mean of their probabilities, their votes, or a mean "
            "weighted on their validation clips.",
        ),
    ] = "mean",
) -> None:
    """Predict the emotion of audio files; after an interruption the same command goes on."""
    from finetune.predict import predict

    predict(inputs, models, output, form, combination)


if __name__ == "__main__":
    cli.run(app, "finetune")

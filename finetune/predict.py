"""Predictions for audio files: a CSV table, one row per file."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from finetune.evaluate import load_classifier
from ssl_audio.data.audio import AUDIO_ENDINGS, decode
from ssl_audio.errors import DataError, UserError
from ssl_audio.objectives.base import to_float
from ssl_audio.progress import progress_bar


@torch.no_grad()
def predict(inputs: Sequence[Path], model: Path, output: Path) -> None:
    """Writes columns file, emotion, one probability per class, error; files stream one by one.

    A file that can't be read has its reason in ``error`` and nothing else.

    Raises:
        UserError: no model, no such file or folder, or no audio file in the folders.
    """
    files = list(_find(inputs))
    if not files:
        raise UserError(f"no audio files in {', '.join(map(str, inputs))}")
    classifier = load_classifier(model)
    device = next(classifier.parameters()).device
    classes = list(classifier.config.classes)
    num_bad = 0
    with output.open("w", newline="", encoding="utf-8") as table:
        writer = csv.writer(table)
        writer.writerow(["file", "emotion", *classes, "error"])
        with progress_bar(len(files), "predict", "file") as bar:
            for file in files:
                try:
                    samples = torch.from_numpy(decode(file.read_bytes()).samples)
                    row = classifier.probabilities(to_float(samples[None].to(device)))[0]
                    best = classes[int(row.argmax())]
                    writer.writerow([file, best, *(f"{p:.6f}" for p in row.tolist()), ""])
                except (DataError, OSError) as error:
                    num_bad += 1
                    writer.writerow([file, "", *[""] * len(classes), str(error)])
                bar.update()
    print(f"{len(files) - num_bad} of {len(files)} files predicted: {output}")
    if num_bad == len(files):
        raise UserError(f"none of {len(files)} files could be read; {output} says why")


def _find(inputs: Sequence[Path]) -> Iterator[Path]:
    for path in inputs:
        if path.is_dir():
            yield from (p for p in sorted(path.rglob("*")) if p.suffix.lower() in AUDIO_ENDINGS)
        elif path.is_file():
            yield path
        else:
            raise UserError(f"{path}: no such file or folder")

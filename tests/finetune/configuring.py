"""Configurations of quick runs."""

from pathlib import Path

from finetune.config import FinetuneConfig
from ssl_audio.config import load_config

PROTOCOL = "synthetic-3/speakers6"
CLASSES = ("neutral", "happy", "angry")
FAST = ["train.precision=float32", "train.attention=eager", "data.crop_seconds=1.0"]


def configure(prepared: Path, *more: str) -> FinetuneConfig:
    data = [f"data.corpus={prepared}", f"data.folds={PROTOCOL}"]
    steps = ["train.max_steps=6", "train.batch_size=8", "train.warmup_steps=1"]
    rest = ["evaluate_every=2", "train.save_every=2", "train.log_every=2"]
    return load_config(FinetuneConfig, None, [*data, *FAST, *steps, *rest, *more])

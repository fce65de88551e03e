"""Labels, heads, supervised training, evaluation and prediction on top of an encoder.

Names below are imported when they are first used, so ``import finetune`` costs nothing.
"""

from importlib import import_module
from typing import Any

_WHERE = {
    "AudioClassifier": "model",
    "AudioClassifierConfig": "model",
    "Predictions": "predictions",
    "Provenance": "predictions",
}
__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"finetune.{_WHERE[name]}"), name)
    raise AttributeError(f"module finetune has no attribute {name}")

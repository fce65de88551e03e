"""Self-supervised audio encoders for emotion in voices.

Names below are imported when they are first used, so ``import ssl_audio`` costs nothing.
"""

from importlib import import_module
from typing import Any

_WHERE = {
    "AudioEncoder": "encoder",
    "AudioEncoderConfig": "encoder_config",
    "AudioEncoderFeatureExtractor": "encoder",
    "Clip": "data.manifest",
    "Folds": "data.folds",
    "LogMel": "features",
    "PreparedCorpus": "data.prepared",
}
__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"ssl_audio.{_WHERE[name]}"), name)
    raise AttributeError(f"module ssl_audio has no attribute {name}")

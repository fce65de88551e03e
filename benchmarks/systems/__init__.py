"""Every system that a recipe can name, imported when a row needs it."""

from pkgutil import resolve_name
from typing import Any

from benchmarks.systems.base import System

SYSTEMS = {
    "chance": "benchmarks.systems.chance:Chance",
    "majority": "benchmarks.systems.majority:Majority",
    "permuted_labels": "benchmarks.systems.permuted_labels:PermutedLabels",
    "logmel_statistics": "benchmarks.systems.logmel_statistics:LogMelLogistic",
    "mfcc_statistics": "benchmarks.systems.mfcc_statistics:MfccLogistic",
    "mfcc_svm": "benchmarks.systems.mfcc_statistics:MfccSvm",
    "mfcc_random_forest": "benchmarks.systems.mfcc_statistics:MfccRandomForest",
    "egemaps": "benchmarks.systems.egemaps:EgemapsLogistic",
    "egemaps_svm": "benchmarks.systems.egemaps:EgemapsSvm",
    "mfcc_xgboost": "benchmarks.systems.mfcc_xgboost:MfccXgboost",
    "efficientnet": "benchmarks.systems.efficientnet:EfficientNet",
    "wav2vec2": "benchmarks.systems.wav2vec2:FrozenSpeechEncoder",
    "wav2vec2_tuned": "benchmarks.systems.tuned_speech_encoder:TunedSpeechEncoder",
    "ours": "benchmarks.systems.ours:Ours",
    "ensemble": "benchmarks.systems.ensemble:SystemEnsemble",
}
"""Class by name; torch and transformers are not loaded for a row that needs neither."""


def find_system(name: str) -> type[System[Any]]:
    """The class behind a name of ``SYSTEMS``."""
    system_type: type[System[Any]] = resolve_name(SYSTEMS[name])
    return system_type

"""Every system that a recipe can name."""

from typing import Any

from benchmarks.systems.base import System
from benchmarks.systems.chance import Chance
from benchmarks.systems.efficientnet import EfficientNet
from benchmarks.systems.egemaps import EgemapsLogistic, EgemapsSvm
from benchmarks.systems.logmel_statistics import LogMelLogistic
from benchmarks.systems.majority import Majority
from benchmarks.systems.mfcc_statistics import MfccLogistic, MfccRandomForest, MfccSvm
from benchmarks.systems.mfcc_xgboost import MfccXgboost
from benchmarks.systems.ours import Ours
from benchmarks.systems.permuted_labels import PermutedLabels
from benchmarks.systems.wav2vec2 import FrozenSpeechEncoder

SYSTEMS: dict[str, type[System[Any]]] = {
    "chance": Chance,
    "majority": Majority,
    "permuted_labels": PermutedLabels,
    "logmel_statistics": LogMelLogistic,
    "mfcc_statistics": MfccLogistic,
    "mfcc_svm": MfccSvm,
    "mfcc_random_forest": MfccRandomForest,
    "egemaps": EgemapsLogistic,
    "egemaps_svm": EgemapsSvm,
    "mfcc_xgboost": MfccXgboost,
    "efficientnet": EfficientNet,
    "wav2vec2": FrozenSpeechEncoder,
    "ours": Ours,
}

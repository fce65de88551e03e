"""Every system that a recipe can name."""

from typing import Any

from benchmarks.systems.base import System
from benchmarks.systems.chance import Chance
from benchmarks.systems.logmel_statistics import LogMelStatistics
from benchmarks.systems.majority import Majority
from benchmarks.systems.mfcc_statistics import MfccStatistics
from benchmarks.systems.mfcc_xgboost import MfccXgboost
from benchmarks.systems.ours import Ours
from benchmarks.systems.permuted_labels import PermutedLabels

SYSTEMS: dict[str, type[System[Any]]] = {
    "chance": Chance,
    "majority": Majority,
    "permuted_labels": PermutedLabels,
    "logmel_statistics": LogMelStatistics,
    "mfcc_statistics": MfccStatistics,
    "mfcc_xgboost": MfccXgboost,
    "ours": Ours,
}

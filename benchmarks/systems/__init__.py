"""Every system that a recipe can name."""

from typing import Any

from benchmarks.systems.base import System
from benchmarks.systems.chance import Chance
from benchmarks.systems.logmel_statistics import LogMelStatistics
from benchmarks.systems.majority import Majority
from benchmarks.systems.mfcc_xgboost import MfccXgboost

SYSTEMS: dict[str, type[System[Any]]] = {
    "chance": Chance,
    "majority": Majority,
    "logmel_statistics": LogMelStatistics,
    "mfcc_xgboost": MfccXgboost,
}

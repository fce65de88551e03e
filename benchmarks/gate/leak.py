"""One leak: its kind, its strength, how it is put in, and the same done rightly."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.gate.material import Material
from ssl_audio.audit.report import Severity

Inject = Callable[[Material, np.random.Generator], Material]
"""The material with a leak in it."""


@dataclass(frozen=True)
class Leak:
    """One kind at one strength."""

    kind: str
    severity: Severity
    strength: str
    inject: Inject
    clean: Inject
    """The same done as it should be: the gate must not find this kind."""


def as_it_is(material: Material, rng: np.random.Generator) -> Material:
    """Nothing done."""
    return material

"""Which data, folds, code and weights the rows of a table come from, and whether they agree."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence

from benchmarks.scoring import Row
from finetune.predictions import Provenance

UNKNOWN = "unknown"
_DIGITS = 12
"""Of a hash that are printed."""

_FACTS: dict[str, Callable[[Provenance], str]] = {
    "data": lambda about: about.data or UNKNOWN,
    "split": lambda about: about.split or UNKNOWN,
    "code": lambda about: about.code or UNKNOWN,
    "weights": lambda about: about.weights or ("none" if about.data else UNKNOWN),
}
"""Empty weights are none at all only where the run said what it was."""


def describe_provenance(rows: Sequence[Row]) -> str:
    """One line for below a table; what the most rows share is said without their names."""
    facts = []
    for name in _FACTS:
        groups = sorted(_group(rows, name).items(), key=lambda item: -len(item[1]))
        most, systems = groups[0]
        shared = [most] if len(systems) > 1 or len(rows) == 1 else []
        rest = [f"{text} for {', '.join(names)}" for text, names in groups[len(shared) :]]
        facts.append(f"{name} {', but '.join([*shared, *filter(None, [', '.join(rest)])])}")
    return f"Provenance: {'; '.join(facts)}."


def find_mixtures(rows: Sequence[Row]) -> tuple[str, ...]:
    """Warnings: rows of one table with other data or folds, and a row of several pretrainings.

    A pool with ``train`` in it is another one in each fold, and so are its weights.
    """
    warnings = [
        f"The runs of {row.about.system} did not start from the same weights: {row.about.weights}."
        for row in rows
        if "; " in row.about.weights and not row.about.pretraining_data.endswith("+train")
    ]
    for name, meaning in (("data", "labelled clips"), ("split", "folds")):
        groups = _group(rows, name)
        groups.pop(UNKNOWN, None)
        if len({part for text in groups for part in text.split("; ")}) > 1:
            each = (f"{text} for {', '.join(systems)}" for text, systems in groups.items())
            warnings.append(
                f"These rows were not made with the same {meaning}: {name} {' and '.join(each)}."
            )
    return tuple(warnings)


def _group(rows: Sequence[Row], fact: str) -> dict[str, list[str]]:
    """Names of the rows by what they say of a fact, hashes shortened."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        groups[shorten_hashes(_FACTS[fact](row.about))].append(row.about.system)
    return dict(groups)


def shorten_hashes(text: str) -> str:
    """Hexadecimal hashes cut to their first digits, all else as it was."""
    return re.sub(rf"\b([0-9a-f]{{{_DIGITS}}})[0-9a-f]+\b", r"\1", text)

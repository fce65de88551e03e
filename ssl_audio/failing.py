"""When a stage of a model has failed: thresholds, on what a watch measured.

They were set on seeded failures and healthy runs of small encoders, and tried on others: see
docs/collapse.md.
"""

import math
from dataclasses import dataclass

LEAST_SPREAD, LEAST_SPREAD_OF_BLOCKS = 0.001, 0.02
"""Deviation over clips, or within them, as a share of a stage's scale; over clips, of what blocks
add: that has a scale of its own from positions alone, when the sound no longer reaches it."""
LEAST_SPREAD_LEFT = {"target": 0.5}
"""Deviation over clips as a share of what it was at the first look, per level. Students are left
out: what tells clips apart in them often falls at first and comes back."""
LEAST_RANK = 1.5
"""Effective rank of pooled embeddings."""
LEAST_SCALE = 1e-6
"""Of any stage but the waveform."""
LEAST_SCALE_LEFT, LEAST_SCALE_LEFT_BESIDE, MOST_SCALE = 0.01, 0.1, 1e4
"""Scale of a stage as a share of what it was at the first look; the larger share where positions or
a residual stream stand beside it, and soon drown it."""
LOG_MEL_SCALES = 0.1, 30.0
"""Of normalised log-mel, which is about 1."""
MOST_STILL = 0.5
"""Share of clips without any variation."""
MOST_LOSS, LEAST_RISE = 3.0, 1.0
"""Loss as a share of the first, and by how much more it is at least: losses are in nats or in
variances of what is predicted, so that 1 is about what knowing nothing costs. A contrast of few
clips begins near zero and is mostly chance."""
GRADIENT_NORMS = 1e-6, 1e4


@dataclass(frozen=True)
class Failure:
    """A level, and what happened there, as the end of a sentence."""

    level: str
    what: str


def find_failure(values: dict[str, float], first: dict[str, float]) -> Failure | None:
    """The first level that failed, in the order of cause and effect.

    Args:
        values: by ``level/measure``, and ``sound``, ``loss``, ``grad_norm``: see ``alarm.Watch``.
        first: the same at the first look.
    """
    if values["sound"] < 1:
        return Failure("waveform", "was not finite")
    if values["waveform/still"] >= MOST_STILL:
        return Failure("waveform", f"held {values['waveform/still']:.0%} clips without variation")
    for level in dict.fromkeys(name.split("/")[0] for name in values if "/" in name):
        what = judge_spread(level, values) or judge_change(level, values, first)
        if what:
            return Failure(level, what)
    return judge_training(values, first)


def judge_spread(level: str, values: dict[str, float]) -> str | None:
    """What is wrong with a level whatever it was before."""
    scale = values[f"{level}/scale"]
    if not math.isfinite(scale):
        return "was not finite"
    if scale == 0 or (scale < LEAST_SCALE and level != "waveform"):
        return "was zero, or asked for nowhere,"
    if level == "log_mel" and not LOG_MEL_SCALES[0] <= scale <= LOG_MEL_SCALES[1]:
        return f"had a scale of {scale:.2g} where about 1 is expected"
    of_clips = LEAST_SPREAD_OF_BLOCKS if level.startswith("block_") else LEAST_SPREAD
    for measure, where, least in (
        ("over_clips", "for all clips", of_clips),
        ("over_places", "all along a clip", LEAST_SPREAD),
    ):
        spread = values.get(f"{level}/{measure}", math.inf)
        if spread < least:
            return f"was the same {where} (spread {spread:.1e} of its scale)"
    rank = values.get(f"{level}/rank", math.inf)
    if rank < LEAST_RANK:
        return f"had {rank:.1f} dimensions"
    return None


def judge_change(level: str, values: dict[str, float], first: dict[str, float]) -> str | None:
    """What is wrong with a level that was otherwise at the first look."""
    if level in ("waveform", "log_mel"):
        return None
    scale, spread = f"{level}/scale", f"{level}/over_clips"
    growth = _share_left(scale, values, first)
    beside = level == "patch_embedding" or level.startswith("block_")
    if growth < (LEAST_SCALE_LEFT_BESIDE if beside else LEAST_SCALE_LEFT):
        return f"shrank to {growth:.1e} of its first scale"
    if growth > MOST_SCALE:
        return f"grew to {growth:.1e} times its first scale"
    left = _share_left(spread, values, first)
    if left < LEAST_SPREAD_LEFT.get(level, 0.0):
        return f"kept {left:.2f} of its first spread over clips"
    return None


def _share_left(name: str, values: dict[str, float], first: dict[str, float]) -> float:
    """1 of what was not measured, at one of the looks or at both."""
    if name not in values or name not in first:
        return 1.0
    return values[name] / max(first[name], 1e-30)


def judge_training(values: dict[str, float], first: dict[str, float]) -> Failure | None:
    """What is wrong with loss and gradient."""
    loss, norm = values["loss"], values["grad_norm"]
    if not math.isfinite(loss):
        return Failure("loss", "was not finite")
    if loss == 0:
        return Failure("loss", "was zero, with nothing left to learn,")
    # Of clips too few to be compared with each other a loss is mostly chance.
    compared = "embedding/rank" in values
    if compared and loss > max(MOST_LOSS * first["loss"], first["loss"] + LEAST_RISE):
        return Failure("loss", f"rose from {first['loss']:.3g} to {loss:.3g}")
    if not GRADIENT_NORMS[0] <= norm <= GRADIENT_NORMS[1]:
        return Failure("gradient", f"had a norm of {norm:.1e}")
    return None

"""Trackers of runs beside metrics.jsonl: TensorBoard and whatever else accelerate knows."""

from collections.abc import Mapping, Sequence
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import LoggerType

from ssl_audio.errors import ConfigError


def check_trackers(names: Sequence[str]) -> None:
    """Refuses what accelerate does not know, and what it would leave out without a word.

    Raises:
        ConfigError: with what it knows, or with the package that is missing.
    """
    known = sorted(str(kind.value) for kind in LoggerType if kind != LoggerType.ALL)
    for name in names:
        if name not in known:
            raise ConfigError(f"train.trackers: {name} is none of {', '.join(known)}")
        if name not in {str(kind.value) for kind in get_available_trackers()}:
            package = "'ssl-audio[tracking]'" if name == "tensorboard" else name
            raise ConfigError(
                f"train.trackers: the package of {name} is not installed: pip install {package}"
            )


def start_trackers(accelerator: Accelerator, settings: Mapping[str, Any]) -> None:
    """Opens the accelerator's trackers and tells them the run's settings."""
    if not accelerator.log_with:
        return
    plain = (bool, int, float, str)
    shown = {name: value for name, value in settings.items() if isinstance(value, plain)}
    accelerator.init_trackers("tracked", config=shown)

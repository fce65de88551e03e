"""Loading a saved model: of the right type, with every weight in its place."""

import json
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from transformers import PreTrainedModel

from ssl_audio.errors import UserError

Model = TypeVar("Model", bound=PreTrainedModel)


def check_model_type(folder: Path, model_type: str, made_by: str) -> None:
    """Refuses a folder that holds no model, or another kind of model.

    Args:
        folder: what the user named.
        model_type: as its config.json must say.
        made_by: the command that writes such a folder.

    Raises:
        UserError: with what is there instead.
    """
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder} holds no model: expected the output of {made_by}") from None
    if found != model_type:
        raise UserError(
            f"{folder} holds a {found}, expected a {model_type}: the output of {made_by}"
        )


def load_model(model_class: type[Model], folder: Path, attention: str | None = None) -> Model:
    """Loads every weight, or fails.

    Args:
        model_class: of the model.
        folder: that ``save_pretrained`` wrote, checked by ``check_model_type``.
        attention: ``eager`` or ``sdpa``; None is torch's own choice.

    Raises:
        UserError: weights are missing, left over, or can't be read.
    """
    try:
        answer: Any = model_class.from_pretrained(
            folder,
            attn_implementation=attention,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{folder} can't be loaded: {error}") from None
    model, info = answer
    wrong = {kind: sorted(map(str, keys)) for kind, keys in info.items() if keys}
    if wrong:
        raise UserError(f"{folder} does not fit {model_class.__name__}: {wrong}")
    loaded: Model = model
    return loaded

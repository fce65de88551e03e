"""Whether training hears what a clip's label speaks of."""

from finetune.config import ClassifierConfig
from finetune.learning import read_encoder_config
from finetune.material import Material
from ssl_audio.data.manifest import SAMPLE_RATE
from ssl_audio.errors import UserError


def refuse_unheard(
    config: ClassifierConfig, crop_seconds: float | None, key: str, material: Material
) -> None:
    """Training clips whose label may lie outside what is heard of them.

    Args:
        config: of the classifier.
        crop_seconds: of a training clip; None takes whole ones.
        key: what the user calls these seconds.
        material: labelled clips.

    Raises:
        UserError: whole clips are longer than the encoder hears at once, or crops of clips of
            several emotions need not hold them all.
    """
    if crop_seconds is not None:
        if config.strategy.kind != "probe":  # which hears whole clips
            _refuse_labels_outside(crop_seconds, key, material)
    elif config.windows is None:
        _refuse_unheard_ends(config, key, material)


def _refuse_unheard_ends(config: ClassifierConfig, key: str, material: Material) -> None:
    """Whole clips that are judged piece by piece must be learnt so too."""
    shape = read_encoder_config(config)
    longest = int(material.corpus.num_samples[material.training].max()) / shape.sample_rate
    if longest > shape.max_seconds:
        raise UserError(
            f"a training clip has {longest:.1f} s and the encoder hears {shape.max_seconds:g} s at "
            f"once: set {key}, or windows, which judge long clips piece by piece"
        )


def _refuse_labels_outside(crop_seconds: float, key: str, material: Material) -> None:
    """A crop of a clip that holds several emotions may hold none of some of them."""
    if material.task != "multilabel":
        return
    clips, lengths = material.corpus.clips, material.corpus.num_samples
    several = [index for index in material.training if len(clips[index].emotions) > 1]
    longest = lengths[several].max(initial=0) / SAMPLE_RATE
    if longest > crop_seconds:
        raise UserError(
            f"a training clip of several emotions has {longest:.1f} s, and a crop of "
            f"{crop_seconds:g} s need not hold them all: set {key} to null"
        )

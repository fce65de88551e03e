"""RAVDESS's own schemes: which of its 24 actors each fold tests and validates on."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from itertools import chain, product

from ssl_audio.data.dealing import Deal, assemble_folds, by_speaker, next_ones
from ssl_audio.data.folds import Folds
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError

EMOBOX_TEST_ACTORS = (
    ("01", "11", "20", "21"),
    ("04", "10", "12", "14"),
    ("08", "09", "19", "23"),
    ("03", "05", "07", "24"),
    ("02", "15", "16", "18"),
    ("06", "13", "17", "22"),
)
"""RAVDESS actors that each fold tests. Source: EmoBox (Ma et al. 2024), its fold lists."""
BALANCED_TEST_ACTORS = tuple(
    tuple(f"{actor:02d}" for actor in range(first, first + 4)) for first in range(1, 25, 4)
)
"""RAVDESS actors in the order of their numbers, two men and two women in each fold."""


def emobox6(name: str, clips: Sequence[Clip], classes: Sequence[str] | None = None) -> Folds:
    """EmoBox's six folds of RAVDESS, with validation actors.

    The published lists name test actors. For validation, the actors of each gender stand in the
    order in which they are tested, as in a ring; fold k takes the two men and the two women at
    places 2k + 2 and 2k + 3. So each actor validates exactly once, never where he or she is tested.

    Raises:
        DataError: an actor or a class is missing.
    """
    _refuse_missing_actors("emobox6", clips)
    test = [set(actors) for actors in EMOBOX_TEST_ACTORS]
    return assemble_folds(name, "emobox6", classes, clips, by_speaker(test, _emobox_validation()))


def balanced6(name: str, clips: Sequence[Clip], classes: Sequence[str] | None = None) -> Folds:
    """Six folds of RAVDESS, actors 1-4, 5-8, ...; each validates on those that the next tests.

    Raises:
        DataError: an actor or a class is missing.
    """
    _refuse_missing_actors("balanced6", clips)
    test = [set(actors) for actors in BALANCED_TEST_ACTORS]
    return assemble_folds(name, "balanced6", classes, clips, by_speaker(test, next_ones(test)))


def text_and_speaker(
    name: str, clips: Sequence[Clip], classes: Sequence[str] | None = None
) -> Folds:
    """``emobox6`` with unseen statements too: twelve folds, one for each six actors' fold and text.

    A fold tests its actors on one statement and trains and validates, on the actors of that fold of
    ``emobox6``, with the other one. Over the folds each clip is tested once.

    Raises:
        DataError: an actor, a class or a statement is missing.
    """
    _refuse_missing_actors("text+speaker", clips)
    texts = sorted({str(clip.text) for clip in clips})
    if len(texts) != 2 or any(clip.text is None for clip in clips):
        raise DataError(f"text+speaker needs clips of 2 statements, got {', '.join(texts)}")
    test = [set(actors) for actors in EMOBOX_TEST_ACTORS]

    def build_deal(speakers: Deal, tested: str) -> Deal:
        def deal(clip: Clip) -> str | None:
            part = speakers(clip)
            return part if (part == "test") == (clip.text == tested) else None

        return deal

    deals = by_speaker(test, _emobox_validation())
    both = [build_deal(deal, text) for deal, text in product(deals, texts)]
    return assemble_folds(name, "text+speaker", classes, clips, both)


def _emobox_validation() -> list[AbstractSet[str]]:
    validation: list[set[str]] = [set() for _ in EMOBOX_TEST_ACTORS]
    for is_male in (True, False):
        line = [actor for actor in chain(*EMOBOX_TEST_ACTORS) if (int(actor) % 2 == 1) is is_male]
        for index, actors in enumerate(validation):
            actors |= {line[(2 * index + place) % len(line)] for place in (3, 4)}
    return list(validation)


def _refuse_missing_actors(scheme: str, clips: Sequence[Clip]) -> None:
    actors = {clip.speaker for clip in clips}
    if missing := sorted(set(chain(*EMOBOX_TEST_ACTORS)) - actors):
        raise DataError(f"{scheme} needs all 24 actors, without clips are {', '.join(missing)}")

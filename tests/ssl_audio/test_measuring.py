import math

import pytest

from ssl_audio.measuring import Evaluation, FirstLook, _is_best
from ssl_audio.train_state import TrainState


def evaluation(first_look: FirstLook | None = None) -> Evaluation:
    return Evaluation(1, dict, "uar", lambda _: None, lambda _: None, first_look)


@pytest.mark.parametrize(
    ("best", "value", "is_best"),
    [(None, 0.1, True), (0.1, 0.2, True), (0.1, 0.1, False), (0.1, math.nan, False)],
)
def test_the_best_is_higher_than_all_before(
    best: float | None, value: float, is_best: bool
) -> None:
    state = TrainState(step=5, best_step=None if best is None else 3, best_value=best)
    assert _is_best(evaluation(), state, value) == is_best
    unbeaten = FirstLook(lambda: pytest.fail("asked though something else is the best"))
    assert _is_best(evaluation(unbeaten), state, value) == is_best


@pytest.mark.parametrize("beaten", [True, False])
def test_the_first_look_is_left_only_if_it_is_beaten(beaten: bool) -> None:
    state = TrainState(step=5, best_step=0, best_value=0.5)
    assert _is_best(evaluation(FirstLook(lambda: beaten)), state, 0.6) == beaten
    assert not _is_best(evaluation(FirstLook(lambda: True)), state, 0.4)

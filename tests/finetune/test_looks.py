import numpy as np
import pytest

from finetune import metrics
from finetune.labels import GenderEmotion, MultiLabel, SingleLabel
from finetune.looks import Looks

LABELS = np.repeat(np.arange(4), (6, 20, 40, 34))
"""Unequal classes, as corpora have them."""
SHARES = (1 / np.bincount(LABELS) / 4)[LABELS]
"""Of a right answer in the UAR."""


def uar(answers):
    """Of answers that are all for one class."""
    return float(answers[np.arange(len(LABELS)), LABELS] @ SHARES)


def answer(generator, right):
    """(clips, classes) of answers that are right with these chances."""
    wrong = generator.random(len(LABELS)) >= right
    return np.eye(4)[(LABELS + wrong * generator.integers(1, 4, len(LABELS))) % 4]


def is_left(looks, generator, right_at_first, right_later):
    looks.add(answer(generator, right_at_first))
    found = []
    for _ in range(looks.later_looks):
        looks.add(answer(generator, right_later))
        found.append(looks.newest_is_better())
    return any(found)


def test_the_quick_score_here_is_the_uar():
    answers = answer(np.random.default_rng(0), 0.6)
    assert uar(answers) == pytest.approx(
        float(metrics.uar(metrics.confusion_matrix(LABELS, answers)))
    )


def test_what_is_worth_the_same_is_seldom_found_better():
    """Every look for itself, which gives chance more to choose from than looks at one training."""
    generator = np.random.default_rng(0)
    left = [is_left(Looks(uar, 3), generator, 0.7, 0.7) for _ in range(60)]
    # More than 8 of 60 have a probability of .3 % at a true share of 5 %.
    assert sum(left) <= 8


def test_what_is_worth_more_is_found():
    generator = np.random.default_rng(0)
    assert all(is_left(Looks(uar, 5), generator, 0.5, 0.85) for _ in range(3))


def test_counts_the_ways_in_which_signs_could_have_fallen():
    """Of clips that changed alone: six better ones and none worse are 1 of 64 ways."""
    first = np.eye(4)[LABELS]
    first[50:56] = np.roll(first[50:56], 1, axis=1)
    for later_looks, better in ((2, True), (8, False)):  # .025 and .00625
        looks = Looks(uar, later_looks)
        looks.add(first)
        looks.add(np.eye(4)[LABELS])
        assert looks.newest_is_better() == better


def test_one_clip_shows_nothing():
    looks = Looks(lambda answers: float(answers[0, 0]), 1)
    looks.add(np.eye(2)[[1]])
    looks.add(np.eye(2)[[0]])
    assert not looks.newest_is_better()


@pytest.mark.parametrize("later_looks", [1, 101])
def test_what_is_beyond_doubt_is_found_however_many_looks_there_are(later_looks):
    looks = Looks(uar, later_looks)
    looks.add(np.roll(np.eye(4)[LABELS], 1, axis=1))
    looks.add(np.eye(4)[LABELS])
    assert looks.newest_is_better()


def test_the_same_answers_are_not_better():
    looks = Looks(uar, 1)
    looks.add(np.eye(4)[LABELS])
    looks.add(np.eye(4)[LABELS])
    assert not looks.newest_is_better()


@pytest.mark.parametrize("space", [SingleLabel, GenderEmotion, MultiLabel])
def test_the_headline_alone_is_the_same_number(space):
    generator = np.random.default_rng(1)
    labels = space(("female_a", "female_b", "male_a", "male_b"))
    targets = np.eye(4, dtype=np.float32)[LABELS]
    answers = generator.dirichlet(np.ones(4), len(LABELS))
    scores = labels.score(targets, answers, [0.5] * 4)
    assert labels.score_headline(targets, answers) == scores[labels.headline]

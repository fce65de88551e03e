"""Extremes of columns tell of constants of all rows, but not if rows or bounds explain them."""

import numpy as np
import pytest

from ssl_audio.audit.normalised import find_leaked_constants, find_normalised_groups

NUM_ROWS = 600
SPEAKERS = np.repeat(np.arange(20), NUM_ROWS // 20)
TRAIN, TEST = np.flatnonzero(SPEAKERS < 16), np.flatnonzero(SPEAKERS >= 16)
GROUPS = {str(speaker): np.flatnonzero(SPEAKERS == speaker) for speaker in range(16, 20)}


def draw(seed, num_features):
    """Features that depend on the speaker."""
    rng = np.random.default_rng(seed)
    own = rng.standard_normal((20, num_features))[SPEAKERS]
    return rng.standard_normal((NUM_ROWS, num_features)) + own


def squeeze(values, axis):
    least = values.min(axis=axis, keepdims=True)
    return (values - least) / np.ptp(values, axis=axis, keepdims=True)


def by_peak(values, axis):
    return values / np.abs(values).max(axis=axis, keepdims=True)


def by_speaker(values, way):
    return np.vstack([way(values[SPEAKERS == speaker], 0) for speaker in range(20)])


def leaks(values):
    leaking = {"train and test": np.arange(len(values)), "test": TEST}
    return find_leaked_constants(values, {"train": TRAIN}, leaking) is not None


HONEST = {
    "each row from 0 to 1": lambda values: squeeze(values, 1),
    "each row by its peak": lambda values: by_peak(values, 1),
    "clipped to 0 and 1": lambda values: np.clip(0.5 + 0.2 * values, 0, 1),
    "clipped at three deviations": lambda values: np.clip(values / values.std() / 3, -1, 1),
}


@pytest.mark.parametrize("num_features", [8, 20, 40])
@pytest.mark.parametrize("way", HONEST)
def test_rows_scaled_by_themselves_and_clipped_ones_are_no_leak(way, num_features):
    for seed in range(5):
        values = HONEST[way](draw(seed, num_features))
        assert not leaks(values)
        assert find_normalised_groups(values, GROUPS)[1] == []


@pytest.mark.parametrize("way", [squeeze, by_peak])
@pytest.mark.parametrize("num_features", [8, 40])
def test_columns_scaled_over_all_rows_or_by_speaker_are_found(way, num_features):
    for seed in range(3):
        values = draw(seed, num_features)
        assert leaks(way(values, 0))
        assert len(find_normalised_groups(by_speaker(values, way), GROUPS)[1]) == len(GROUPS)


def test_copies_of_the_extreme_row_and_columns_of_classes_hide_nothing():
    values = squeeze(draw(0, 20), 0)
    values[1] = values[0] = values[values[:, 0].argmax()]
    classes = np.random.default_rng(0).integers(0, 2, (NUM_ROWS, 5))
    assert leaks(np.hstack([squeeze(values, 0), classes]))


def test_one_column_beyond_train_is_not_enough():
    values = draw(0, 40)
    least, most = values[TRAIN].min(axis=0), values[TRAIN].max(axis=0)
    values = np.clip((values - least) / (most - least), 1e-3, 1 - 1e-3)
    for column in range(40):
        values[TRAIN[2 * column], column], values[TRAIN[2 * column + 1], column] = 0, 1
    assert not leaks(values)
    values[TRAIN[1], 0], values[TEST[0], 0] = 0.5, 1
    assert not leaks(values)

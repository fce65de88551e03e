"""Settings are chosen on validation clips, or by inner folds; never by anything else."""

import numpy as np
import pytest

from benchmarks.systems.base import LabelledClips
from benchmarks.systems.selection import choose_and_fit, clips_to_fit, inner_splits

LABELS = np.array([0, 1, 0, 1, 0, 1])


def clips(labels, inner=None, first=0):
    waveforms = [np.array([first + place], np.int16) for place in range(len(labels))]
    inner = None if inner is None else np.array(inner)
    return LabelledClips(waveforms, np.array(labels), ("s",) * len(labels), inner)


def right_from(threshold):
    """A model by its candidate: it knows the label of clips numbered from ``threshold`` on."""

    def answer(waveforms):
        numbers = np.array([int(waveform[0]) for waveform in waveforms])
        labels = np.where(numbers >= threshold, numbers % 2, 1 - numbers % 2)
        return np.eye(2)[labels]

    return answer


class Recorder:
    """Fits a candidate by remembering it and what it was fitted to."""

    def __init__(self):
        self.fits = []

    def fit(self, candidate, train):
        self.fits.append((candidate, [int(waveform[0]) for waveform in train.waveforms]))
        return right_from(candidate)

    def answer(self, model, waveforms):
        return model(waveforms)


def test_the_validation_clips_choose_and_nothing_is_fitted_again():
    recorder = Recorder()
    train, validation = clips(LABELS), clips(LABELS, first=10)
    model = choose_and_fit([16, 12, 0], recorder.fit, recorder.answer, train, validation)
    assert [candidate for candidate, _ in recorder.fits] == [16, 12, 0]
    assert all(numbers == [0, 1, 2, 3, 4, 5] for _, numbers in recorder.fits)
    assert np.array_equal(model(validation.waveforms).argmax(1), LABELS)


def test_of_equals_the_first():
    recorder = Recorder()
    model = choose_and_fit(
        [10, 0], recorder.fit, recorder.answer, clips(LABELS), clips(LABELS, first=10)
    )
    assert model(clips(LABELS).waveforms).argmax(1).tolist() == (1 - LABELS).tolist()


def test_inner_folds_choose_by_their_mean_and_the_best_learns_from_all():
    recorder = Recorder()
    train = clips(LABELS, inner=[0, 0, 1, 1, 2, 2])
    validation = clips(LABELS[:2], inner=[3, 3], first=6)
    model = choose_and_fit([4, 2], recorder.fit, recorder.answer, train, validation)
    everything = set(range(8))
    held_out = [everything - set(numbers) for _, numbers in recorder.fits[:-1]]
    assert held_out == [{0, 1}] * 2 + [{2, 3}] * 2 + [{4, 5}] * 2 + [{6, 7}] * 2
    # Candidate 4 is right on two of four groups, candidate 2 on three.
    assert recorder.fits[-1] == (2, sorted(everything))
    assert model(train.waveforms).argmax(1).tolist() == [1, 0, 0, 1, 0, 1]


@pytest.mark.parametrize(("inner", "learnt"), [(None, 6), ([0, 0, 1, 1, 2, 2], 8)])
def test_a_single_candidate_is_fitted_once(inner, learnt):
    recorder = Recorder()
    validation = clips(LABELS[:2], inner=None if inner is None else [3, 3], first=6)
    choose_and_fit([0], recorder.fit, recorder.answer, clips(LABELS, inner), validation)
    assert recorder.fits == [(0, list(range(learnt)))]


def test_without_a_choice_both_parts_are_learnt_from_only_where_there_are_inner_folds():
    numbers = [int(waveform[0]) for waveform in clips_to_fit(clips(LABELS), clips([1])).waveforms]
    assert numbers == [0, 1, 2, 3, 4, 5]
    train = clips(LABELS, inner=[0, 0, 1, 1, 2, 2])
    both = clips_to_fit(train, clips([1, 0], inner=[3, 3], first=6))
    assert [int(waveform[0]) for waveform in both.waveforms] == list(range(8))
    assert both.labels.tolist() == [*LABELS, 1, 0]
    recorder = Recorder()
    choose_and_fit([0], recorder.fit, recorder.answer, clips(LABELS), clips([1], first=6))
    assert recorder.fits == [(0, [0, 1, 2, 3, 4, 5])]


def test_inner_folds_hold_out_every_clip_once_and_there_may_be_none():
    train, validation = clips(LABELS, inner=[0, 0, 1, 1, 2, 2]), clips([1, 0], [2, 2], first=6)
    numbers = [
        tuple(sorted(int(wave[0]) for wave in part.waveforms) for part in split)
        for split in inner_splits(train, validation)
    ]
    assert numbers == [
        ([2, 3, 4, 5, 6, 7], [0, 1]),
        ([0, 1, 4, 5, 6, 7], [2, 3]),
        ([0, 1, 2, 3], [4, 5, 6, 7]),
    ]
    assert list(inner_splits(clips(LABELS), clips(LABELS, first=6))) == []

"""What is said before a pause and after it is judged apart."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.moments import place_moments
from finetune.pauses import cut_at_pauses
from tests.finetune.building import build_classifier

RATE = 16_000


def speak(*parts: float) -> torch.Tensor:
    """Noise of so many seconds; silence, that hums 60 dB below, of so many negative ones."""
    torch.manual_seed(0)
    levels = [(abs(part), 0.3 if part > 0 else 0.0003) for part in parts]
    return torch.cat([level * torch.randn(round(length * RATE)) for length, level in levels])


def test_the_middle_of_a_pause_is_an_edge():
    waveform = speak(-0.8, 1.0, -0.6, 0.7, -0.2, 0.7, -1.0, 0.5, -0.9)
    found = np.array(cut_at_pauses(waveform, RATE, 0.5)) / RATE
    # Silence at either end is no pause, and 0.2 s are too short.
    np.testing.assert_allclose(found, [0, 2.1, 4.5, 6.4], atol=0.03)
    assert cut_at_pauses(waveform, RATE, None) == [0, len(waveform)]
    assert len(cut_at_pauses(waveform, RATE, 0.1)) == 5


def test_a_hum_and_a_click_hide_no_pause():
    waveform = 0.1 * speak(1.0, -1.0, 1.0) + 0.05
    waveform[8000:8100] += 0.8
    found = np.array(cut_at_pauses(waveform, RATE, 0.5)) / RATE
    np.testing.assert_allclose(found, [0, 1.5, 3.0], atol=0.03)


def test_moments_are_no_longer_than_a_window():
    windows, timeline = {"seconds": 0.4, "hop_seconds": 0.2}, {"phrase_seconds": 0.0}
    classifier = build_classifier(windows=windows, timeline={**timeline, "moment_seconds": 2.0})
    assert len(classifier.probabilities_over_time(speak(2.0)).starts) == 5
    with pytest.raises(ValueError, match="a phrase of one sample at least"):
        classifier.probabilities_over_time(torch.zeros(0))


@pytest.mark.parametrize("waveform", [torch.zeros(20_000), torch.ones(7), speak(2.0)])
def test_silence_and_speech_without_a_pause_stay_whole(waveform):
    assert cut_at_pauses(waveform, RATE, 0.5) == [0, len(waveform)]


@settings(deadline=None)
@given(
    start=st.integers(0, 500),
    length=st.integers(1, 1000),
    window=st.integers(20, 400),
    share=st.floats(0.05, 1),
)
def test_moments_and_windows_cover_a_stretch(start, length, window, share):
    moments = place_moments(start, start + length, window, max(1, round(share * window)), 0)
    edges, windows = moments.edges, moments.windows
    assert edges[0, 0] == start and edges[-1, 1] == start + length
    assert all(one[1] == two[0] for one, two in pairwise(edges))
    assert (edges[:, 0] < edges[:, 1]).all()
    assert windows.min() == start and windows.max() == start + length
    assert (windows[:-1, 1] - windows[:-1, 0] == window).all()
    for (first, _), one, other in zip(edges, moments.first, moments.last, strict=True):
        holding = [n for n, (a, b) in enumerate(windows) if a <= first < b]
        assert (one, other) == (holding[0], holding[-1])


def test_a_short_phrase_is_judged_whole():
    phrase = place_moments(100, 180, 20, 5, longest=80)
    assert phrase.edges.tolist() == phrase.windows.tolist() == [[100, 180]]
    assert len(place_moments(100, 181, 20, 5, longest=80).edges) == 17
    classifier = build_classifier()
    waveform = speak(1.3, -0.6, 2.1)
    found = classifier.probabilities_over_time(waveform)
    assert len(found.starts) == 2 and found.ends[-1] == pytest.approx(4.0)
    first = classifier.probabilities(waveform[None, : round(found.ends[0] * RATE)])[0]
    np.testing.assert_allclose(found.probabilities[0], first.detach(), atol=1e-5)


@pytest.mark.parametrize("phrase_seconds", [0.0, 2.0, 5.0])
def test_no_window_reaches_over_a_pause(phrase_seconds):
    windows = {"seconds": 1.0, "hop_seconds": 0.5}
    classifier = build_classifier(windows=windows, timeline={"phrase_seconds": phrase_seconds})
    one, other = speak(1.3, -0.4), speak(-0.4, 2.1)
    whole = classifier.probabilities_over_time(torch.cat([one, other]))
    apart = [classifier.probabilities_over_time(part) for part in (one, other)]
    assert len(whole.starts) == sum(len(part.starts) for part in apart)
    together = np.concatenate([part.probabilities for part in apart])
    np.testing.assert_allclose(whole.probabilities, together, atol=1e-5)
    assert whole.starts[len(apart[0].starts)] == pytest.approx(1.7, abs=0.03)

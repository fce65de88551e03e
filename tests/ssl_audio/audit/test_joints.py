"""Neighbouring pieces of a recording are told by their ends, and nothing else is."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import multivariate_t

from ssl_audio.audit.copies import find_copies
from ssl_audio.audit.copies.joints import find_joints
from ssl_audio.audit.copies.overlaps import find_overlaps
from ssl_audio.audit.copies.prediction import NEXT, PAST, foresee, log_likelihood
from ssl_audio.data.audio import measure
from ssl_audio.data.prepared import PreparedCorpus, write_corpus
from ssl_audio.data.synthetic import SyntheticSettings, synthesise

SETTINGS = SyntheticSettings(num_speakers=4, emotions=("happy", "sad", "angry"), num_statements=1)


@pytest.fixture(scope="module")
def views():
    """24 recordings."""
    return [samples for _, samples in synthesise(SETTINGS)]


def cut(view, share=0.5):
    """In two where that share of the energy has passed."""
    place = np.searchsorted(np.cumsum(np.square(view, dtype=np.float64)), share * np.sum(view**2.0))
    return view[:place], view[place:]


def pairs_of(joints):
    return {(joint.first, joint.second) for joint in joints}


def test_halves_go_on_into_each_other(views):
    halves = [half for view in views for half in cut(view)]
    joints = find_joints(halves)
    true = {(place, place + 1) for place in range(0, len(halves), 2)}
    assert pairs_of(joints) <= true
    assert len(joints) >= 16
    assert sum(joint.kind == "split_parent" for joint in joints) >= 12
    assert all(joint.evidence.startswith("the waveform goes on") for joint in joints)


def test_order_level_and_polarity_do_not_matter(views):
    halves = [half for view in views for half in cut(view)]
    louder = [np.clip(-2 * half.astype(np.int32), -32_768, 32_767) for half in halves[::-1]]
    turned = pairs_of(find_joints([half.astype(np.int16) for half in louder]))
    last = len(halves) - 1
    straight = {(last - first, last - second) for first, second in pairs_of(find_joints(halves))}
    assert len(turned & straight) >= 0.9 * len(straight)


def test_whole_recordings_have_no_neighbours(views):
    assert find_joints(views) == []


def test_a_missing_piece_is_a_gap(views):
    """Without 100 ms between them nothing is foreseen."""
    halves = [half for view in views for half in (cut(view)[0], cut(view)[1][1600:])]
    assert find_joints(halves) == []


@pytest.mark.parametrize("shared", [32, 33, 400, 8000])
def test_pieces_that_overlap_by_a_few_samples(views, shared):
    cuts = [(view, len(cut(view)[0])) for view in views]
    pieces = [piece for view, at in cuts for piece in (view[:at], view[at - shared :])]
    told = find_overlaps(pieces)
    assert set(told) <= {(place, place + 1, shared) for place in range(0, len(pieces), 2)}
    # A start in a pause has too few values.
    assert len(told) >= (24 if shared < 100 else 18)
    assert (find_overlaps(views)) == []
    assert find_overlaps(pieces[:2])[0].evidence.startswith(f"the last {shared} samples")


@pytest.mark.parametrize("piece", [np.zeros(9000), np.zeros(31), np.arange(9000) % 5, np.arange(0)])
def test_what_is_everywhere_overlaps_nothing(piece):
    assert (find_overlaps([piece.astype(np.int16)] * 3)) == []


@pytest.mark.parametrize("level", [0.0, 1.0, 300.0])
def test_silence_and_noise_fit_everything(level):
    rng = np.random.default_rng(0)
    noise = np.rint(level * rng.standard_normal(40 * 8000)).astype(np.int16)
    assert find_joints(np.split(noise, 40)) == []
    assert (find_overlaps(np.split(noise, 40))) == []


@pytest.mark.parametrize("lengths", [[], [PAST], [PAST - 1, PAST, 3, 0], [PAST, PAST]])
def test_few_and_short_pieces(lengths, views):
    assert find_joints([views[0][4000:][:length] for length in lengths]) == []


def test_likelihoods_against_a_reference(views):
    """Whitening and expectation give Student's density of the samples that follow."""
    past, following = (half.astype(np.float64) for half in cut(views[0]))
    outlook = foresee(past[None, -PAST:])
    whitening = outlook.whitening[0].astype(np.float64)
    response = np.linalg.inv(whitening)
    expected = response @ outlook.expected[0]
    residual = whitening @ following[:NEXT] - outlook.expected[0]
    density = multivariate_t(expected, response @ response.T, df=8)
    ratio = density.logpdf(following[:NEXT]) - density.logpdf(expected)
    assert ratio == pytest.approx(-(8 + NEXT) / 2 * np.log1p(residual @ residual / 8), rel=1e-3)
    told = log_likelihood(np.array([residual @ residual]), NEXT, outlook.log_scale)
    assert told[0] - log_likelihood(np.zeros(1), NEXT, outlook.log_scale)[0] == pytest.approx(ratio)


def frame(sound, rng, count=6):
    """Different recordings of noise that all begin and end with one sound."""
    noise = (1000 * rng.standard_normal((count, 8_000))).astype(np.int16)
    return [np.concatenate([sound, piece, sound]) for piece in noise]


def test_sounds_that_many_recordings_share_are_no_overlap():
    rng = np.random.default_rng(0)
    click = (5000 * rng.standard_normal(48)).astype(np.int16)
    jingle = (5000 * rng.standard_normal(1_600)).astype(np.int16)
    beep = (8000 * np.sin(2 * np.pi * 1_000 * np.arange(3_200) / 16_000)).astype(np.int16)
    for sound in (click, jingle, beep):
        assert find_overlaps(frame(sound, rng)) == []
    ends, starts = frame(beep, rng, 1), frame(beep, rng, 1)
    assert find_overlaps([ends[0][2_000:], starts[0][:-3_200]]) == []


def test_a_few_milliseconds_are_a_warning():
    noise = (1000 * np.random.default_rng(0).standard_normal(20_000)).astype(np.int16)
    kinds = {
        shared: find_overlaps([noise[: 10_000 + shared], noise[10_000:]])[0].kind
        for shared in (40, 799, 800)
    }
    assert kinds == {40: "possible_split_parent", 799: "possible_split_parent", 800: "split_parent"}


def test_a_known_process_is_foreseen():
    """Of x[n] = 1.6 x[n-1] - 0.8 x[n-2] + noise the coefficients are recovered."""
    rng = np.random.default_rng(0)
    process = lfilter([1], [1, -1.6, 0.8], 100 * rng.standard_normal((50, 4 * PAST)))
    past = process[:, -PAST:]
    outlook = foresee(past)
    deviation = np.exp(outlook.log_scale.astype(np.float64))
    taps = (outlook.whitening[:, 2, :3] * deviation[:, None]).mean(axis=0)
    assert taps == pytest.approx([0.8, -1.6, 1], abs=0.03)
    foreseen = outlook.expected[:, 0] * deviation
    wrong = foreseen - (1.6 * past[:, -1] - 0.8 * past[:, -2])
    assert wrong.std() < 0.8 * 100 < 0.5 * foreseen.std()
    assert deviation.mean() == pytest.approx(100, rel=0.3)


def test_the_search_tells_neighbours(views, tmp_path):
    clips = [clip for clip, _ in synthesise(SETTINGS)]
    pieces = [*cut(views[0]), *views[1:]]
    named = [replace(clips[0], clip_id="second half"), *clips]
    named[0], named[1] = named[1], named[0]
    measured = [
        clip.with_measured(**measure(piece)) for clip, piece in zip(named, pieces, strict=True)
    ]
    write_corpus(tmp_path, "synthetic", zip(measured, pieces, strict=True))
    (copy,) = find_copies(PreparedCorpus.load(tmp_path))
    assert {copy.first, copy.second} == {clips[0].clip_id, "second half"}
    assert copy.kind in ("split_parent", "possible_split_parent")

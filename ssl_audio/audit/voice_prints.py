"""What recordings tell of the voices in them: how each of them makes the sounds that all make.

The sounds that a corpus is made of are the components of a Gaussian mixture over its frames. A
recording's print says for each component how its frames lie off the component's centre. What is
said moves frames from one component to another; whose voice it is moves them within each.

Source: Reynolds, Quatieri and Dunn 2000, "Speaker verification using adapted Gaussian mixture
models", section 3.4; Campbell, Sturim and Reynolds 2006, "Support vector machines using GMM
supervectors". Ours are prints of single clips, from coefficients without their changes over time.
"""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from ssl_audio.cores import count_cores
from ssl_audio.data.thumbnails import compute_mel_db, compute_mfcc
from ssl_audio.progress import with_progress

Float = npt.NDArray[np.float32]
Int16 = npt.NDArray[np.int16]

_LOUD_DB = 25.0
"""Below the loudest frame; what is softer is pauses and the room."""
_EVERY = 2
"""Frames from one that is looked at to the next: neighbours overlap."""
_NUM_SOUNDS = 64
_FRAMES_LEARNT = 30_000
_ROUNDS = 25
_RELEVANCE = 4.0
"""Frames in a component that count as much as knowing nothing of it."""


def take_prints(views: Sequence[Int16]) -> Float:
    """(clips, sounds * coefficients) float32: a print of each recording.

    Args:
        views: (samples,) int16 mono at 16 kHz of each; some hundred frames in all, of 20 ms.
    """
    with ThreadPoolExecutor(count_cores()) as pool:
        drawn = with_progress(pool.map(_draw_frames, views), len(views), "hear", "clip")
        frames = list(drawn)
        sounds = _learn_sounds(np.concatenate(frames))
        return np.stack(list(pool.map(lambda own: _print(own, sounds), frames)))


def _draw_frames(view: Int16) -> Float:
    """(frames, coefficients) cepstra of the frames that sound, without their level."""
    mel_db = compute_mel_db(view)[:, ::_EVERY]
    level_db = mel_db.max(axis=0)
    return compute_mfcc(mel_db[:, level_db > level_db.max() - _LOUD_DB])[1:].T


def _learn_sounds(frames: Float) -> GaussianMixture:
    rng = np.random.default_rng(0)
    drawn = rng.choice(len(frames), min(_FRAMES_LEARNT, len(frames)), replace=False)
    sounds = GaussianMixture(
        min(_NUM_SOUNDS, len(drawn)), covariance_type="diag", max_iter=_ROUNDS, random_state=0
    )
    with warnings.catch_warnings():
        # Rounds are few, they need not settle; silence has fewer sounds than components.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return sounds.fit(frames[drawn].astype(np.float64))


def _print(frames: Float, sounds: GaussianMixture) -> Float:
    shares = sounds.predict_proba(frames.astype(np.float64))
    num_frames = shares.sum(axis=0)[:, None]
    off = (shares.T @ frames - num_frames * sounds.means_) / np.sqrt(sounds.covariances_)
    return (off / (num_frames + _RELEVANCE)).astype(np.float32).ravel()

"""Where nobody speaks: what is said before a pause and after it is judged apart."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

QUIET_DB = 30.0
"""Below the loudest frame. Of 25 to 45, with pauses of 0.4 and 0.7 s, what found most seams in the
middle of a pause, to 0.2 s: 89 % of those of 150 joined RAVDESS clips of training speakers."""
_FRAME_SECONDS = 0.02


def cut_at_pauses(waveform: Tensor, sample_rate: int, least_seconds: float | None) -> list[int]:
    """Edges of the stretches of speech: 0, the middle of each pause, the clip's length.

    Args:
        waveform: (samples,) float32.
        sample_rate: of it, in Hz.
        least_seconds: how long a pause is at least; None knows of none. Silence at the start and
            at the end is no pause.
    """
    samples = len(waveform)
    if least_seconds is None:
        return [0, samples]
    frame = round(_FRAME_SECONDS * sample_rate)
    num_frames = samples // frame
    frames = waveform[: num_frames * frame].view(num_frames, frame)
    loudness = torch.linalg.vector_norm(frames, dim=1).cpu().numpy()
    is_heard = loudness > loudness.max(initial=0.0) * 10 ** (-QUIET_DB / 20)
    heard: npt.NDArray[np.int64] = np.flatnonzero(is_heard)
    starts, ends = heard[:-1] + 1, heard[1:]
    is_pause = (ends - starts) * frame >= least_seconds * sample_rate
    middles = (starts + ends)[is_pause] * frame // 2
    return [0, *middles.tolist(), samples]

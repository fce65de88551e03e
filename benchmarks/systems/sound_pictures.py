"""Sound as a picture of 128 x 455 points for ImageNet networks.

The original shows 5 s at 44.1 kHz; our clips have 16 kHz, so its times are kept instead of its
counts of samples: a column every 11 ms (176 samples, which makes 455 of 5 s) from a window of 46 ms
(743 samples), and nothing above 8 kHz.
"""

import numpy as np
import numpy.typing as npt

from ssl_audio.data.manifest import SAMPLE_RATE

HEIGHT, WIDTH = 128, 455
NUM_SAMPLES = 5 * SAMPLE_RATE
RANGE_DB = 80.0


def sound_picture(waveform: npt.NDArray[np.int16], channel: str) -> npt.NDArray[np.uint8]:
    """One channel of the picture of a clip's first 5 s; a shorter clip is completed with zeros.

    Args:
        waveform: (samples,) int16 at 16 kHz.
        channel: ``mel``, 128 bands; ``chroma``, 12 pitch classes of equal temperament, each over
            several rows; ``stft``, 512 bins, the mean power of four to a row. Power is in dB below
            its maximum in the picture, from -80 to 0; chroma is relative to each column's maximum.

    Returns:
        (128, 455) uint8, low frequencies first; 0 is -80 dB or less, and silence.
    """
    import librosa

    samples = np.zeros(NUM_SAMPLES, np.float32)
    part = waveform[:NUM_SAMPLES]
    samples[: len(part)] = part.astype(np.float32) / 32768
    stft = librosa.stft(samples, n_fft=1024, win_length=743, hop_length=176)
    power = np.abs(stft) ** 2
    if channel == "mel":
        shown = _in_db(librosa.feature.melspectrogram(S=power, sr=SAMPLE_RATE, n_mels=HEIGHT))
    elif channel == "stft":
        shown = _in_db(power[:-1].reshape(HEIGHT, -1, WIDTH).mean(axis=1))
    elif channel == "chroma":
        # Tuning is not estimated: a speaking voice has none.
        chroma = librosa.feature.chroma_stft(S=power, sr=SAMPLE_RATE, n_fft=1024, tuning=0.0)
        shown = chroma[np.arange(HEIGHT) * len(chroma) // HEIGHT]
    else:
        raise ValueError(f"channel must be mel, chroma or stft, got {channel!r}")
    return np.round(255 * shown).astype(np.uint8)


def _in_db(power: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """From -80 dB below the maximum to the maximum, as 0 to 1; silence is 0."""
    loudest = power.max()
    if loudest == 0:
        return power
    decibels = 10 * np.log10(np.maximum(power / loudest, 1e-12))
    return np.clip(1 + decibels / RANGE_DB, 0, 1)

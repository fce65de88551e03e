"""Fixtures that every room's tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssl_audio.data.prepared import folds_path, write_corpus
from ssl_audio.data.splits import speakers6
from ssl_audio.data.synthetic import SyntheticSettings, synthesise

# Workers of ``-n auto`` have a core each; torch, not imported yet, reads this but once.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

SMALL = {"hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 3}
DEFAULT_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="module")
def small_tiny() -> Iterator[None]:
    """What is called tiny is smaller still, in this process: for what any size shows."""
    from ssl_audio.encoder_config import SIZES

    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(SIZES, "tiny", SMALL)
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with the real corpora (SSL_AUDIO_DATA, default ../shared/data)."""
    folder = Path(os.environ.get("SSL_AUDIO_DATA", DEFAULT_DATA))
    if not folder.is_dir():
        pytest.skip(f"no real corpora at {folder}: set SSL_AUDIO_DATA")
    return folder


def write_prepared(root: Path, num_speakers: int, emotions: tuple[str, ...]) -> Path:
    """A small prepared corpus of synthetic speech with six speaker-disjoint folds."""
    settings = SyntheticSettings(
        num_speakers=num_speakers, emotions=emotions, num_statements=1, num_repetitions=2
    )
    root.mkdir(parents=True)
    (root / "folds").mkdir()
    clips = write_corpus(root, "synthetic", synthesise(settings))
    folds = speakers6("synthetic", clips, emotions)
    folds.save(folds_path(root, folds.protocol))
    return root


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 clips: 8 speakers, 3 emotions, 2 clips each; one protocol, synthetic-3/speakers6."""
    root = tmp_path_factory.mktemp("corpus") / "prepared"
    return write_prepared(root, 8, ("neutral", "happy", "angry"))

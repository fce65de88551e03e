"""Fixtures that every room's tests share."""

import os
from pathlib import Path

import pytest

DEFAULT_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with the real corpora (SSL_AUDIO_DATA, default ../shared/data)."""
    folder = Path(os.environ.get("SSL_AUDIO_DATA", DEFAULT_DATA))
    if not folder.is_dir():
        pytest.skip(f"no real corpora at {folder}: set SSL_AUDIO_DATA")
    return folder

"""What tests of several corpora need."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def zip_up() -> Callable[[Path, Path], None]:
    """Packs what is below a folder into a zip archive."""

    def zip_up(folder: Path, archive: Path) -> None:
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted(folder.rglob("*")):
                file.write(path, path.relative_to(folder).as_posix())

    return zip_up

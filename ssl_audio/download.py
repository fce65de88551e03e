"""Published corpora over HTTP: resumed where they stopped, checked against the record's MD5."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import requests
from tqdm import tqdm

from ssl_audio.errors import UserError
from ssl_audio.progress import progress_bar

SERVER = "https://zenodo.org/"
RECORDS = {
    "ravdess": (
        "1188976",
        ("Audio_Speech_Actors_01-24.zip", "Audio_Song_Actors_01-24.zip"),
    ),
}
"""Number of the Zenodo record and names of its files by corpus."""

CHUNK_BYTES = 1 << 16
"""Written at a time: as many are lost at most when a connection breaks off."""
TIMEOUT_SECONDS = 30
NUM_TRIES = 5
"""In a row without a byte; a try that got further starts the count anew."""


@dataclass(frozen=True)
class RemoteFile:
    """One file of a record, as the record describes it."""

    name: str
    url: str
    num_bytes: int
    md5: str


def download(
    corpus: str, output: Path, server: str = SERVER, pause_seconds: float = 2.0
) -> list[Path]:
    """Fetches the published files of a corpus; whole ones that are there already stay.

    Half a file is kept as ``NAME.partial``, and the next call goes on after its last byte. A file
    gets its name only when its size and its MD5 are those of the record.

    Args:
        corpus: a name in ``RECORDS``.
        output: folder, made if need be.
        server: where the records are, another one for a mirror.
        pause_seconds: between two tries.

    Raises:
        UserError: unknown corpus, no answer, or another file than the record describes.
    """
    if corpus not in RECORDS:
        raise UserError(f"can't download {corpus!r}: choose one of {', '.join(RECORDS)}")
    record, names = RECORDS[corpus]
    output.mkdir(parents=True, exist_ok=True)
    with requests.Session() as session:
        files = read_record(session, urljoin(server, f"api/records/{record}"), names)
        return [_fetch(session, file, output / file.name, pause_seconds) for file in files]


def read_record(session: requests.Session, url: str, names: Sequence[str]) -> list[RemoteFile]:
    """What a record says of some of its files, in the order of ``names``.

    Raises:
        UserError: no answer, or not a record with these files.
    """
    try:
        response = session.get(url, timeout=TIMEOUT_SECONDS)
        response.raise_for_status()
        listed = {str(file["key"]): file for file in response.json()["files"]}
        return [_to_file(name, listed[name]) for name in names]
    except requests.JSONDecodeError:
        raise UserError(f"{url}: expected a record in JSON, got something else") from None
    except requests.RequestException as error:
        raise UserError(f"{url} can't be read: {_reason(error)}; try again later") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{url}: expected size, md5 checksum and link of {', '.join(names)}, "
            f"can't find {error} there"
        ) from None


def _to_file(name: str, described: dict) -> RemoteFile:
    method, _, md5 = str(described["checksum"]).partition(":")
    if method != "md5":
        raise ValueError(f"an md5 among {described['checksum']!r}")
    return RemoteFile(name, str(described["links"]["self"]), int(described["size"]), md5)


def _fetch(session: requests.Session, file: RemoteFile, path: Path, pause_seconds: float) -> Path:
    """One file, after as many tries as it gets further, checked."""
    if path.exists():
        if _is_whole(path, file):
            return path
        raise UserError(f"{path} is there, but is not the published file: move it away")
    partial = path.with_name(f"{path.name}.partial")
    if partial.exists() and partial.stat().st_size > file.num_bytes:
        partial.unlink()
    _fill(session, file, partial, pause_seconds)
    if not _is_whole(partial, file):
        partial.unlink()
        raise UserError(
            f"{file.url}: expected {file.num_bytes} bytes with MD5 {file.md5}, got others, which "
            "were deleted: download again"
        )
    partial.rename(path)
    return path


def _fill(session: requests.Session, file: RemoteFile, partial: Path, pause_seconds: float) -> None:
    """Appends to the partial file until it has all bytes.

    Raises:
        UserError: refused, or several tries in a row brought nothing.
    """
    num_failures = 0
    most = _size(partial)
    with progress_bar(
        file.num_bytes, file.name, "B", unit_scale=True, unit_divisor=1024, initial=most
    ) as bar:
        while _size(partial) < file.num_bytes:
            try:
                _append(session, file, partial, bar)
                reason = "the connection ended early"
            except requests.RequestException as error:
                if not _may_pass(error):
                    raise UserError(f"{file.url} can't be read: {_reason(error)}") from None
                reason = _reason(error)
            num_failures = 0 if _size(partial) > most else num_failures + 1
            most = max(most, _size(partial))
            if num_failures == NUM_TRIES:
                raise UserError(
                    f"{file.url}: {NUM_TRIES} tries got no further ({reason}); {_size(partial)} "
                    f"of {file.num_bytes} bytes are kept: the same command goes on after them"
                )
            if num_failures:
                time.sleep(pause_seconds)


def _append(session: requests.Session, file: RemoteFile, partial: Path, bar: "tqdm[None]") -> None:
    """One request for the bytes that are missing; a server that sends all of them begins anew."""
    have = _size(partial)
    wanted = {"Range": f"bytes={have}-"} if have else {}
    # What is stored is what is counted and hashed: no compression on the way.
    headers = {"Accept-Encoding": "identity", **wanted}
    with session.get(file.url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        response.raise_for_status()
        goes_on = response.status_code == requests.codes.partial_content
        if goes_on and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise UserError(f"{file.url}: asked for bytes from {have} on, got others")
        if have and not goes_on:
            bar.reset(file.num_bytes)
        with partial.open("ab" if goes_on else "wb") as sink:
            for chunk in response.iter_content(CHUNK_BYTES):
                if sink.tell() + len(chunk) > file.num_bytes:
                    raise UserError(f"{file.url}: sends more than its {file.num_bytes} bytes")
                sink.write(chunk)
                bar.update(len(chunk))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_whole(path: Path, file: RemoteFile) -> bool:
    if path.stat().st_size != file.num_bytes:
        return False
    with path.open("rb") as content:
        return hashlib.file_digest(content, _md5).hexdigest() == file.md5


def _md5() -> "hashlib._Hash":
    """It guards against damage here, not against forgery; some systems ask that this be said."""
    return hashlib.md5(usedforsecurity=False)


def _may_pass(error: requests.RequestException) -> bool:
    """Whether another try may help: not if the server answered that it will not serve this."""
    status = error.response.status_code if error.response is not None else 0
    return not 400 <= status < 500 or status in {408, 429}


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT_SECONDS} s"
    return f"no connection ({type(error).__name__})"

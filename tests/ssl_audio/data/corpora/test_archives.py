import zipfile

import pytest

from ssl_audio.data.corpora import CORPORA, archives
from ssl_audio.data.prepare import prepare
from ssl_audio.errors import DataError, UserError

GOOD, OTHER = "03-01-01-01-01-01-01.wav", "03-01-05-01-01-01-01.wav"


@pytest.fixture
def wav(tmp_path, write_noise):
    return write_noise(tmp_path / "noise.wav", seconds=0.5).read_bytes()


def reasons(listing):
    return {item.path: item.reason for item in listing.quarantined}


def write_zip(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def edit_entry(path, name, offset, value):
    """Changes one member's entry in the directory at the archive's end."""
    content = bytearray(path.read_bytes())
    place = content.rindex(name.encode()) - 46
    assert content[place : place + 4] == b"PK\x01\x02"
    content[place + offset : place + offset + len(value)] = value
    path.write_bytes(content)


UNSAFE = ["../", "a/../../", "/", "C:/", "..\\", "\\"]


@pytest.mark.parametrize("folder", UNSAFE)
def test_a_member_that_leads_out_of_its_archive_is_set_aside(folder, wav, tmp_path):
    path = write_zip(tmp_path / "a.zip", {f"Actor_01/{GOOD}": wav, f"{folder}{OTHER}": wav})
    preparation = prepare("ravdess", path, tmp_path / "deep" / "out")
    assert [clip.clip_id for clip in preparation.corpus.clips] == [GOOD[:-4]]
    (item,) = preparation.quarantined
    assert item.path.startswith("a.zip::") and "leads out of the archive" in item.reason
    assert not list(tmp_path.rglob(OTHER))
    with pytest.raises(DataError, match="--strict: 1 of .* leads out of the archive"):
        prepare("ravdess", path, tmp_path / "deep" / "out", strict=True)


ENTRIES = {
    "encrypted": (8, b"\x01\x00", "encrypted: unpack the archive yourself"),
    "method": (10, (14).to_bytes(2, "little"), "packed by method 14: expected a zip"),
    "size": (24, (2**32 - 2).to_bytes(4, "little"), "bytes would unpack to 4294967294"),
    "smaller": (24, (1000).to_bytes(4, "little"), "can't be unpacked: Bad CRC-32"),
    "checksum": (16, b"\0\0\0\0", "can't be unpacked: Bad CRC-32"),
}
"""Place in the entry, what is written there, why the member is set aside."""


@pytest.mark.parametrize("name", ENTRIES)
def test_a_member_with_a_lying_entry_is_set_aside(name, wav, tmp_path):
    offset, value, reason = ENTRIES[name]
    path = write_zip(tmp_path / "a.zip", {GOOD: wav, OTHER: wav})
    edit_entry(path, OTHER, offset, value)
    preparation = prepare("ravdess", path, tmp_path / "out")
    assert [clip.clip_id for clip in preparation.corpus.clips] == [GOOD[:-4]]
    ((found, why),) = [(item.path, item.reason) for item in preparation.quarantined]
    assert found == f"a.zip::{OTHER}" and reason in why


def test_a_bomb_is_not_unpacked(wav, tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(GOOD, wav)
        with archive.open(OTHER, "w") as member:
            for _ in range(80):
                member.write(bytes(2**20))
    assert path.stat().st_size < 2**20
    listing = CORPORA["ravdess"].read(path, {})
    assert [clip.clip_id for clip in listing.clips] == [GOOD[:-4]]
    assert "bytes would unpack to 83886080: not unpacked" in reasons(listing)[f"a.zip::{OTHER}"]


@pytest.mark.parametrize(
    ("size", "packed", "refused"),
    [
        (archives.MOST_BYTES + 1, 2**32, True),
        (archives.MOST_BYTES, 2**31, False),
        (2**30, 2**20 + 2**15, False),
        (2**30, 2**20, True),
        (2**26, 100, False),
    ],
)
def test_what_may_be_unpacked(size, packed, refused):
    member = zipfile.ZipInfo("a.wav")
    member.file_size, member.compress_size = size, packed
    assert (archives.find_trouble(member) is not None) is refused


def test_large_members_are_unpacked_beside_the_memory(wav, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_IN_MEMORY", 100)
    text = "03-01-06-01-01-01-01.wav"
    members = {GOOD: wav, OTHER: wav, text: b"no audio" * 99}
    path = write_zip(tmp_path / "a.zip", members, zipfile.ZIP_STORED)
    edit_entry(path, OTHER, 16, b"\0\0\0\0")
    preparation = prepare("ravdess", path, tmp_path / "out")
    assert [clip.num_samples for clip in preparation.corpus.clips] == [8000]
    damaged, no_audio = (item.reason for item in preparation.quarantined)
    assert "Bad CRC-32" in damaged and "can't be decoded as audio" in no_audio


def test_no_archive_at_all(tmp_path):
    for content in (b"", b"PK", b"PK\x05\x06" + bytes(18)):
        (tmp_path / "a.zip").write_bytes(content)
        with pytest.raises(UserError, match="expected (a zip archive|audio files)"):
            prepare("ravdess", tmp_path / "a.zip", tmp_path / "out")

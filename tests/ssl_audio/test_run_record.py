"""A run is stamped with the commit that it began with."""

import subprocess

from ssl_audio.run_record import code_sha256, git_commit


def test_the_commit_is_asked_for_once(monkeypatch):
    git_commit.cache_clear()
    first = git_commit()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: 1 / 0)
    assert git_commit() == first


def test_other_code_has_another_hash(tmp_path):
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "a.py").write_text("A = 1\n")
    code_sha256.cache_clear()
    first = code_sha256(tmp_path)
    assert code_sha256(tmp_path) == first
    (tmp_path / "room" / "a.py").write_text("A = 2\n")
    (tmp_path / "room" / "notes.txt").write_text("no code")
    code_sha256.cache_clear()
    assert code_sha256(tmp_path) != first

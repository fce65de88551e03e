import os
import subprocess
import sys

import pytest
import typer

from ssl_audio import cli
from ssl_audio.errors import DataError
from tests.ssl_audio.launching import run_command

USAGE = {
    "no command": ((), "Missing command", ""),
    "no such command": (("train",), "No such command 'train'", ""),
    "no such option": (("pretrain", "--out", "x"), "No such option: --out", " pretrain"),
    "missing option": (("prepare", "csv", "x"), "Missing option '--output'", " prepare"),
    "missing argument": (("prepare", "--output", "x"), "Missing argument", " prepare"),
    "not a number": (("quickstart", "--minutes", "few"), "'--minutes'", " quickstart"),
    "out of range": (("quickstart", "--minutes", "0.1"), "greater than or equal", " quickstart"),
}


def run_app(monkeypatch, error):
    """Runs a command line whose one command fails with ``error``; gives its exit code."""
    app = cli.build_app("An example.")

    @app.command()
    def work() -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["program", "work"])
    with pytest.raises(SystemExit) as stopped:
        cli.run(app, "program")
    return stopped.value.code


@pytest.mark.parametrize("name", USAGE)
def test_usage_errors_are_one_line_that_names_help(name, monkeypatch, capsys):
    from ssl_audio.__main__ import app

    arguments, message, command = USAGE[name]
    monkeypatch.setattr(sys, "argv", ["ssl_audio", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.run(app, "ssl_audio")
    out, err = capsys.readouterr()
    assert stopped.value.code == 2 and out == ""
    (line,) = err.splitlines()
    assert line.startswith("error: ") and message in line
    assert line.endswith(f"; see python -m ssl_audio{command} --help")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DataError("too\n  short"), "too short"),
        (PermissionError(13, "Permission denied", "out/x"), "out/x: Permission denied"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("Cannot save file into 'no/such'"), "Cannot save file into 'no/such'"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(error, line, monkeypatch, capsys):
    assert run_app(monkeypatch, error) == 2
    assert capsys.readouterr() == ("", f"error: {line}\n")


@pytest.mark.parametrize(
    "error", [ImportError("other"), ModuleNotFoundError("x"), ValueError("bug"), KeyError("bug")]
)
def test_bugs_keep_their_traceback(error, monkeypatch):
    with pytest.raises(type(error)):
        run_app(monkeypatch, error)


@pytest.mark.parametrize(
    ("error", "code", "err"),
    [(typer.Exit(1), 1, ""), (typer.Exit(), 0, ""), (KeyboardInterrupt(), 130, "stopped\n")],
)
def test_other_exit_codes(error, code, err, monkeypatch, capsys):
    assert run_app(monkeypatch, error) == code
    assert capsys.readouterr() == ("", err)


def assert_one_line(done, message):
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and message in line


def test_output_that_can_not_be_written(tmp_path, prepared):
    file = tmp_path / "file"
    file.touch()
    prepare = ("ssl_audio", "prepare", "synthetic", "--output", file / "out")
    assert_one_line(run_command(*prepare), f"{file}: ")
    data = f"data.corpus={prepared}"
    done = run_command("ssl_audio", "pretrain", "--set", data, "--output", file)
    assert_one_line(done, f"{file}")


@pytest.mark.slow
def test_a_broken_pair_of_torch_and_torchaudio_is_one_line(tmp_path):
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio" / "__init__.py").write_text("raise OSError('undefined symbol')")
    done = subprocess.run(
        [sys.executable, "-m", "ssl_audio", "pretrain", "--print-config"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert_one_line(done, "install torch==2.11.* with torchaudio==2.11.*")


def test_the_cpu_is_used_where_there_are_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    cli.use_device(None)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    cli.use_device("cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""

"""What the three command lines share: options, errors and exit codes. Imports no torch."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ssl_audio.config import ConfigType, dump_config, load_config
from ssl_audio.errors import UserError

STOPPED = 130
"""The exit code that typer makes of Ctrl-C."""

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="YAML recipe; without one, the defaults in code.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one value, e.g. train.lr=1e-4."),
]
OutputOption = Annotated[Path, typer.Option("--output", help="Folder to write to.")]
OptionalOutputOption = Annotated[
    Path | None, typer.Option("--output", help="Folder to write to (not for --print-config).")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on from the newest whole checkpoint in --output.")
]
PrintConfigOption = Annotated[
    bool, typer.Option("--print-config", help="Print the resolved configuration and stop.")
]


def build_app(help_text: str) -> typer.Typer:
    """An empty command line with the house's settings."""
    app = typer.Typer(help=help_text, add_completion=False, pretty_exceptions_enable=False)
    # A callback keeps a command line with one command from losing that command's name.
    app.callback()(lambda: None)
    return app


def resolve(
    config_type: type[ConfigType],
    path: Path | None,
    overrides: list[str] | None,
    print_config: bool,
) -> ConfigType:
    """The configuration of a command; prints it and leaves if that was asked for."""
    config = load_config(config_type, path, overrides or [])
    if print_config:
        print(dump_config(config), end="")
        raise typer.Exit
    return config


def needed(output: Path | None) -> Path:
    """The output folder of a command that writes.

    Raises:
        UserError: none was given.
    """
    if output is None:
        raise UserError("--output is needed: name a folder to write to")
    return output


def run(app: typer.Typer, name: str) -> None:
    """Runs a command line: exit 0 success, 1 the check failed, 2 the user's mistake, one line."""
    try:
        code = app(prog_name=f"python -m {name}", standalone_mode=False)
    except typer.TyperException as error:
        _fail(_describe_usage_error(error, f"python -m {name}"))
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        _fail(_describe_os_error(error))
    except ImportError:
        if (message := _describe_torchaudio_error()) is None:
            raise
        _fail(message)
    if code == STOPPED:
        print("stopped", file=sys.stderr)
    sys.exit(code)


def _fail(message: str) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def _describe_usage_error(error: typer.TyperException, program: str) -> str:
    """What came, and whose ``--help`` tells what was expected."""
    context: typer.Context | None = getattr(error, "ctx", None)
    command = context.command_path if context else program
    return f"{error.format_message().rstrip('. ')}; see {command} --help"


def _describe_os_error(error: OSError) -> str:
    """Without a reason of the system's, it may be a library that does not load."""
    if error.strerror is None:
        return _describe_torchaudio_error() or str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _describe_torchaudio_error() -> str | None:
    """What ``ssl_audio.features`` says of a torchaudio that does not fit torch, else None.

    transformers imports torchaudio too, and stumbles over it without saying what to do.
    """
    try:
        import ssl_audio.features  # noqa: F401
    except ModuleNotFoundError:
        return None
    except ImportError as error:
        return str(error)
    return None

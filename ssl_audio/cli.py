"""What the three command lines share: options, errors and exit codes. Imports no torch."""

import os
import re
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ssl_audio.config import ConfigType, dump_config, load_config
from ssl_audio.errors import ConfigError, Interrupted, UserError

STOPPED = 130
"""The exit code that typer makes of Ctrl-C."""
INTERRUPTED = 75
"""EX_TEMPFAIL of sysexits.h: the same command with ``--resume`` goes on."""

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
DeviceOption = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda or cuda:N (default: the GPU that is there)."),
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


def use_device(device: str | None) -> None:
    """Leaves this process the device that was asked for; to be called before torch is imported.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:N``; None leaves everything as it is.

    Raises:
        ConfigError: another name, or no such GPU.
    """
    if device is None:
        return
    asked = re.fullmatch(r"cpu|cuda(?::(\d+))?", device)
    if not asked:
        raise ConfigError(f"--device {device}: choose cpu, cuda or cuda:N")
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return
    import torch

    number, count = int(asked[1] or 0), torch.cuda.device_count()
    if number >= count:
        raise ConfigError(f"--device {device}: torch finds {count} GPUs here; choose cpu")
    torch.cuda.set_device(number)


def run(app: typer.Typer, name: str) -> None:
    """Runs a command line: exit 0 success, 1 the check failed, 2 the user's mistake, one line.

    75 is a run that was asked to stop and can be resumed.
    """
    try:
        code = app(prog_name=f"python -m {name}", standalone_mode=False)
    except typer.TyperException as error:
        _fail(_describe_usage_error(error, f"python -m {name}"))
    except UserError as error:
        _fail(str(error))
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(INTERRUPTED)
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

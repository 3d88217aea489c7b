"""One line on stderr for everything that a person can put right, and the exit code for it."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping, Sequence
from typing import Any, NoReturn

import click

from anyclaude.errors import AnyclaudeError, ConfigError, UsageError

INTERRUPTED = 130


class Program(click.Group):
    """The top group: turns exceptions into lines and exit codes, never into tracebacks."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        options: MutableMapping[str, Any] = {
            "args": args,
            "prog_name": prog_name or "anyclaude",
            "complete_var": complete_var,
            "windows_expand_args": windows_expand_args,
            **extra,
        }
        if not standalone_mode:
            return super().main(standalone_mode=False, **options)
        try:
            code = super().main(standalone_mode=False, **options)
        except click.Abort:
            sys.exit(INTERRUPTED)
        except click.UsageError as error:
            _fail(_usage(error), error.exit_code)
        except click.ClickException as error:
            _fail(error.format_message(), error.exit_code)
        except AnyclaudeError as error:
            _fail(str(error), 2 if isinstance(error, ConfigError | UsageError) else 1)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            _fail(f"{where}{error.strerror or error}", 1)
        sys.exit(code if isinstance(code, int) else 0)


def _usage(error: click.UsageError) -> str:
    """Click's several lines as one."""
    if error.ctx is None:
        return error.format_message()
    message = " ".join(error.format_message().split())
    return f"{error.ctx.command_path}: {message} See '{error.ctx.command_path} --help'."


def _fail(message: str, code: int) -> NoReturn:
    for line in message.splitlines():
        click.echo(line if line.startswith("anyclaude") else f"anyclaude: {line}", err=True)
    sys.exit(code)

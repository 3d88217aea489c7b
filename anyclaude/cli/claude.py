"""The Claude Code program: where it is, and running it in our place."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from anyclaude.config.layers import CLAUDE_VARIABLE
from anyclaude.errors import UsageError

INSTALL = "npm install -g @anthropic-ai/claude-code"


def find_claude(chosen: str | None, env: Mapping[str, str]) -> Path:
    """The program named by the option, by ``ANYCLAUDE_CLAUDE``, or on PATH; or UsageError."""
    for origin, name in (("--claude", chosen), (CLAUDE_VARIABLE, env.get(CLAUDE_VARIABLE))):
        if name:
            found = shutil.which(os.path.expanduser(name), path=env.get("PATH"))
            if found is None:
                raise UsageError(f"{origin} {name} is no program that can be run")
            return Path(found)
    found = shutil.which("claude", path=env.get("PATH"))
    if found is None:
        raise UsageError(
            f"claude isn't on PATH; install it with '{INSTALL}', or name it with --claude or"
            f" {CLAUDE_VARIABLE}"
        )
    return Path(found)


def run_claude(program: Path, arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Runs it to its end and gives its exit code; 128 + n when signal n ended it.

    The terminal's own Ctrl-C reaches it directly and is its business; what is sent to us is
    passed on. When it stops itself (Ctrl-Z) we stop too, so that the shell gets the terminal.
    """
    process: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, frame: FrameType | None) -> None:
        if process is not None and process.returncode is None:
            process.send_signal(number)

    def leave(number: int, frame: FrameType | None) -> None:
        """A handler instead of SIG_IGN, which the child would inherit."""

    handlers = {signal.SIGINT: leave, signal.SIGTERM: pass_on, signal.SIGHUP: pass_on}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        process = subprocess.Popen([program, *arguments], env=dict(env))
        code = _wait(process.pid)
        process.returncode = code
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _wait(pid: int) -> int:
    while True:
        _, status = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.kill(pid, signal.SIGCONT)

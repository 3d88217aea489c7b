"""The console in a real terminal that goes away."""

from __future__ import annotations

import errno
import io
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tui.terminal import Forgiving

PATIENCE = 60.0


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.EIO, "gone")


def test_what_cannot_be_written_is_dropped() -> None:
    file = Forgiving(Closed())
    assert file.write("abc") == 3
    assert file.gone
    file.flush()


def test_a_file_that_is_there_gets_everything() -> None:
    inner = io.StringIO()
    file = Forgiving(inner)
    file.write("abc")
    file.flush()
    assert inner.getvalue() == "abc" and not file.gone


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_a_closed_window_ends_the_console_and_its_server(tmp_path: Path) -> None:
    """A session of its own on a terminal that is then closed, as a window is."""
    environment = {
        **os.environ,
        "ANYCLAUDE_DATA_DIR": str(tmp_path),
        "ANYCLAUDE_SERVER_PORT": "0",
        "ANYCLAUDE_BACKENDS_MLX_ENABLED": "false",
        "TERM": "xterm-256color",
    }
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tui"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        start_new_session=True,
        preexec_fn=_own_terminal,
    )
    os.close(slave)
    try:
        _read_until(master, b"anyclaude")
        os.close(master)
        assert process.wait(PATIENCE) is not None
    finally:
        process.kill()
        process.wait()


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _read_until(file: int, text: bytes) -> None:
    seen, until = b"", time.monotonic() + PATIENCE
    while text not in seen:
        assert select.select([file], [], [], until - time.monotonic())[0], seen
        seen += os.read(file, 1 << 16)

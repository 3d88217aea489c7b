"""What the console writes to, made to outlive the terminal.

Textual writes on a thread with a short queue. When the window is closed that thread would end with
an error, the queue fill, and the loop wait for it for ever: with the server, and a model in memory,
behind a console that nobody can see. Here what can't be written any more is dropped instead, so
that the hang-up's signal ends the console as it should.
"""

from __future__ import annotations

import sys
from typing import TextIO


class Forgiving:
    """A terminal's file that may go away; everything else is the file's own."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.gone = False

    def write(self, text: str) -> int:
        if not self.gone:
            try:
                return self._file.write(text)
            except OSError:
                self.gone = True
        return len(text)

    def flush(self) -> None:
        if not self.gone:
            try:
                self._file.flush()
            except OSError:
                self.gone = True

    def fileno(self) -> int:
        return self._file.fileno()

    def isatty(self) -> bool:
        return self._file.isatty()


def outlive_terminal() -> None:
    """Textual takes its file from ``sys.__stderr__``."""
    file = sys.__stderr__
    if file is not None:
        sys.__stderr__ = Forgiving(file)  # type: ignore[misc, assignment]

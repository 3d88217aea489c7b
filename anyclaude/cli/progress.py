"""Progress of a long step on stderr: a bar on a terminal, else a line for every tenth."""

from __future__ import annotations

import sys
from types import TracebackType

import click


class Reporter:
    """Shows a fraction from 0 to 1. Use it as a context, so that the bar is always closed."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._detail = ""
        self._tenth = -1
        self._bar = _Bar(label) if sys.stderr.isatty() else None

    def update(self, fraction: float, detail: str = "") -> None:
        fraction = min(1.0, max(0.0, fraction))
        if self._bar is not None:
            self._bar.update(fraction, detail or self._label)
            return
        if detail != self._detail:
            self._detail, self._tenth = detail, -1
        if int(fraction * 10) > self._tenth:
            self._tenth = int(fraction * 10)
            what = f"{self._label}: {detail}" if detail else self._label
            click.echo(f"{what} {self._tenth * 10}%", err=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Bar:
    def __init__(self, label: str) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self._escape = escape
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task(escape(label), total=1.0)
        self._progress.start()

    def update(self, fraction: float, text: str) -> None:
        self._progress.update(self._task, completed=fraction, description=self._escape(text))

    def close(self) -> None:
        self._progress.stop()

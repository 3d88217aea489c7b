"""Where the whole answer to a query goes: a file, and what kind of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Click, Resize
from textual.screen import ModalScreen
from textual.widgets import Input, Static
from textual.worker import Worker

from anyclaude.control import Control
from anyclaude.errors import AnyclaudeError
from anyclaude.records import ExportFormat
from tui import format as f
from tui.dialogs.choices import content
from tui.lines import Span, line
from tui.resizing import skip_stale
from tui.sql.target import FORMATS, format_of, with_format
from tui.widgets.foot import Foot

_ABOUT: dict[ExportFormat, str] = {
    "csv": "CSV: one line per row; lists and objects as JSON.",
    "json": "JSON: an array with an object per row.",
    "parquet": "Parquet: columns with the types of the query.",
}
_GAP = 3


class Formats(Static):
    """The formats in a row; a click picks one."""

    def on_click(self, event: Click) -> None:
        at = 1
        for name in FORMATS:
            at += len(name) + _GAP
            if event.x < at:
                self.screen.run_worker(self.screen.run_action(f"format({name!r})"))
                return


class SqlExport(ModalScreen[str], inherit_bindings=False):
    """Asks for a file and has every row written to it; ends with what was done.

    Stays open until the file is complete, or says why it can't be. Escape stops the writing.
    """

    DEFAULT_CSS = """
    SqlExport { align: center middle; }
    SqlExport > Vertical { width: 84; height: auto; }
    SqlExport Formats { height: 1; margin: 1 0 0 0; }
    SqlExport Horizontal { height: 1; margin: 1 0 0 0; }
    SqlExport #sql-export-label { width: 7; color: $text-muted; }
    SqlExport Input { width: 1fr; background: $panel; color: $foreground; }
    SqlExport .note { height: auto; margin: 1 0; padding: 0 1; color: $text-muted; }
    SqlExport .note.-problem { color: $error; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "write", "Write", key_display="⏎", priority=True, id="sql_export.write"),
        Binding(
            "down,tab", "turn(1)", "Format", key_display="↑↓", priority=True, id="sql_export.next"
        ),
        Binding(
            "up,shift+tab",
            "turn(-1)",
            "Format before",
            show=False,
            priority=True,
            id="sql_export.previous",
        ),
        Binding("escape", "close", "Close", key_display="esc", id="sql_export.close"),
    ]

    def __init__(
        self,
        control: Callable[[], Control | None],
        now: Callable[[], float],
        query: str,
        path: Path,
    ) -> None:
        super().__init__()
        self._control = control
        self._now = now
        self._query = query
        self._path = path
        self._writing: Worker[None] | None = None
        self._since = 0.0
        self._replace = ""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Export the whole result"
            yield Formats("", markup=False)
            with Horizontal():
                yield Static(" file", id="sql-export-label", markup=False)
                entry = Input(str(self._path), compact=True, select_on_focus=False)
                entry.cursor_blink = False
                yield entry
            yield Static("", classes="note", markup=False)
            yield Foot()

    def on_mount(self) -> None:
        entry = self.query_one(Input)
        entry.focus()
        # A name longer than its place is seen by its end.
        self.call_after_refresh(entry.action_end)
        self._show()

    def on_resize(self, event: Resize) -> None:
        skip_stale(self, event)

    def sync(self) -> None:
        """On the tick: how long the writing has gone on."""
        if self._writing is not None:
            passed = f.span(max(0.0, self._now() - self._since))
            self._say(f"Writing … {passed}   esc stops it and leaves no file")

    @property
    def _text(self) -> str:
        return self.query_one(Input).value

    def _show(self) -> None:
        chosen = format_of(self._text)
        spans: list[Span] = [(" ", "text")]
        for name in FORMATS:
            spans += [(name, "pick" if name == chosen else "muted"), (" " * _GAP, "text")]
        self.query_one(Formats).update(content(line(*spans)))
        if chosen is None:
            self._say("The file's ending says the format: .csv, .json or .parquet.")
        else:
            self._say(f"{_ABOUT[chosen]} Every row, not only those on show.")

    def _say(self, text: str, *, problem: bool = False) -> None:
        note = self.query_one(".note", Static)
        note.set_class(problem, "-problem")
        note.update(content(line(text)))

    def on_input_changed(self) -> None:
        self._replace = ""
        if self._writing is None:
            self._show()

    # ---------------------------------------------------------------------------------- keys

    def action_turn(self, step: int) -> None:
        now = format_of(self._text)
        at = FORMATS.index(now) + step if now else 0
        self.action_format(FORMATS[at % len(FORMATS)])

    def action_format(self, name: ExportFormat) -> None:
        if self._writing is None:
            entry = self.query_one(Input)
            entry.value = with_format(self._text, name)
            entry.cursor_position = len(entry.value)

    def action_write(self) -> None:
        if self._writing is not None:
            return
        text, format = self._text.strip(), format_of(self._text)
        control = self._control()
        if format is None:
            self._say("End the name with .csv, .json or .parquet.", problem=True)
            return
        if control is None:
            self._say("The server is not up yet.", problem=True)
            return
        path = Path(text).expanduser()
        if path.is_dir():
            self._say(f"{path} is a folder; name a file in it.", problem=True)
        elif path.exists() and self._replace != text:
            self._replace = text
            self._say(f"{path} is there already. ⏎ again replaces it.", problem=True)
        else:
            self._since = self._now()
            work = self._write(control, path, format, self._replace == text)
            self._writing = self.run_worker(work, exit_on_error=False)
            self.sync()

    async def _write(
        self, control: Control, path: Path, format: ExportFormat, replace: bool
    ) -> None:
        try:
            rows = await control.export_sql(self._query, path, format, replace)
        except AnyclaudeError as error:
            self._writing = None
            self._say(error.message, problem=True)
        except BaseException:
            self._writing = None
            if self.is_running:
                self._say("Stopped; there is no file.", problem=True)
            raise
        else:
            self._writing = None
            self.dismiss(f"{rows:,} row{'' if rows == 1 else 's'} written to {path}")

    def action_close(self) -> None:
        if self._writing is not None:
            self._say("Stopping …")
            self._writing.cancel()
        else:
            self.dismiss(None)

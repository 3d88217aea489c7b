"""A list to choose one thing from: the list itself, and the dialog that is nothing but it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.events import Resize
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui.lines import Line, Tone, line
from tui.resizing import skip_stale
from tui.widgets.foot import Foot

STYLES: dict[Tone, str] = {
    "text": "",
    "muted": "$text-muted",
    "strong": "bold",
    "accent": "$accent",
    "ok": "$success",
    "warn": "$warning",
    "error": "$error",
    "run": "$primary",
    "think": "italic $text-muted",
    "pick": "bold $accent",
}


def content(entry: Line) -> Content:
    """A line as a widget that wraps by itself takes it."""
    return Content.assemble(*((text, STYLES[tone]) for text, tone in entry.spans))


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of a list; one that can't be chosen is there to say why, or as a heading."""

    id: str
    text: Line
    enabled: bool = True


class Marked(OptionList):
    """Lines of one row each; a bar before the one under the cursor, as in the request list."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"tone--pick"}

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        if self.scroll_offset.y + y != self.highlighted:
            return strip
        bar = self.get_component_rich_style("tone--pick")
        under = next(iter(strip), Segment("")).style
        style = Style(bgcolor=under.bgcolor if under else None, color=bar.color, bold=True)
        return Strip([Segment("▌", style), *strip.crop(1)], strip.cell_length)


class Choices(Marked, inherit_bindings=False):
    """The list: arrows, letters and the mouse move, enter and a click choose."""

    DEFAULT_CSS = """
    Choices {
        height: auto;
        border: none;
        background: $surface;
        padding: 0;
        scrollbar-size-vertical: 1;
        text-wrap: nowrap;
        text-overflow: ellipsis;
    }
    Choices:focus { border: none; background-tint: $surface 0%; }
    Choices > .option-list--option { padding: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select", "Choose", key_display="⏎", id="choices.choose"),
        Binding("j,down", "cursor_down", "Down", show=False, id="choices.down"),
        Binding("k,up", "cursor_up", "Up", show=False, id="choices.up"),
        Binding("pagedown", "page_down", "Page down", show=False, id="choices.pagedown"),
        Binding("pageup", "page_up", "Page up", show=False, id="choices.pageup"),
        Binding("g,home", "first", "First", show=False, id="choices.first"),
        Binding("G,end", "last", "Last", show=False, id="choices.last"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self._choices: tuple[Choice, ...] = ()

    def show(self, choices: Sequence[Choice], *, at: int | None = None) -> None:
        """Replaces the lines; the cursor stays on its choice, or goes to ``at``."""
        kept = self.chosen
        self._choices = tuple(choices)
        self.clear_options()
        self.add_options(
            Option(content(c.text), id=f"choice-{number}", disabled=not c.enabled)
            for number, c in enumerate(choices)
        )
        usable = [number for number, c in enumerate(choices) if c.enabled]
        same = next((n for n in usable if choices[n].id == kept), None)
        wanted = at if at in usable else same
        self.highlighted = wanted if wanted is not None else next(iter(usable), None)

    @property
    def chosen(self) -> str | None:
        """The id of the choice under the cursor."""
        at = self.highlighted
        return self._choices[at].id if at is not None and at < len(self._choices) else None

    def choice(self, event: OptionList.OptionMessage) -> str:
        """The id of the choice that a message is about."""
        return self._choices[event.option_index].id


class Chooser(ModalScreen[str], inherit_bindings=False):
    """Asks for one of several things; ends with its id, or ``None`` when it was left."""

    DEFAULT_CSS = """
    Chooser { align: center middle; }
    Chooser > Vertical { width: 72; height: auto; }
    Chooser Choices { max-height: 20; margin: 1 0 0 0; }
    Chooser .note { height: auto; margin: 1 0; padding: 0 1; color: $text-muted; }
    Chooser .note.-problem { color: $error; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "Close", key_display="esc", id="chooser.close"),
    ]

    def __init__(self, title: str, choices: Sequence[Choice], note: str) -> None:
        super().__init__()
        self._title = title
        self._choices = choices
        self._note = note

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Content(self._title)
            yield Choices()
            yield Static(Content(self._note), classes="note", markup=False)
            yield Foot()

    def on_mount(self) -> None:
        self.query_one(Choices).show(self._choices)
        self.query_one(Choices).focus()

    def on_resize(self, event: Resize) -> None:
        skip_stale(self, event)

    def show_problem(self, problem: str) -> None:
        """Says in place what went wrong."""
        note = self.query_one(".note", Static)
        note.add_class("-problem")
        note.update(content(line(problem)))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self.query_one(Choices).choice(event))

    def action_close(self) -> None:
        self.dismiss(None)

"""The model picker: what is on this machine, whether it fits, and the load as it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Resize
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from anyclaude.control import ModelInfo
from anyclaude.events import EngineState, PullState
from tui import format as f
from tui.dialogs.choices import Marked
from tui.lines import Line, Span, fit, line, meter
from tui.resizing import skip_stale
from tui.state import Store
from tui.widgets.foot import Foot
from tui.widgets.page import Page

_BAR = 28
_EXAMPLE = "owner/name of a model at Hugging Face"


class ModelList(Marked, inherit_bindings=False):
    """The models, one line each."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select", "Load", key_display="⏎", id="models.load"),
        Binding("j,down", "cursor_down", "Down", show=False, id="models.down"),
        Binding("k,up", "cursor_up", "Up", show=False, id="models.up"),
    ]


class ModelPicker(ModalScreen[None]):
    """Stays open while a model loads or comes, so that its progress can be watched."""

    DEFAULT_CSS = """
    ModelPicker #model-pull { height: 1; margin: 1 0 0 0; background: $panel; }
    ModelPicker #model-pull-label { width: 6; color: $accent; background: $panel; }
    ModelPicker Input { width: 1fr; background: $panel; color: $foreground; }
    ModelPicker Input:focus { background-tint: $panel 0%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pull", "Pull", tooltip="Download a model by name", id="models.pull"),
        Binding("u", "unload", "Unload", id="models.unload"),
        Binding("escape,m,q", "close", "Close", key_display="esc", id="models.close"),
    ]

    class Load(Message):
        """Someone picked a model."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class Unload(Message):
        """Someone wants the memory back."""

    class Pull(Message):
        """Someone named a model to download."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class Pulled(Message):
        """A download ended well, so that there is another model to list."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._models: Sequence[ModelInfo] = ()
        self._store = store
        self._engine = store.engine
        # What was pulled before is no news.
        self._pull = store.pull
        self._old_pull = store.pull if store.pull and store.pull.phase != "downloading" else None
        self._problem = ""

    def compose(self) -> ComposeResult:
        with Vertical(id="models", classes="dialog") as box:
            box.border_title = "Models on this machine"
            yield Static("", id="model-heading", markup=False)
            yield ModelList(id="model-list", markup=False)
            with Horizontal(id="model-pull"):
                yield Static(" pull ", id="model-pull-label", markup=False)
                entry = Input(placeholder=_EXAMPLE, compact=True, select_on_focus=False)
                entry.cursor_blink = False
                yield entry
            yield Page(id="model-state")
            yield Foot()

    def on_mount(self) -> None:
        self.query_one(Page).can_focus = False
        self.query_one("#model-pull").display = False
        self.query_one(ModelList).focus()
        self.call_after_refresh(self._show_state)

    def on_resize(self, event: Resize) -> None:
        skip_stale(self, event)
        self.call_after_refresh(self._show_models)

    def show_models(self, models: Sequence[ModelInfo]) -> None:
        self._models = models
        self.call_after_refresh(self._show_models)

    def show_problem(self, problem: str) -> None:
        self._problem = problem
        self._show_state()

    def sync(self) -> None:
        """Shows the states of engine and download when they are others than before."""
        engine, pull = self._store.engine, self._store.pull
        if (engine, pull) == (self._engine, self._pull):
            return
        loaded = engine.phase != self._engine.phase
        pulled = pull != self._pull and pull is not None and pull.phase == "done"
        self._engine, self._pull = engine, pull
        self._show_state()
        if loaded:
            self._show_models()
        if pulled:
            self.post_message(self.Pulled())

    def _show_models(self) -> None:
        options = self.query_one(ModelList)
        kept = options.highlighted
        room = max(20, options.scrollable_content_region.width - 3)
        heading = _columns("NAME", ("SIZE", "BITS", "CONTEXT", "TOOLS", ""), room)
        self.query_one("#model-heading", Static).update(Content(f"   {heading}"))
        options.clear_options()
        loaded = 0
        for index, model in enumerate(self._models):
            here = self._is_loaded(model)
            loaded = index if here else loaded
            options.add_option(Option(_model_text(model, here, room), id=model.name))
        if self._models:
            options.highlighted = loaded if kept is None else min(kept, len(self._models) - 1)

    def _is_loaded(self, model: ModelInfo) -> bool:
        return self._engine.phase == "ready" and self._engine.model == model.name

    def _show_state(self) -> None:
        self.query_one(Page).show(self._state_lines(), anew=False)

    def _state_lines(self) -> list[Line]:
        lines = [line((f" {self._problem}", "error"), hang=1)] if self._problem else []
        if self._pull is not None and self._pull is not self._old_pull:
            lines += _pull_lines(self._pull)
        return lines or _engine_lines(self._engine)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self._problem = ""
        if event.option_id is not None:
            self.post_message(self.Load(event.option_id))

    def action_unload(self) -> None:
        self._problem = ""
        self.post_message(self.Unload())

    def action_pull(self) -> None:
        """Opens the field for the name of a model to download."""
        self.query_one("#model-pull").display = True
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        name = event.value.strip()
        self._problem = ""
        if name:
            self._old_pull = self._pull
            self.post_message(self.Pull(name))
        self._close_field()

    def _close_field(self) -> None:
        self.query_one(Input).value = ""
        self.query_one("#model-pull").display = False
        self.query_one(ModelList).focus()

    def action_close(self) -> None:
        """Out of the field for a name first, then out of the picker."""
        if self.query_one(Input).has_focus:
            self._close_field()
        else:
            self.dismiss(None)


def _engine_lines(engine: EngineState) -> list[Line]:
    match engine.phase:
        case "loading":
            parts = meter(engine.progress, _BAR)
            head = line(f" Loading {engine.model}  ", (engine.detail, "muted"), hang=1)
            return [head, line(" ", *parts, f" {100 * engine.progress:3.0f}%")]
        case "ready":
            return [line((" ● ", "ok"), f"{engine.model} answers")]
        case "failed":
            return [line((" x ", "error"), engine.detail or "The load failed", hang=3)]
        case _:
            detail: Span = (f": {engine.detail}" if engine.detail else "", "muted")
            return [line((" ○ ", "muted"), "No model is loaded", detail, hang=3)]


def _pull_lines(pull: PullState) -> list[Line]:
    name = f.one_line(pull.name)
    match pull.phase:
        case "downloading":
            lines = [line(f" Pulling {name}  ", (f.one_line(pull.detail), "muted"), hang=1)]
            if pull.total_bytes:
                share = pull.done_bytes / pull.total_bytes
                done = f"  {f.size(pull.done_bytes)} of {f.size(pull.total_bytes)}"
                lines.append(line(" ", *meter(share, _BAR), f" {100 * share:3.0f}%", done))
            return lines
        case "done":
            return [line((" ● ", "ok"), f"{name} is here; ⏎ loads it", hang=3)]
        case "cancelled":
            return [line((" - ", "warn"), f"The download of {name} was stopped", hang=3)]
        case _:
            why = f.one_line(pull.detail) or "no reason was given"
            return [line((" x ", "error"), f"{name} could not be pulled: {why}", hang=3)]


def _columns(name: str, figures: tuple[str, str, str, str, str], room: int) -> str:
    """One line of the list; the name gives way first, then tools and context."""
    size, bits, context, tools, note = figures
    tail = f" {size:>7}  {fit(bits, 7)}"
    if room >= 56:
        tail += f" {context:>7}"
    if room >= 72:
        tail += f"  {tools:<8}"
    tail += f"  {note:<9}"
    return fit(name, max(8, room - 2 - len(tail))) + tail


def _model_text(model: ModelInfo, loaded: bool, room: int) -> Text:
    figures = (
        f.size(model.size_bytes),
        f.one_line(model.quantization),
        f.count(model.context_limit) if model.context_limit else "-",
        f.one_line(model.tools),
        "" if model.fits else "too large",
    )
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(" ● " if loaded else "   ")
    text.append(_columns(f.one_line(model.name), figures, room), "bold" if loaded else "")
    return text

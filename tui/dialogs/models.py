"""The model picker: what is on this machine, whether it fits, and the load as it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.events import Resize
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option

from anyclaude.control import ModelInfo
from anyclaude.events import EngineState
from tui import format as f
from tui.lines import Line, fit, line, meter
from tui.resizing import skip_stale
from tui.widgets.page import Page

_BAR = 28


class ModelList(OptionList, inherit_bindings=False):
    """The models, one line each."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select", "Load", key_display="⏎", id="models.load"),
        Binding("j,down", "cursor_down", "Down", show=False, id="models.down"),
        Binding("k,up", "cursor_up", "Up", show=False, id="models.up"),
    ]


class ModelPicker(ModalScreen[None]):
    """Stays open while a model loads, so that its progress can be watched."""

    BINDINGS: ClassVar[list[BindingType]] = [
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

    def __init__(self, engine: EngineState) -> None:
        super().__init__()
        self._models: Sequence[ModelInfo] = ()
        self._engine = engine
        self._problem = ""

    def compose(self) -> ComposeResult:
        with Vertical(id="models", classes="dialog") as box:
            box.border_title = "Models on this machine"
            yield Static("", id="model-heading", markup=False)
            yield ModelList(id="model-list", markup=False)
            yield Page(id="model-state")
            yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        self.query_one(Page).can_focus = False
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

    def sync(self, engine: EngineState) -> None:
        """Shows the engine's state when it is another than before."""
        if engine != self._engine:
            ended = engine.phase != self._engine.phase
            self._engine = engine
            self._show_state()
            if ended:
                self._show_models()

    def _show_models(self) -> None:
        options = self.query_one(ModelList)
        kept = options.highlighted
        room = max(20, options.scrollable_content_region.width - 2)
        heading = _columns("NAME", ("SIZE", "BITS", "CONTEXT", "TOOLS", ""), room)
        self.query_one("#model-heading", Static).update(Content(f"  {heading}"))
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
        engine = self._engine
        if self._problem:
            return [line((f" {self._problem}", "error"), hang=1)]
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
                return [line((" ○ ", "muted"), "No model is loaded")]

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self._problem = ""
        if event.option_id is not None:
            self.post_message(self.Load(event.option_id))

    def action_unload(self) -> None:
        self._problem = ""
        self.post_message(self.Unload())

    def action_close(self) -> None:
        self.dismiss(None)


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
        model.tools,
        "" if model.fits else "too large",
    )
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("● " if loaded else "  ")
    text.append(_columns(f.one_line(model.name), figures, room), "bold" if loaded else "")
    return text

"""Which model a request is to be run on again."""

from __future__ import annotations

from collections.abc import Sequence

from anyclaude.control import ModelInfo
from tui import format as f
from tui.dialogs.choices import Choice, Choices, Chooser
from tui.lines import line
from tui.request_row import RequestRow

SAME = "same"
_PREFIX = "model:"


class ReplayChooser(Chooser):
    """Ends with :data:`SAME` or with what :func:`model_of` turns into a model's name."""

    def __init__(self, row: RequestRow) -> None:
        self._first = Choice(
            SAME,
            line(
                "   as it was asked    ",
                (f.one_line(row.model_requested) or "?", "strong"),
                (f"  {f.short_model(row.model)}" if row.model else "", "muted"),
            ),
        )
        super().__init__(
            f"Replay {f.short_id(row.id)}",
            [self._first],
            "It runs beside everything else, without a client, and is a request of its own.",
        )

    def show_models(self, models: Sequence[ModelInfo]) -> None:
        """Adds the models of this machine."""
        self.query_one(Choices).show([self._first, *(_choice(model) for model in models)])


def model_of(chosen: str) -> str:
    """The name to send; empty for the one that was asked for then."""
    return "" if chosen == SAME else chosen.removeprefix(_PREFIX)


def _choice(model: ModelInfo) -> Choice:
    note = "loaded" if model.loaded else "" if model.fits else "too large"
    text = line(
        (" ● " if model.loaded else "   ", "ok"),
        (f"{f.size(model.size_bytes):>7}  {note:<9}  ", "muted"),
        f.one_line(model.name),
    )
    return Choice(f"{_PREFIX}{model.name}", text)

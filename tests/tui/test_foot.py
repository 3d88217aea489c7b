"""The foot of a screen: one widget, drawn when its keys are others; each key can be clicked."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.strip import Strip

from tests.tui.conftest import Opener, Stage
from tests.tui.fake_source import NOON, READY, received, request, session
from tui.widgets.foot import Foot


def _foot(stage: Stage) -> Foot:
    return stage.app.main.query_one(Foot)


async def test_it_has_no_widgets_in_it(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        assert len(_foot(stage).hints) > 8 and not _foot(stage).children


async def test_keys_that_stay_the_same_are_not_drawn_again(
    console: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console() as stage:
        await stage.send(READY, *request("0001", NOON))
        drawn: list[int] = []
        real = Foot.render_line

        def counted(self: Foot, y: int) -> Strip:
            drawn.append(y)
            return real(self, y)

        monkeypatch.setattr(Foot, "render_line", counted)
        stage.app.main.refresh_bindings()
        await stage.settle()
        assert not drawn
        await stage.send(*received("0002", NOON))
        assert "X Cancel" in stage.text().splitlines()[-1] and len(drawn) == 1


async def test_what_a_key_does_shows_under_the_mouse(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        foot = _foot(stage)
        text = stage.text().splitlines()[-1]
        assert foot.tooltip is None
        await stage.pilot.hover(offset=(text.index("F Flush"), 39))
        flush = next(hint for hint in foot.hints if hint.text == "Flush")
        assert foot.tooltip == flush.tooltip != ""
        plain, under = (foot.render_line(0).crop(x - 1, x + 1) for x in (1, text.index("F Flush")))
        assert [s.style and s.style.bgcolor for s in under] != [
            s.style and s.style.bgcolor for s in plain
        ]
        await stage.pilot.hover(offset=(10, 10))
        assert foot.tooltip is None


class Doors(App[None]):
    """Two keys, one of which can't be used now."""

    BINDINGS: list[BindingType] = [  # noqa: RUF012
        Binding("o", "swing(1)", "Open"),
        Binding("c", "bar", "Close"),
        Binding("p", "swing(1)", "Push"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.swung = 0

    def compose(self) -> ComposeResult:
        yield Foot()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return None if action == "bar" else True

    def action_swing(self, by: int) -> None:
        self.swung += by

    def action_bar(self) -> None:
        raise AssertionError("it is barred")


async def test_a_key_that_cannot_be_used_is_dim_and_does_nothing() -> None:
    app = Doors()
    async with app.run_test(size=(60, 5)) as pilot:
        await pilot.pause()
        foot = app.query_one(Foot)
        strip = foot.render_line(0)
        # A second key for the same thing has no place of its own.
        assert strip.text.startswith("o Open c Close ") and "Push" not in strip.text
        dim = {s.text.strip() for s in strip if s.style and s.style.dim}
        assert dim == {"c", "Close"}
        await pilot.click(offset=(1 + strip.text.index("Close"), 4))
        await pilot.click(offset=(1 + strip.text.index("Open"), 4))
        await pilot.click(offset=(50, 4))
        await pilot.pause()
        assert app.swung == 1

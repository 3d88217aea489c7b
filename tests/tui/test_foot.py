"""The keys at the foot: what they say, what fits, and that a mouse can press them."""

from __future__ import annotations

import pytest

from tests.tui.conftest import Opener, Stage
from tests.tui.fake_source import session
from tui.dialogs.confirm import Confirm
from tui.dialogs.help import Help
from tui.widgets.foot import Foot


def _line(stage: Stage) -> str:
    return stage.text().splitlines()[-1]


def _foot(stage: Stage) -> Foot:
    return stage.app.screen.query_one(Foot)


async def test_a_click_presses_the_key_that_stands_there(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("k")
        for words, screen in (("? Help", Help), ("X Cancel", Confirm)):
            at = _line(stage).index(words)
            for x in (at, at + len(words) - 1):
                await stage.pilot.click(Foot, offset=(x, 0))
                await stage.settle()
                assert isinstance(stage.app.screen, screen)
                await stage.press("escape")
        await stage.pilot.click(Foot, offset=(_line(stage).index("? Help") - 1, 0))
        await stage.settle()
        assert stage.app.screen is stage.app.main


async def test_the_key_under_the_mouse_stands_out_and_is_explained(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        foot, plain = _foot(stage), stage.picture()
        await stage.pilot.hover(Foot, offset=(_line(stage).index("? Help"), 0))
        await stage.settle()
        assert foot.tooltip == "All keys" and stage.picture() != plain
        await stage.pilot.hover("#list", offset=(3, 3))
        await stage.settle()
        assert foot.tooltip is None and stage.picture() == plain


@pytest.mark.parametrize("width", [40, 57, 80, 119])
async def test_what_does_not_fit_is_left_out_whole(console: Opener, width: int) -> None:
    async with console(size=(width, 20)) as stage:
        await stage.send(*session())
        keys = [f"{key.label} {key.name}" for key in _foot(stage)._keys]
        line = _line(stage).removeprefix(" ")
        count = next(n for n in range(len(keys), 0, -1) if " ".join(keys[:n]) == line)
        assert len(f"{line} {keys[count]}") > width - 1


async def test_it_is_drawn_anew_only_when_it_says_something_else(
    console: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("2")
        drawn: list[object] = []
        monkeypatch.setattr(Foot, "_draw", lambda foot: drawn.append(foot))
        await stage.press("4", "j", "2")
        assert drawn == []
        await stage.press("1")
        assert drawn != []

"""Text can be read: every pair of colours that the console draws, in every theme.

WCAG 2 AA asks for 4.5:1. The ANSI themes are left out: which colours theirs are, the terminal
decides. What is not text is left out too: borders, bars and little plots, which repeat in colour
what stands beside them in figures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
from rich.color import Color as RichColor
from rich.style import Style
from textual.color import Color
from textual.screen import ModalScreen
from textual.strip import Strip

from anyclaude.config.settings import UiSettings
from anyclaude.events import EngineState, ToolCallSeen
from tests.tui import inspector_scene, key_scenes
from tests.tui.conftest import Opener, Stage
from tests.tui.fake_source import MODEL, NOON, REPAIRED, session
from tests.tui.key_scenes import PLACES, at
from tui.lines import TONES
from tui.themes import load_themes, theme_folder
from tui.widgets.page import Page

AA, AAA = 4.5, 7.0
READABLE = tuple(t.name for t in load_themes([theme_folder()]).themes if not t.ansi)
ANSI = tuple(t.name for t in load_themes([theme_folder()]).themes if t.ansi)
SURFACES = ("background", "surface", "panel", "block-cursor-background")
TEXTS = ("foreground", "text-muted", "accent", "success", "warning", "error", "primary")
MUTED = ("error-muted", "warning-muted", "primary-muted")
# Box drawing, blocks and braille: borders, bars, meters, plots, scrollbars.
_DRAWN = re.compile("[\\s─-▟⠀-⣿▔▁🮂]*")
# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
_BLIND = {
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216),
               (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413),
               (-0.011820, 0.042940, 0.968881)),
}  # fmt: skip


def _linear(color: Color) -> tuple[float, float, float]:
    r, g, b = (
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
        for v in (part / 255 for part in color.rgb)
    )
    return r, g, b


def _ratio(one: Color, other: Color) -> float:
    lights = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in map(_linear, (one, other)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def _drawn(strips: list[Strip]) -> Iterator[tuple[str, Style]]:
    for strip in strips:
        for segment in strip:
            if segment.style is not None and not _DRAWN.fullmatch(segment.text):
                yield segment.text, segment.style


def _rich(color: RichColor | None) -> Color:
    assert color is not None, "a text without a colour of its own"
    return Color.from_rich_color(color)


def _check(stage: Stage, where: str, least: float) -> None:
    """Every text on the screen as it is now; of what a dialog lies over and dims, nothing."""
    screen = stage.app.screen
    strips = screen._compositor.render_strips()
    if isinstance(screen, ModalScreen):
        parts = [child.region for child in screen.children if child.region]
        strips = [
            strips[y].crop(part.x, part.right) for part in parts for y in range(part.y, part.bottom)
        ]
    assert strips
    for text, style in _drawn(strips):
        one, other = _rich(style.color), _rich(style.bgcolor)
        if style.reverse:
            one, other = other, one
        ratio = _ratio(one, other)
        assert ratio >= least, f"{where}: {text!r} {one.hex} on {other.hex}: {ratio:.2f}"


async def _in_every_theme(stage: Stage, where: str) -> None:
    for name in READABLE:
        stage.app.theme = name
        await stage.pilot.pause()
        _check(stage, f"{where} in {name}", AAA if name == "anyclaude-contrast" else AA)


async def test_the_main_screen(console: Opener) -> None:
    """In its states, with the filter, the toasts and the banner."""
    async with console(source=key_scenes.source(), toasts=True) as stage:
        await _in_every_theme(stage, "welcome")
        await stage.send(*session(), ToolCallSeen(NOON, REPAIRED))
        stage.clock.advance(4.4)
        for pane in ("1", "2", "3", "4"):
            await stage.press(pane)
            await _in_every_theme(stage, f"pane {pane}")
        await stage.press("1", "slash")
        await _in_every_theme(stage, "an empty filter")
        await stage.press(*"in>x")
        await _in_every_theme(stage, "a filter with a fault")
        await stage.press("escape")
        for severity in ("information", "warning", "error"):
            stage.app._say("Said aloud", severity)
        await stage.settle()
        await _in_every_theme(stage, "toasts")
        stage.app.clear_notifications()
        await stage.send(EngineState("failed", MODEL, 0.0, "[metal::malloc] 9.1 GB"))
        await _in_every_theme(stage, "banner")


async def test_every_tab_of_the_inspector(console: Opener) -> None:
    async with console(source=inspector_scene.source()) as stage:
        await stage.send(*inspector_scene.conversation())
        await stage.press("k", "5")
        for tab in stage.app.main.tabs:
            stage.app.main.inspector.pick(tab)
            stage.app.main.sync_inspector()
            await stage.settle()
            await _in_every_theme(stage, tab)


@pytest.mark.parametrize("title", [title for title in PLACES if title != "Everywhere"])
async def test_every_place_with_keys(console: Opener, title: str, tmp_path: Path) -> None:
    """Rooms and dialogs, each as its keys find it; of the SQL dialogs the first."""
    first = "pick.choose" if title == "SQL dialogs" else ""
    async with at(console, title, first, tmp_path) as stage:
        await _in_every_theme(stage, title)


@pytest.mark.parametrize("name", READABLE)
async def test_the_colours_of_the_theme(console: Opener, name: str) -> None:
    """Every text colour on every ground, whether or not a scene above happens to draw it."""
    async with console(ui=UiSettings(theme=name)) as stage:
        await stage.send(*session())
        variables = stage.app.get_css_variables()
        page = stage.app.main.query_one("#inspector-page", Page)
        grounds = {key: Color.parse(variables[key]) for key in (*SURFACES, *MUTED)}
        grounds["cursor blurred"] = Color.parse(variables["block-cursor-blurred-background"])
        texts = {key: Color.parse(variables[key]) for key in TEXTS}
        for tone in TONES:
            style = page.get_component_rich_style(f"tone--{tone}")
            texts[f"tone {tone}"] = _rich(style.color)
        for ground, under in grounds.items():
            for text, over in texts.items():
                if ground not in MUTED or text == "foreground":
                    ratio = _ratio(over, under)
                    assert ratio >= AA, f"{text} on {ground}: {ratio:.2f}"
        for key in ("footer-key-foreground", "footer-description-foreground"):
            over = Color.parse(variables[key])
            assert _ratio(over, Color.parse(variables["footer-background"])) >= AA, key


@pytest.mark.parametrize("kind", sorted(_BLIND))
def test_the_theme_for_colour_blind_eyes(kind: str) -> None:
    """What is well, what warns and what is wrong stay apart for those who see no red or green:
    as far apart as a blue and a yellow, where a green and a red of one lightness would be one."""
    theme = next(t for t in load_themes([theme_folder()]).themes if t.name.endswith("colorblind"))
    seen = {
        key: _seen(Color.parse(value or ""), kind)
        for key, value in (
            ("success", theme.success),
            ("warning", theme.warning),
            ("error", theme.error),
            ("foreground", theme.foreground),
        )
    }
    for one, other in combinations(seen, 2):
        assert _apart(seen[one], seen[other]) > 25, f"{one} and {other} look alike"


def _seen(color: Color, kind: str) -> tuple[float, float, float]:
    linear = _linear(color)
    r, g, b = (
        min(1.0, max(0.0, sum(k * part for k, part in zip(row, linear, strict=True))))
        for row in _BLIND[kind]
    )
    return r, g, b


def _apart(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """The distance in CIELAB of two linear RGB colours."""
    return sum((a - b) ** 2 for a, b in zip(_lab(one), _lab(other), strict=True)) ** 0.5


def _lab(linear: tuple[float, float, float]) -> tuple[float, float, float]:
    r, g, b = linear
    x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089
    fx, fy, fz = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


@pytest.mark.parametrize("name", ANSI)
async def test_ansi_themes_use_the_terminals_own_colours(console: Opener, name: str) -> None:
    async with console(ui=UiSettings(theme=name)) as stage:
        await stage.send(*session())
        for strip in stage.app.screen._compositor.render_strips():
            for segment in strip:
                style = segment.style
                for color in (style.color, style.bgcolor) if style is not None else ():
                    assert color is None or color.triplet is None, (segment.text, color)


async def test_no_color_sends_no_colours(console: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with console(source=key_scenes.source()) as stage:
        await stage.send(*session())
        for keys in (["k"], ["3"], ["m"]):
            await stage.press(*keys)
            for strip in stage.app.screen._compositor.render_strips():
                written = strip.render(stage.app.console)
                for codes in re.findall(r"\x1b\[([0-9;]*)m", written):
                    assert not re.search(r"(^|;)(3[0-8]|4[0-8]|9\d|10\d)(;|$)", codes), codes
        assert "\x1b[" in written

"""Theme files: what is accepted, what is refused, and that text can be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.color import Color as RichColor
from textual.color import Color

from anyclaude.config.settings import UiSettings
from tests.tui.conftest import Opener
from tests.tui.fake_source import session
from tui.lines import TONES
from tui.themes import load_themes, parse_theme, theme_folder
from tui.widgets.page import Page
from tui.widgets.requests import RequestList

SHIPPED = ("anyclaude-dark", "anyclaude-light")
AA = 4.5


def _luminance(color: Color) -> float:
    parts = (value / 255 for value in color.rgb)
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def _ratio(one: Color, other: Color) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _rich(color: RichColor | None) -> Color:
    assert color is not None
    return Color.from_rich_color(color)


def test_the_shipped_themes_load() -> None:
    found = load_themes([theme_folder()])
    assert tuple(theme.name for theme in found.themes) == SHIPPED
    assert found.notices == ()


@pytest.mark.parametrize("name", SHIPPED)
def test_primary_text_on_every_surface(name: str) -> None:
    theme = next(t for t in load_themes([theme_folder()]).themes if t.name == name)
    text = Color.parse(theme.foreground or "")
    for surface in (theme.background, theme.surface, theme.panel):
        assert _ratio(text, Color.parse(surface or "")) >= AA


@pytest.mark.parametrize("name", SHIPPED)
async def test_every_tone_as_drawn(console: Opener, name: str) -> None:
    async with console(ui=UiSettings(theme=name)) as stage:
        await stage.send(*session())
        for page in (stage.app.main.query_one("#inspector-page", Page), stage.app.main.list):
            for tone in TONES:
                style = page.get_component_rich_style(f"tone--{tone}")
                ratio = _ratio(_rich(style.color), _rich(style.bgcolor))
                assert ratio >= AA, f"{tone} on {page.id}: {ratio:.2f}"


@pytest.mark.parametrize("name", SHIPPED)
async def test_every_tone_under_the_cursor(console: Opener, name: str) -> None:
    async with console(ui=UiSettings(theme=name)) as stage:
        await stage.send(*session())
        rows: RequestList = stage.app.main.list
        for part in ("list--cursor", "list--cursor-blurred"):
            under = _rich(rows.get_component_rich_style(part).bgcolor)
            for tone in TONES:
                over = _rich(rows.get_component_rich_style(f"tone--{tone}").color)
                ratio = _ratio(over, under)
                assert ratio >= AA, f"{tone} on {part}: {ratio:.2f}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('name = "x"', "primary is missing"),
        ('primary = "#fff"', "name is missing"),
        ('name = "x"\nprimary = "blu"', "'blu' is not a colour"),
        ('name = "x"\nprimary = "#fff"\ntint = "#fff"', "tint is not a key"),
        ('name = "x"\nprimary = "#fff"\ndark = "yes"', "dark must be true or false"),
        ('name = "x"\nprimary = 7', "primary must be a string"),
        ('name = "x"\nprimary = "#fff"\ntext_alpha = "a"', "text_alpha must be a number"),
        ('name = "x"\nprimary = "#fff"\nvariables = ["a"]', "variables must be a table"),
        ("name =", "Invalid value"),
    ],
)
def test_a_broken_theme_says_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_theme(text)


def test_a_broken_file_leaves_the_others(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("name = 3")
    (tmp_path / "good.toml").write_text('name = "good"\nprimary = "#ffffff"')
    (tmp_path / "latin.toml").write_bytes(b'name = "\xff"')
    found = load_themes([tmp_path, tmp_path / "absent"])
    assert [theme.name for theme in found.themes] == ["good"]
    assert len(found.notices) == 2 and "bad.toml" in found.notices[0]

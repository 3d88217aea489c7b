"""Themes from TOML files: the shipped ones, and any file that fits Textual's ``Theme``.

A file that can't be used becomes a notice that names it and what is wrong; the others load.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from textual.color import Color, ColorParseError
from textual.theme import Theme

_HERE = Path(__file__).parent
_FIELDS = {field.name: str(field.type) for field in fields(Theme)}
_NUMBERS = ("luminosity_spread", "text_alpha")
_FLAGS = ("dark", "ansi")


@dataclass(frozen=True, slots=True)
class Themes:
    """What was found: themes in order of their names, and a line per broken file."""

    themes: tuple[Theme, ...]
    notices: tuple[str, ...]


def theme_folder() -> Path:
    """``tui/themes`` of an installed wheel, else ``themes`` of the checkout."""
    inside = _HERE / "themes"
    return inside if inside.is_dir() else _HERE.parent / "themes"


def load_themes(folders: Sequence[Path]) -> Themes:
    """Reads every ``*.toml`` of the folders; a later theme replaces one of the same name."""
    found: dict[str, Theme] = {}
    notices: list[str] = []
    for path in (path for folder in folders for path in sorted(folder.glob("*.toml"))):
        try:
            theme = parse_theme(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            notices.append(f"Theme {path.name} was left out: {error}")
        else:
            found[theme.name] = theme
    return Themes(tuple(found[name] for name in sorted(found)), tuple(notices))


def parse_theme(text: str) -> Theme:
    """One theme from TOML; raises :class:`ValueError` naming the key and what it should be."""
    raw: dict[str, Any] = tomllib.loads(text)
    for key, value in raw.items():
        _check(key, value)
    for key in ("name", "primary"):
        if key not in raw:
            raise ValueError(f"{key} is missing")
    return Theme(**raw)


def _check(key: str, value: object) -> None:
    if key not in _FIELDS:
        raise ValueError(f"{key} is not a key of a theme (known: {', '.join(_FIELDS)})")
    if key == "variables":
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise ValueError("variables must be a table of strings")
    elif key in _FLAGS:
        if not isinstance(value, bool):
            raise ValueError(f"{key} must be true or false")
    elif key in _NUMBERS:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueError(f"{key} must be a number")
    elif not isinstance(value, str):
        raise ValueError(f"{key} must be a string")
    elif key != "name":
        try:
            Color.parse(value)
        except ColorParseError:
            raise ValueError(f"{key} = {value!r} is not a colour such as #7aa2f7") from None

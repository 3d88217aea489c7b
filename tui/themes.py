"""Themes from TOML files: the shipped ones, and any file that fits Textual's ``Theme``.

A file that can't be used is a problem that names the file, the key and what is wrong; the other
files load, and a theme that was read before from the broken one stays as it was.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

from textual.color import Color, ColorParseError
from textual.design import ColorSystem
from textual.theme import Theme

Stamp: TypeAlias = tuple[tuple[Path, int, int], ...]

_HERE = Path(__file__).parent
_FIELDS = {field.name: str(field.type) for field in fields(Theme)}
_NUMBERS = ("luminosity_spread", "text_alpha")
_FLAGS = ("dark", "ansi")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_SHARE = re.compile(r"\s+\d+(\.\d+)?%$")
# Both kinds of theme have a few variables that the other does not know.
_VARIABLES = frozenset(
    key for ansi in (False, True) for key in ColorSystem("ansi_blue", ansi=ansi).generate()
) | {"ansi-background", "ansi-foreground"}
_STYLES = frozenset(
    ("none", "not", "bold", "b", "dim", "italic", "i", "underline", "u", "reverse", "r", "strike")
)


@dataclass(frozen=True, slots=True)
class Themes:
    """What was found: the theme of each file, and what is wrong with the files that are broken.

    ``stamp`` tells the files' state then from another one.
    """

    files: Mapping[Path, Theme] = field(default_factory=dict)
    problems: Mapping[Path, str] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()
    stamp: Stamp = ()

    @property
    def themes(self) -> tuple[Theme, ...]:
        """By name; a later folder's theme replaces one of the same name."""
        found = {theme.name: theme for theme in self.files.values()}
        return tuple(found[name] for name in sorted(found))

    @property
    def notice(self) -> str:
        """One text for all that is broken, and what to do; empty when nothing is."""
        if not self.problems:
            return ""
        lines = [f"{_shown(path)}: {problem}" for path, problem in self.problems.items()]
        return "\n".join([*lines, "What is there already stays. Save a mended file and it loads."])


def theme_folder() -> Path:
    """``tui/themes`` of an installed wheel, else ``themes`` of the checkout."""
    inside = _HERE / "themes"
    return inside if inside.is_dir() else _HERE.parent / "themes"


def user_theme_folder() -> Path:
    """``themes`` beside the user's configuration file, whether or not it exists."""
    from anyclaude.config.files import user_config_path

    return user_config_path().with_name("themes")


def load_themes(folders: Sequence[Path], before: Themes | None = None) -> Themes:
    """Reads every ``*.toml`` of the folders. A broken file keeps its theme of ``before``."""
    stamp = stamp_of(folders)
    files: dict[Path, Theme] = {}
    problems: dict[Path, str] = {}
    for path, _, _ in stamp:
        try:
            files[path] = parse_theme(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            problems[path] = str(error)
            if before is not None and path in before.files:
                files[path] = before.files[path]
    return Themes(files, problems, tuple(folders), stamp)


def reload(before: Themes) -> Themes | None:
    """The themes anew when a file came, went or changed, else ``None``. Reads the disk."""
    return load_themes(before.folders, before) if stamp_of(before.folders) != before.stamp else None


def stamp_of(folders: Sequence[Path]) -> Stamp:
    """The theme files in the order in which they count, each with its time and size."""
    return tuple(_stamps(folders))


def _stamps(folders: Sequence[Path]) -> Iterator[tuple[Path, int, int]]:
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            try:
                state = path.stat()
            except OSError:
                continue
            yield path, state.st_mtime_ns, state.st_size


def without_colour() -> bool | None:
    """What Textual calls ``ansi_color``: with NO_COLOR it then sends no colours at all, not
    even the greys that it would make of a theme's."""
    return True if "NO_COLOR" in os.environ else None


def parse_theme(text: str) -> Theme:
    """One theme from TOML; raises :class:`ValueError` naming the key and what it should be."""
    raw: dict[str, Any] = tomllib.loads(text)
    for key in raw:
        if key not in _FIELDS:
            raise ValueError(f"{key} is not a key of a theme{_like(key, _FIELDS)}")
    for key in ("name", "primary"):
        if key not in raw:
            raise ValueError(f"{key} is missing")
    for key, value in raw.items():
        _check(key, value)
    theme = Theme(**raw)
    for key, value in theme.variables.items():
        if key not in _VARIABLES:
            raise ValueError(f"variables.{key} is not a variable{_like(key, _VARIABLES)}")
        _check_variable(key, value)
    return theme


def _check(key: str, value: object) -> None:
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
    elif key == "name":
        if not _NAME.fullmatch(value):
            raise ValueError(f"name = {value!r} must be letters, digits, - and _, a letter first")
    else:
        _check_colour(key, value, value)


def _check_variable(key: str, value: str) -> None:
    """A style for what ends in ``-style``; else a colour, maybe with its share of opacity."""
    if key.endswith("-style"):
        if not value.split() or not _STYLES.issuperset(value.split()):
            raise ValueError(f"variables.{key} = {value!r} is not a style such as bold or reverse")
        return
    colour = _SHARE.sub("", value)
    if colour != "auto":
        _check_colour(f"variables.{key}", colour, value)


def _check_colour(key: str, colour: str, value: str) -> None:
    try:
        Color.parse(colour)
    except ColorParseError:
        raise ValueError(f"{key} = {value!r} is not a colour such as #7aa2f7") from None


def _like(key: str, known: Sequence[str] | Mapping[str, str] | frozenset[str]) -> str:
    close = get_close_matches(key, known, 1)
    return f"; is it {close[0]}?" if close else " (docs/themes.md lists them)"


def _shown(path: Path) -> str:
    """The path as a person writes it, ``~/...`` at home."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except ValueError:
        return str(path)

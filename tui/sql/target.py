"""Where a result goes when it is exported: a format by the file's ending, a name not yet taken."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import get_args

from anyclaude.records import ExportFormat
from tui.exporting import free_path

FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
_TABLE = re.compile(r"\bFROM\s+([a-z_][a-z0-9_]{0,40})\b", re.IGNORECASE)


def suggestion(query: str, now: float, folder: Path, format: ExportFormat = "csv") -> Path:
    """A name in ``folder`` that says what and when, and isn't taken."""
    found = _TABLE.search(query)
    name = found[1].lower() if found else "query"
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    return free_path(folder / f"anyclaude-{name}-{stamp}.{format}")


def format_of(path: str) -> ExportFormat | None:
    """The format that the ending of a path stands for."""
    ending = Path(path.strip()).suffix.lower().removeprefix(".")
    return next((format for format in FORMATS if format == ending), None)


def with_format(path: str, format: ExportFormat) -> str:
    """The path with the ending of another format in place of its own."""
    text = path.rstrip()
    known = format_of(text)
    return f"{text.removesuffix(Path(text).suffix) if known else text}.{format}"

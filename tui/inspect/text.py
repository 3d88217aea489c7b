"""Foreign text of any size as lines: every one harmless, none longer than a screen can bear."""

from __future__ import annotations

from tui.format import clean
from tui.lines import Line, Tone, line

LONGEST = 10_000
"""Characters of one line that are shown; copying takes them all."""

MOST = 50_000
"""Lines of one text that are shown."""


def parts(text: str) -> list[str]:
    """The lines of a text as they are."""
    return text.replace("\r\n", "\n").split("\n")


def shown(part: str, longest: int = LONGEST) -> str:
    """One line made harmless; a very long one is cut, and the rest of it counted.

    Cut first, since to clean a megabyte takes longer than a frame.
    """
    own = clean(part[:longest]).expandtabs(4)
    return own if len(part) <= longest else f"{own}… {len(part) - longest:,} more characters"


def text_lines(text: str, tone: Tone = "text", indent: int = 0) -> list[Line]:
    """The lines of a text, one for each of its own; what is wrapped keeps their indent."""
    pad = " " * indent
    all_parts = parts(text)
    lines: list[Line] = []
    for part in all_parts[:MOST]:
        own = shown(part)
        hang = indent + len(own) - len(own.lstrip(" "))
        lines.append(Line(((pad + own, tone),), hang))
    if len(all_parts) > MOST:
        lines.append(line((f"{pad}… {len(all_parts) - MOST:,} more lines", "muted")))
    return lines

"""Foreign text made harmless: nothing a terminal acts on, nothing unseen, and every character
as wide as terminals agree that it is.

Control characters become their pictures. What reorders text, what cannot be seen and what no
terminal can be sent becomes the replacement character, so that it is noticed. Only the parts that
make one picture of several emoji are left out: terminals draw such a sequence at different widths.
"""

from __future__ import annotations

import re

LONGEST_LINE = 2_000
"""Characters that a text of one line is cut to; no screen shows more of it."""

_HIDDEN = (
    "\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_UNSAFE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff{_HIDDEN}]")
_JOINED = re.compile(
    "(?<=[\u00a9\u00ae\u203c-\u3299\U0001f000-\U0001faff])[\u200d\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]+"
)
_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_STACKED = re.compile(f"([{_MARKS}]{{4}})[{_MARKS}]+")
_LEADING = re.compile(f"^(?=[{_MARKS}])", re.MULTILINE)


def clean(text: str) -> str:
    """``text`` without anything a terminal would act on; newlines and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if not text.isascii():
        text = _JOINED.sub("", text)
        # A heap of accents would run over the lines above, and one without a letter over ours.
        text = _LEADING.sub("◌", _STACKED.sub("\\1�", text))
    return _UNSAFE.sub(_harmless, text)


def one_line(text: str) -> str:
    """``text`` cleaned, with every run of white space as one space; a very long one is cut."""
    if len(text) > LONGEST_LINE:
        text = text[:LONGEST_LINE] + "…"
    return " ".join(clean(text).split())


def _harmless(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    # The two that only choose between a text's and an emoji's look.
    return "" if code in (0xFE0E, 0xFE0F) else "�"

"""Figures and foreign text as the console writes them: short, of known width, and harmless."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tui.clean import clean as clean
from tui.clean import one_line as one_line

_BLOCKS = "▁▂▃▄▅▆▇█"
_FAMILIES = ("opus", "sonnet", "haiku")


def count(value: int | float) -> str:
    """A number in at most five characters: ``612``, ``18.4k``, ``1.42M``."""
    if value < 1000:
        return f"{value:.0f}"
    if value < 99_950:
        return f"{value / 1000:.1f}k"
    if value < 999_500:
        return f"{value / 1000:.0f}k"
    if value < 9_995_000:
        return f"{value / 1e6:.2f}M"
    return f"{value / 1e6:.0f}M"


def size(value: int) -> str:
    """Bytes in at most seven characters: ``512 B``, ``2.1 MB``, ``18 GB``."""
    if value < 1000:
        return f"{value} B"
    number = float(value)
    for unit in ("KB", "MB", "GB", "TB"):
        number /= 1024
        if number < 9.95:
            return f"{number:.1f} {unit}"
        if number < 999.5 or unit == "TB":
            return f"{number:.0f} {unit}"
    raise AssertionError("the last unit takes everything")


def gigabytes(value: int) -> str:
    """Bytes in GB with one decimal below a hundred."""
    number = value / 1024**3
    return f"{number:.1f}" if number < 99.95 else f"{number:.0f}"


def seconds(ms: float) -> str:
    """Milliseconds as seconds: ``0.38s``, ``12.4s``, ``3m05s``."""
    value = ms / 1000
    if value < 9.995:
        return f"{value:.2f}s"
    if value < 99.95:
        return f"{value:.1f}s"
    return span(value)


def span(value: float) -> str:
    """Seconds as a person says them: ``8s``, ``3m05s``, ``2h07m``."""
    whole = round(value)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def rate(value: float) -> str:
    """Tokens per second: ``41.8``, ``230``, ``1.9k``."""
    return f"{value:.1f}" if value < 99.95 else count(value)


def percent(part: float, whole: float) -> str:
    """A share, rounded down so that only a full hit says 100 %."""
    return f"{int(100 * part / whole)}%" if whole else "-"


def clock(at: float) -> str:
    """Local time of a Unix instant, ``12:04:58``."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def short_id(request_id: str) -> str:
    """The last four characters, enough to tell neighbours apart."""
    return clean(request_id[-32:])[-4:]


def short_model(name: str) -> str:
    """``sonnet`` for the client's long names, the last path part for a local one."""
    lowered = name[:200].lower()
    if "claude" in lowered:
        for family in _FAMILIES:
            if family in lowered:
                return family
    return one_line(name).rsplit("/", 1)[-1]


def spark(values: Sequence[float], top: float | None = None) -> str:
    """One block per value, scaled to ``top`` or the largest of them."""
    peak = top or max(values, default=0.0)
    if peak <= 0:
        return _BLOCKS[0] * len(values)
    steps = len(_BLOCKS) - 1
    return "".join(_BLOCKS[round(max(0.0, min(1.0, v / peak)) * steps)] for v in values)

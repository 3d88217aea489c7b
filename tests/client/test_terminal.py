"""A person's first quarter of an hour in a real terminal, with nothing but keys and what the
screens show: see ``tour.py``.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.client.tour import desk, picture, walk


@pytest.mark.client
async def test_from_the_first_look_to_the_last_key(
    claude_path: str, embedded_model_dir: Path, tmp_path: Path
) -> None:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    seen: list[str] = []

    async def look(name: str) -> None:
        seen.append(name)

    async with desk(tmp_path, embedded_model_dir.parent, claude_path) as at:
        await walk(at, look)
    assert seen == ["first", "live", "found", "diff", "flush", "model", "sql"]


def test_a_painted_screen_becomes_a_picture_of_it() -> None:
    painted = "\x1b[1;38;2;1;2;3m<anyclaude>\x1b[0m [bold]x[/]  \n\x1b[48;2;9;8;7m漢  \x1b[0m\n"
    svg = picture(painted)
    assert "&lt;anyclaude&gt;" in svg and "[bold]x[/]" in svg.replace("&#160;", " ")
    assert "#010203" in svg and "#090807" in svg and "漢" in svg

"""The system's copy command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui.clipboard import copy_by_command, copy_command


def _tool(folder: Path, name: str, script: str = "exit 0") -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_the_first_usable_command_is_taken(tmp_path: Path) -> None:
    assert copy_command({}, str(tmp_path)) is None
    xclip = _tool(tmp_path, "xclip")
    assert copy_command({}, str(tmp_path)) is None
    assert copy_command({"DISPLAY": ":0"}, str(tmp_path)) == (
        str(xclip),
        "-selection",
        "clipboard",
    )
    wayland = _tool(tmp_path, "wl-copy")
    both = {"DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-0"}
    assert copy_command(both, str(tmp_path)) == (str(wayland),)
    pbcopy = _tool(tmp_path, "pbcopy")
    assert copy_command(both, str(tmp_path)) == (str(pbcopy),)


async def test_the_text_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    _tool(tmp_path, "pbcopy", f"/bin/cat > {out}")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await copy_by_command("zwölf 日本")
    assert out.read_text(encoding="utf-8") == "zwölf 日本"


async def test_a_failing_command_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _tool(tmp_path, "pbcopy", "exit 3")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not await copy_by_command("x")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert not await copy_by_command("x")

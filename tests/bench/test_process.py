"""The servers of a benchmark: what of the user's settings they get."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NoReturn

import pytest

from anyclaude.bench.process import Child, OwnServer
from anyclaude.config.settings import CacheSettings, KeySettings, ServerSettings, Settings
from anyclaude.errors import AnyclaudeError
from anyclaude.keys.secret import digest


async def test_a_benchmarks_server_asks_for_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(*arguments: object) -> NoReturn:
        raise AnyclaudeError("far enough")

    monkeypatch.setattr(Child, "start", start)
    settings = Settings(
        tmp_path / "data",
        tmp_path / "x.duckdb",
        server=ServerSettings(api_key="ours", admin_key="steers"),
        cache=CacheSettings(kv_bits=8),
        keys=(("mine", KeySettings(digest("mine"))),),
    )
    with pytest.raises(AnyclaudeError, match="far enough"):
        await OwnServer(tmp_path, settings, "m").start()
    written = tomllib.loads((tmp_path / "anyclaude.toml").read_text("utf-8"))
    assert written["cache"]["kv_bits"] == 8
    assert "keys" not in written
    assert (written["server"]["api_key"], written["server"]["admin_key"]) == ("", "")

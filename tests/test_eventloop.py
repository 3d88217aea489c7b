"""Which loop a server runs on, with uvloop installed and without."""

from __future__ import annotations

import asyncio
import sys

import pytest

from anyclaude import eventloop


async def loop() -> str:
    return type(asyncio.get_running_loop()).__module__


def test_uvloop_where_it_is_installed() -> None:
    pytest.importorskip("uvloop")
    assert eventloop.run(loop()).partition(".")[0] == "uvloop"


def test_asyncio_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert eventloop.run(loop()).partition(".")[0] == "asyncio"

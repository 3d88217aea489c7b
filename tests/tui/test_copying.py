"""What can be copied of a request; the curl is run for real."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace

import pytest

from anyclaude.records import RequestDetail, ToolCallRecord
from tests.tui.fake_source import NOON, REPAIRED, detail, session
from tui.copying import Copyable, copyables, output_of, sql_of, tools_of
from tui.request_row import RequestRow
from tui.state import Store

ADDRESS = "http://127.0.0.1:8082"
PASTE = ('eval "$(anyclaude env)"', "claude")


def _row(suffix: str) -> RequestRow:
    store = Store()
    for event in session():
        store.apply(event, NOON)
    return store.rows[f"req_0000000000000000{suffix}"]


def _menu(row: RequestRow | None, found: RequestDetail | None) -> dict[str, Copyable]:
    items = copyables(row, found, ADDRESS, PASTE, ("shown", "prompt"))
    return {item.id: item for item in items}


def test_without_a_request_there_are_the_lines_to_paste() -> None:
    menu = _menu(None, None)
    assert set(menu) == {"shown", "paste"}
    assert menu["paste"].text == 'eval "$(anyclaude env)"\nclaude'


def test_everything_of_a_finished_request() -> None:
    menu = _menu(_row("a3f1"), detail("a3f1"))
    assert menu["id"].text == "req_0000000000000000a3f1"
    assert menu["prompt"].text.startswith("<|im_start|>system")
    assert menu["output"].text == "I'll read the failing test."
    assert not menu["tools"].text and menu["tools"].note == "it called no tool"
    assert menu["shown"].name.endswith("prompt")


def test_what_is_not_kept_says_so() -> None:
    menu = _menu(_row("a3f1"), None)
    assert [id for id, item in menu.items() if not item.text] == [
        "prompt",
        "output",
        "tools",
        "curl",
    ]
    assert menu["prompt"].note == "not kept any more"
    # A request of an earlier run has its messages in the log, but not the rest of its body.
    old = replace(detail("a3f1"), body='{"messages": []}')
    assert "messages" in _menu(_row("a3f1"), old)["curl"].note


def test_a_running_request_has_its_output_so_far() -> None:
    text = output_of(_row("a3f8"), None)
    assert text.startswith("The test wants") and text.endswith('"argu')


def test_tool_calls_are_json_as_delivered_or_as_written() -> None:
    broken = ToolCallRecord("r", "toolu_2", "Edit", "unparsed", (), "<tool_call>{", "")
    first, second = json.loads(tools_of([REPAIRED, broken]))
    assert first["input"] == {"command": "ls"} and first["verdict"] == "repaired"
    assert second == {"name": "Edit", "id": "toolu_2", "verdict": "unparsed", "raw": "<tool_call>{"}


def test_sql_quotes_the_id() -> None:
    assert sql_of("r'x").startswith("SELECT * FROM requests WHERE id = 'r''x';")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize(
    "text",
    ["plain", "$(touch /tmp/x) `id` 'quotes' \\ \"", "BODY\nBODY_\n", "é🙂\u202e", "x" * 300_000],
)
async def test_the_curl_sends_the_body_as_it_was(text: str, tmp_path: object) -> None:
    body = json.dumps({"model": "m", "stream": True, "messages": [text]}, indent=0)
    got: asyncio.Future[tuple[bytes, bytes]] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(row.partition(b":")[2])
            for row in head.lower().split(b"\r\n")
            if row.startswith(b"content-length")
        )
        if b"expect:" in head.lower():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        got.set_result((head, await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        found = RequestDetail(
            "r", (("authorization", "Bearer ****"), ("anthropic-beta", "a'b")), body
        )
        items = copyables(_row("a3f1"), found, f"http://127.0.0.1:{port}", (), ("", ""))
        command = next(item.text for item in items if item.id == "curl")
        assert "****" not in command
        shell = await asyncio.create_subprocess_exec(
            "sh", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env={"PATH": _PATH}
        )
        out, _ = await shell.communicate(command.encode())
    head, sent = await got
    assert out == b"ok" and shell.returncode == 0
    assert json.loads(sent) == json.loads(body)
    lines = head.decode().split("\r\n")
    assert "authorization: Bearer local" in lines and "anthropic-beta: a'b" in lines
    assert "anthropic-version: 2023-06-01" in lines


_PATH = "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin"

"""Export: new files only, private, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from anyclaude.errors import UsageError
from tests.tui.fake_source import NOON, detail, session
from tui.exporting import free_path, row_json, rows_json, write_new
from tui.state import Store


def _store() -> Store:
    store = Store()
    for event in session():
        store.apply(event, NOON)
    return store


def test_rows_are_those_of_the_log_with_their_calls() -> None:
    rows = list(_store().rows.values())
    values = [json.loads(text) for text in rows_json(rows)]
    assert [v["id"][-4:] for v in values][:3] == ["a3f1", "a3f2", "a3f3"]
    assert values[0]["cache_read_tokens"] == 17_850 and values[0]["phase"] == "done"
    assert values[2]["tool_calls"][0]["verdict"] == "failed"
    running = values[-2]
    assert (running["phase"], running["output_tokens"]) == ("decoding", 187)


def test_one_request_has_its_detail_too() -> None:
    row = _store().rows["req_0000000000000000a3f1"]
    value = json.loads(row_json(row, detail("a3f1")))
    assert value["headers"]["authorization"] == "Bearer ****"
    assert value["prompt"].startswith("<|im_start|>") and value["stop_reason"] == "end_turn"


def test_the_file_is_private_and_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    assert write_new(path, ["{}", '{"a": "\ud800"}']) == 2
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="exists already"):
        write_new(path, [])
    assert len(path.read_bytes().splitlines()) == 2
    assert free_path(path) == tmp_path / "a-2.jsonl"
    (tmp_path / "a-2.jsonl").symlink_to("nowhere")
    assert free_path(path) == tmp_path / "a-3.jsonl"


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        write_new(tmp_path / "no" / "a.jsonl", [])


def test_what_was_begun_is_gone_when_the_disk_is_full(tmp_path: Path) -> None:
    def lines() -> Iterator[str]:
        yield "{}"
        raise OSError(28, "No space left on device")

    with pytest.raises(UsageError, match="No space left"):
        write_new(tmp_path / "a.jsonl", lines())
    assert list(tmp_path.iterdir()) == []

"""The independent reader: a good stream is good, and each way to be bad has its problem."""

from __future__ import annotations

import json
from typing import Any

import pytest

from anyclaude.bench.grammar import check_error, check_message, check_sse
from tests.bench.double import USAGE, answer, event


def lines(parts: list[str]) -> list[str]:
    return "".join(parts).split("\n")


def test_a_good_stream() -> None:
    start, *rest = answer("a", "b")
    verdict = check_sse(lines([": hello\n\n", start, event("ping"), *rest]))
    assert (verdict.problems, verdict.text, verdict.stop_reason) == ([], "ab", "end_turn")
    assert (verdict.comments, verdict.names[:2]) == (["hello"], ["message_start", "ping"])


GOOD = answer("a")


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ([event("ping"), *GOOD], "ping before message_start"),
        ([], "neither message_stop nor error at the end"),
        (GOOD[:-1], "neither message_stop nor error at the end"),
        ([*GOOD, GOOD[-1]], "message_stop after the end"),
        ([*GOOD[:2], *GOOD[1:]], "block 0 starts inside block 0"),
        ([*GOOD[:4], GOOD[2], *GOOD[4:]], "a delta for block 0 while None is open"),
        ([*GOOD[:3], *GOOD[4:]], "message_delta inside a block"),
        ([*GOOD[:-2], GOOD[-1]], "message_stop without message_delta"),
        ([GOOD[0].replace("event: ", "event:"), *GOOD[1:]], "unexpected line"),
        ([GOOD[0].rstrip("\n")], "the body ends inside an event"),
        ([GOOD[0].replace("10", "-1"), *GOOD[1:]], "usage.input_tokens is -1"),
        (answer("a", stop="tired"), "stop_reason tired"),
        (["event: ping\ndata: [1]\n\n"], "ping: its data is no object"),
        (["event: ping\ndata: {\n\n"], "ping: not JSON"),
        ([event("message_start")], "message_start: not its shape: KeyError 'message'"),
        ([GOOD[0], event("content_block_start", index=0, content_block=3)], "not its shape"),
        ([event("error", error={"type": "api_error"})], "an error without type and message"),
        ([event("surprise")], "unknown event surprise"),
    ],
)
def test_a_bad_stream(parts: list[str], problem: str) -> None:
    assert any(problem in found for found in check_sse(lines(parts)).problems)


MESSAGE: dict[str, Any] = {
    "type": "message",
    "role": "assistant",
    "content": [{"type": "text", "text": "a"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {**USAGE, "output_tokens": 1},
}


def test_whole_answers() -> None:
    assert check_message(MESSAGE) == []
    assert check_message({**MESSAGE, "stop_reason": "stop_sequence"}) != []
    assert check_message({**MESSAGE, "content": [{"type": "poem"}]}) != []
    assert check_message({**MESSAGE, "usage": None}) != []
    assert check_message(["message"]) != []
    assert check_message({"type": "message"}) != []


def test_errors() -> None:
    body = {"type": "error", "error": {"type": "overloaded_error", "message": "full"}}
    assert check_error(json.loads(json.dumps(body))) == []
    for bad in (None, {}, {"type": "error"}, {"type": "error", "error": {"message": "full"}}):
        assert check_error(bad) != []


def _searched(*blocks: tuple[dict[str, Any], list[dict[str, Any]]]) -> list[str]:
    start, *_ = answer("a")
    parts = [start]
    for index, (block, deltas) in enumerate(blocks):
        parts.append(event("content_block_start", index=index, content_block=block))
        parts += [event("content_block_delta", index=index, delta=delta) for delta in deltas]
        parts.append(event("content_block_stop", index=index))
    return lines([*parts, *answer("a")[-2:]])


CALL = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
ASKED = [{"type": "input_json_delta", "partial_json": '{"query": "x"}'}]
PAGE = {
    "type": "web_search_result",
    "url": "https://a.org/",
    "title": "A",
    "encrypted_content": "eA==",
    "page_age": None,
}
RESULT = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [PAGE]}
CITED = {
    "type": "web_search_result_location",
    "cited_text": "a",
    "url": "https://a.org/",
    "title": "A",
    "encrypted_index": "MA==",
}
TEXT = {"type": "text", "text": "", "citations": []}


def test_a_good_search() -> None:
    said = [{"type": "citations_delta", "citation": CITED}, {"type": "text_delta", "text": "a"}]
    verdict = check_sse(_searched((CALL, ASKED), (RESULT, []), (TEXT, said)))
    assert verdict.problems == []
    assert verdict.content[0]["input"] == {"query": "x"}
    assert verdict.content[2] == {"type": "text", "text": "a", "citations": [CITED]}
    error = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    assert check_sse(_searched((CALL, ASKED), ({**RESULT, "content": error}, []))).ok


@pytest.mark.parametrize(
    ("blocks", "problem"),
    [
        ([(RESULT, [])], "which nothing called"),
        ([(CALL, ASKED), (RESULT, ASKED)], "input_json_delta in a web_search_tool_result block"),
        ([(CALL, ASKED), ({**RESULT, "content": [{**PAGE, "type": "x"}]}, [])], "of type x"),
        ([(CALL, ASKED), ({**RESULT, "content": [{**PAGE, "url": 3}]}, [])], "without url"),
        ([(CALL, ASKED), ({**RESULT, "content": {"type": "x"}}, [])], "neither pages nor an error"),
        (
            [(TEXT, [{"type": "citations_delta", "citation": {**CITED, "url": 3}}])],
            "names no place",
        ),
    ],
)
def test_a_bad_search(
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]], problem: str
) -> None:
    assert any(problem in found for found in check_sse(_searched(*blocks)).problems)

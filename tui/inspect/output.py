"""Output: the answer as it streams, text, thinking and tool calls told apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from anyclaude.records import McpCallRecord, RequestDetail
from tui.calls import call_lines, served_lines
from tui.inspect.facts import parsed
from tui.inspect.subject import Subject, missing
from tui.inspect.text import text_lines
from tui.lines import Line, line
from tui.request_row import Piece


def output_lines(subject: Subject) -> list[Line]:
    """The pieces in their order, then the error if it ended in one."""
    row, detail = subject.row, subject.found.detail
    pieces: Sequence[Piece] = row.pieces
    if not pieces and detail is not None:
        pieces = _stored_pieces(detail)
    lines: list[Line] = []
    for piece in pieces:
        lines += [Line()] if lines else []
        lines += _piece_lines(piece, row.served)
    if row.record is not None and row.record.error_message:
        lines += [Line()] if lines else []
        lines.append(line((f" {row.record.error_message}", "error"), hang=1))
    if lines:
        return lines
    if row.active:
        return [line((" Nothing yet.", "muted"))]
    if not row.output_tokens:
        return [line((" This request has no output.", "muted"))]
    return missing(subject)


def _piece_lines(piece: Piece, served: Mapping[str, McpCallRecord]) -> list[Line]:
    text = piece.text.strip("\n")
    if piece.kind == "thinking":
        return [line((" thinking", "muted")), *text_lines(text, "think", 3)]
    if piece.kind == "text":
        return text_lines(text, indent=1)
    if piece.call is None:
        return [line((" tool_use", "run")), *text_lines(text, "text", 3)]
    here = served.get(piece.call.tool_use_id)
    return [*call_lines(piece.call), *(served_lines(here) if here is not None else ())]


def _stored_pieces(detail: RequestDetail) -> list[Piece]:
    """The answer from the log: its blocks when it ended well, else the model's own text."""
    response = parsed(detail.response)
    blocks = response.get("content") if isinstance(response, dict) else None
    calls = {call.tool_use_id: call for call in detail.tool_calls}
    pieces: list[Piece] = []
    for block in blocks if isinstance(blocks, list) else ():
        if not isinstance(block, dict):
            continue
        match block.get("type"):
            case "text":
                pieces.append(Piece("text", str(block.get("text", ""))))
            case "thinking":
                pieces.append(Piece("thinking", str(block.get("thinking", ""))))
            case "tool_use":
                text = json.dumps({"name": block.get("name"), "input": block.get("input")})
                pieces.append(Piece("tool_use", text, calls.get(str(block.get("id")))))
    if not pieces and detail.output:
        pieces.append(Piece("text", detail.output))
    return pieces

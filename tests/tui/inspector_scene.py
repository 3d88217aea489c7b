"""A conversation of four requests with everything that the inspector can show of one.

c001 is the first and cold; c002 goes on from it; c003 has an earlier message changed and writes
three calls, of which one is repaired and one can't be read; c004 brings the answers to them.
"""

from __future__ import annotations

import json
from dataclasses import replace

from anyclaude.events import (
    Event,
    OutputDelta,
    RequestFinished,
    SystemEvent,
    ToolCallSeen,
    ToolFailed,
)
from anyclaude.records import (
    Repair,
    RequestDetail,
    RequestRecord,
    ToolCallRecord,
    ToolFailure,
    ToolIssue,
)
from anyclaude.types import PrefixBreak, PrefixMiss
from tests.tui.fake_source import NOON, READY, FakeSource, admitted, received, request

SYSTEM = "You are Claude Code, Anthropic's official CLI for Claude.\n" + "\n".join(
    f"- Rule {n}: keep what you write short, and say what you are about to do." for n in range(60)
)
TOOLS = ("Bash", "Edit", "Glob", "Grep", "Read", "TodoWrite", "WebFetch", "Write")
OLD = "     1\tdef [bold]parse[/bold](text):\n     2\t    return text.split()"
CLEARED = "[Old tool result content cleared]"
MISS = PrefixMiss(
    PrefixBreak.HISTORY_CHANGED,
    9_200,
    2,
    f"<tool_response>\n{OLD}",
    f"<tool_response>\n{CLEARED}\n</tool_response>",
    10_600,
    5.58,
)

_ASK: dict[str, object] = {"role": "user", "content": "Fix the [bold]parser[/bold] 🛠️"}
_READ: dict[str, object] = {
    "role": "assistant",
    "content": [
        {"type": "text", "text": "I'll read the failing test."},
        {"type": "tool_use", "id": "toolu_0", "name": "Read", "input": {"file_path": "p.py"}},
    ],
}


def _result(id: str, text: str, *, failed: bool = False) -> dict[str, object]:
    return {"type": "tool_result", "tool_use_id": id, "content": text, "is_error": failed}


def _user(*blocks: dict[str, object]) -> dict[str, object]:
    return {"role": "user", "content": list(blocks)}


def _body(*messages: dict[str, object]) -> str:
    tools = [
        {
            "name": name,
            "description": f"{name} does what its name says. " * 12,
            "input_schema": {"type": "object", "properties": {"file_path": {"type": "string"}}},
            **({"defer_loading": True} if name == "WebFetch" else {}),
        }
        for name in TOOLS
    ]
    return json.dumps(
        {
            "model": "claude-sonnet-4-5-20250929",
            "max_tokens": 32_000,
            "temperature": 1,
            "thinking": {"type": "enabled", "budget_tokens": 31_999},
            "system": [{"type": "text", "text": SYSTEM}],
            "tools": tools,
            "messages": list(messages),
            "stream": True,
        }
    )


def _prompt(*turns: tuple[str, str]) -> str:
    tools = "\n".join(f'{{"type": "function", "function": {{"name": "{n}"}}}}' for n in TOOLS)
    head = f"<|im_start|>system\n{SYSTEM}\n\n# Tools\n{tools}<|im_end|>\n"
    said = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns)
    return f"{head}{said}<|im_start|>assistant\n"


_ASKED = ("user", "Fix the [bold]parser[/bold] 🛠️")
_CALLED = ("assistant", 'I\'ll read the failing test.\n<tool_call>\n{"name": "Read"}\n</tool_call>')


def _given(text: str) -> tuple[str, str]:
    return "user", f"<tool_response>\n{text}\n</tool_response>"


MORE = ("user", "And add a test for \x1b[31mred\x1b[0m and \u202eright to left\u202c text.")

EDIT = ToolCallRecord(
    "req_0000000000000000c003",
    "toolu_1",
    "Edit",
    "repaired",
    (
        ToolIssue("", "exists", "edit", "one of the tools Edit, Write"),
        ToolIssue("replace_all", "type", "string", "boolean"),
    ),
    '<tool_call>\n{"name": "edit", "arguments": {"path": "parser.py", "old_string": "split()", '
    '"new_string": "split(None)", "replace_all": "true"}}\n</tool_call>',
    '{"file_path": "parser.py", "old_string": "split()", "new_string": "split(None)", '
    '"replace_all": true}',
    repaired=True,
    tokens=48,
    repairs=(
        Repair("alias", "", "edit", "Edit"),
        Repair("alias", "path", "path", "file_path"),
        Repair("coerced", "replace_all", '"true"', "true"),
    ),
    ms=1_163.0,
)
BASH = ToolCallRecord(
    "req_0000000000000000c003",
    "toolu_2",
    "Bash",
    "valid",
    (),
    '<tool_call>\n{"name": "Bash", "arguments": {"command": "pytest -x"}}\n</tool_call>',
    '{"command": "pytest -x"}',
    tokens=21,
    ms=508.0,
)
WRITE = ToolCallRecord(
    "req_0000000000000000c003",
    "",
    "Write",
    "unparsed",
    (ToolIssue("", "parse", "'e.py\" \"new_' at character 118", "JSON"),),
    '<tool_call>\n{"name": "Write", "arguments": {"file_path": "note.py" "new_\n</tool_call>',
    "",
    tokens=33,
    ms=799.0,
)


def _with_more(events: list[Event]) -> list[Event]:
    """The end's record with what a real one has besides."""
    end = events[-1]
    assert isinstance(end, RequestFinished)
    record: RequestRecord = end.record
    lookup = 41.0
    record = replace(
        record,
        system_tokens=8_870,
        user_tokens=record.input_tokens + record.cache_read_tokens - 8_870,
        kv_bytes=412_000_000,
        ttft_ms=None if record.ttft_ms is None else record.ttft_ms + lookup,
        duration_ms=record.duration_ms + lookup + 6.0,
    )
    return [*events[:-1], RequestFinished(record)]


def conversation() -> list[Event]:
    """c001 to c003 ended, c004 running."""
    t = NOON - 90
    return [
        READY,
        SystemEvent(t - 30, "info", "model", "SmolLM2-135M-Instruct loaded in 4.1 s"),
        *_with_more(request("c001", t, prompt=8_950, read=0, out=61, ttft=4_710.0, cause="cold")),
        *_with_more(
            request("c002", t + 8, prompt=19_800, read=9_000, out=131, ttft=5_690.0, tps=41.9)
        ),
        *received("c003", t + 40),
        *(ToolCallSeen(t + 52, call) for call in (EDIT, BASH, WRITE)),
        *_with_more(
            request(
                "c003",
                t + 40,
                prompt=21_000,
                read=9_200,
                out=142,
                ttft=6_220.0,
                tps=40.3,
                stop="tool_use",
                miss=MISS,
                from_disk=2_200,
            )
        ),
        *received("c004", t + 60),
        ToolFailed(
            t + 60,
            ToolFailure(
                "toolu_1",
                "req_0000000000000000c004",
                "Edit",
                "input",
                "InputValidationError: old_string was not found in parser.py",
            ),
        ),
        *admitted("c004", 21_400, 21_140),
        OutputDelta("req_0000000000000000c004", "text", "The string isn't there.", 6),
    ]


def details() -> dict[str, RequestDetail]:
    """What the server keeps of the four."""
    headers = (
        ("authorization", "Bearer ****"),
        ("user-agent", "claude-cli/2.1.7 (external, cli)"),
        ("anthropic-version", "2023-06-01"),
    )
    first = _body(_ASK)
    second = _body(_ASK, _READ, _user(_result("toolu_0", OLD)))
    third = _body(
        _ASK,
        _READ,
        _user(_result("toolu_0", CLEARED), {"type": "text", "text": MORE[1]}),
    )
    fourth = _body(
        _ASK,
        _READ,
        _user(_result("toolu_0", CLEARED)),
        _user(
            _result("toolu_1", "old_string was not found in parser.py", failed=True),
            _result("toolu_2", "2 passed in 0.04s"),
        ),
    )
    response = json.dumps(
        {
            "type": "message",
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I'll change the parser and run the tests."},
                {"type": "tool_use", "id": "toolu_2", "name": "Bash", "input": {"command": "x"}},
            ],
            "stop_reason": "tool_use",
            "usage": {"input_tokens": 11_800, "output_tokens": 142},
        }
    )
    rules = (("cache_control", 3), ("billing_line", 1))
    texts = {
        "c001": (first, _prompt(_ASKED)),
        "c002": (second, _prompt(_ASKED, _CALLED, _given(OLD))),
        "c003": (third, _prompt(_ASKED, _CALLED, _given(CLEARED), MORE)),
        "c004": (fourth, _prompt(_ASKED, _CALLED, _given(CLEARED), _given("2 passed"))),
    }
    return {
        (id := f"req_0000000000000000{suffix}"): RequestDetail(
            id, headers, body, prompt, "I'll change", response, rules
        )
        for suffix, (body, prompt) in texts.items()
    }


def source() -> FakeSource:
    """A server that knows the conversation."""
    made = FakeSource()
    made.fake.details = details()
    return made

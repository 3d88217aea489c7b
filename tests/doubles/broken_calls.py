"""Ways in which a model breaks its calls, and what is to become of each."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

READ: dict[str, Any] = {
    "type": "object",
    "properties": {"file_path": {"type": "string"}, "limit": {"type": "integer", "minimum": 1}},
    "required": ["file_path"],
    "additionalProperties": False,
}
BASH: dict[str, Any] = {
    "type": "object",
    "properties": {"command": {"type": "string"}},
    "required": ["command"],
}
PICK: dict[str, Any] = {
    "type": "object",
    "properties": {
        "days": {"type": "array", "items": {"enum": ["mon", "tue"]}, "uniqueItems": True},
    },
    "required": ["days"],
    "additionalProperties": False,
}
SCHEMAS = {"Read": READ, "Bash": BASH, "Pick": PICK}
CUT_OFF = ["the arguments of a call are not JSON"]


def call(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def use(name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "name": name, "input": arguments}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


@dataclass(frozen=True)
class Fate:
    """What is to become of one call: its blocks, its row, and what is wrong with the stream."""

    verdict: str
    stages: tuple[str, ...]
    rules: tuple[str, ...]
    blocks: tuple[dict[str, Any], ...]
    stop: str = "tool_use"
    problems: tuple[str, ...] = ()
    version: int = 1


@dataclass(frozen=True)
class Way:
    """How a call is broken: its text, its fate, and that of the same call streamed."""

    text: str
    fate: Fate
    streamed: Fate | None = None
    max_tokens: int = 200


def mended(name: str, stage: str, *rules: str, **arguments: Any) -> Fate:
    return Fate("repaired", (stage,), rules, (use(name, **arguments),))


def failed(name: str, *rules: str, **arguments: Any) -> Fate:
    return Fate("failed", (), rules, (use(name, **arguments),))


def shown(said: str, *rules: str, stop: str = "end_turn") -> Fate:
    return Fate("unparsed", (), rules, (text(said),), stop)


def broken_off(name: str, *rules: str, stop: str = "tool_use") -> Fate:
    """Bytes were sent already, so the client is left with half a call, which it can't run."""
    return Fate("unparsed", (), rules, (use(name),), stop, tuple(CUT_OFF))


LONG = call("Read", '{"file_path": "a/long/way/down/to/the/file/that/never/ends.py"}')
NAMELESS = '<tool_call>\n{"arguments": {"file_path": "a"}}\n</tool_call>'
NO_JSON = "<tool_call>\nRead the file a\n</tool_call>"
ENDLESS = call("Read", '{"file_path": "a}')
UNKNOWN = call("Read", '{"file_path": "a", "mode": "r}')

WAYS = {
    "two braces missing": Way(
        '<tool_call>\n{"name": "Read", "arguments": {"file_path": "a"\n</tool_call>',
        mended("Read", "syntax", "parse", file_path="a"),
    ),
    "single quotes": Way(
        "<tool_call>\n{'name': 'Read', 'arguments': {'file_path': 'a'}}\n</tool_call>",
        mended("Read", "syntax", "parse", file_path="a"),
    ),
    "trailing comma": Way(
        call("Read", '{"file_path": "a",}'),
        mended("Read", "syntax", "parse", file_path="a"),
    ),
    "trailing comma in a list": Way(
        call("Pick", '{"days": ["mon", "tue", ]}'),
        mended("Pick", "syntax", "parse", days=["mon", "tue"]),
    ),
    "line end in a string": Way(
        call("Read", '{"file_path": "a\nb"}'),
        mended("Read", "syntax", "parse", file_path="a\nb"),
    ),
    "number as text": Way(
        call("Read", '{"file_path": "a", "limit": "5"}'),
        mended("Read", "coerced", "type", file_path="a", limit=5),
    ),
    "null for nothing": Way(
        call("Read", '{"file_path": "a", "limit": null}'),
        mended("Read", "coerced", "type", file_path="a"),
    ),
    "key by another name": Way(
        call("Read", '{"path": "a"}'),
        mended("Read", "alias", "additionalProperties", "required", file_path="a"),
    ),
    "tool in other case": Way(
        call("read", '{"file_path": "a"}'), mended("Read", "alias", "exists", file_path="a")
    ),
    "unknown tool": Way(
        call("Teleport", '{"where": "home"}'), failed("Teleport", "exists", where="home")
    ),
    "missing key": Way(call("Read", '{"limit": 5}'), failed("Read", "required", limit=5)),
    "unknown key": Way(
        call("Read", '{"file_path": "a", "mode": "r"}'),
        failed("Read", "additionalProperties", file_path="a", mode="r"),
    ),
    "out of range": Way(
        call("Read", '{"file_path": "a", "limit": 0}'),
        failed("Read", "minimum", file_path="a", limit=0),
    ),
    "no name": Way(NAMELESS, shown(NAMELESS, "parse")),
    "no JSON": Way(NO_JSON, shown(NO_JSON, "parse")),
    "string without an end": Way(
        ENDLESS,
        shown(ENDLESS, "parse"),
        mended("Read", "syntax", "parse", file_path="a"),
    ),
    "string without an end, of an unknown key": Way(
        UNKNOWN, shown(UNKNOWN, "parse"), broken_off("Read", "parse")
    ),
    "cut off at max_tokens": Way(
        LONG,
        shown("", "end", "parse", stop="max_tokens"),
        broken_off("Read", "end", "parse", stop="max_tokens"),
        max_tokens=26,
    ),
    "no end of the call": Way(
        call("Read", '{"file_path": "a"}').removesuffix("\n</tool_call>"),
        mended("Read", "syntax", "end", file_path="a"),
    ),
    "arguments in a string": Way(
        call("Read", json.dumps('{"file_path": "a"}')),
        Fate("valid", (), (), (use("Read", file_path="a"),)),
    ),
}
TWO = '<tool_call>\n{"name": "Read", "arguments": {"limit": 5}}\n' + (
    '{"name": "Bash", "arguments": {"command": "ls"}}\n</tool_call>\nDone.'
)


def answer_to(prompt: str) -> str:
    way = re.findall(r"WAY:([^|]*)\|", prompt)[-1]
    return "I look.\n" + (TWO if way == "two" else WAYS[way].text)

"""What hypothesis draws for the tests of all families: texts with their markers in, and calls."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st

from anyclaude.types import JsonObject

_SIGNS = [
    "\n", "\n\n", "```\n", "'", '"', '"""', "\\", "\\n", "\\u0041", "{", "}", "]", ")", ", ",
    "    ", "&amp;", "<a href='x'>", "😀", "\r\n", "\t", "\x00", "null", "1", "name",
    "<think>", "\u2028", "\ufeff", "</", "<",
]  # fmt: skip
_MARKERS = [
    "</tool_call>", "<tool_call>", "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>", "<|python_end|>",
    "<|tool_call_end|>", "</function>", "<|channel|>", "<|start|>assistant",
    "<|end|>", "<|call|>", "functools[", "<|tool_call|>", "<|/tool_call|>",
    "<|tool_calls_section_end|>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>", "<arg_key>",
    "</arg_key>", "<arg_value>", "<invoke name=>", '<parameter name="y">', "</invoke>",
    "</minimax:tool_call>", "</｜DSML｜invoke>", "call:Bash{", "<tool_call|>",
    "<end_function_call>",
]  # fmt: skip

plain = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
names = st.from_regex(r"[a-zA-Z0-9_-]{1,64}", fullmatch=True)
keys = st.from_regex(r"[a-zA-Z0-9_.-]{1,20}", fullmatch=True)


def texts(*more: str) -> st.SearchStrategy[str]:
    """Texts with ``more`` markers in."""
    words = st.sampled_from([*_SIGNS, *_MARKERS, *more])
    return plain | st.lists(words, max_size=10).map("".join)


text = texts()


def values(
    inner_keys: st.SearchStrategy[str], strings: st.SearchStrategy[str] = text
) -> st.SearchStrategy[object]:
    """Any JSON, its objects with such keys."""
    return st.recursive(
        st.none() | st.booleans() | numbers | strings,
        lambda v: st.lists(v, max_size=3) | st.dictionaries(inner_keys, v, max_size=3),
        max_leaves=6,
    )


def typed(arguments: Mapping[str, object]) -> JsonObject:
    """A schema with the very types that ``arguments`` have."""

    def of(value: object) -> str:
        match value:
            case None:
                return "null"
            case bool():
                return "boolean"
            case int() | float():
                return "number"
            case str():
                return "string"
            case Mapping():
                return "object"
        return "array"

    return {"type": "object", "properties": {k: {"type": of(v)} for k, v in arguments.items()}}

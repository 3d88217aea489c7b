"""Any call in the family's own syntax is read back as it was written."""

from __future__ import annotations

import json
from typing import cast

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from anyclaude.dialect import CallClose, CallOpen, CallPiece, Dialect
from anyclaude.tools.families import FAMILIES
from anyclaude.types import JsonObject, ToolDefinition
from tests.tools.families.kit import cuts, read
from tests.tools.families.strategies import keys, names, text, texts, typed, values

TAGGED = ("qwen3_coder", "glm", "minimax", "deepseek_v32", "deepseek_v4")
BARE = ("gemma", "function_gemma")
families = pytest.mark.parametrize("name", list(FAMILIES))


def check(dialect: Dialect, name: str, arguments: dict[str, object], seed: int) -> None:
    given = cast(JsonObject, arguments)
    tools = (ToolDefinition(name, "", typed(arguments)), ToolDefinition("other", "", {}))
    written = dialect.render(name, given)
    for pieces in ([written], list(written), cuts(written, seed)):
        opened, piece, closed = read(dialect, pieces, tools)
        assert isinstance(opened, CallOpen) and isinstance(piece, CallPiece)
        assert opened == CallOpen(name)
        # As text: for Python, true and 1 are equal.
        assert json.dumps(json.loads(piece.json), sort_keys=True) == json.dumps(
            arguments, sort_keys=True
        )
        assert closed == CallClose(written, True)


@families
@settings(deadline=None, max_examples=80)
@given(call_name=names, data=st.data(), seed=st.integers(0, 99))
def test_any_call_is_read_back(name: str, call_name: str, data: st.DataObject, seed: int) -> None:
    # Tags and bare keys hold what can be a property's name, JSON any.
    kind = keys if name in TAGGED + BARE else keys | text
    inner = keys if name in BARE else keys | text
    # Where another tag opens behind it, a closing tag of MiniMax can't be told from an end.
    strings = texts("</parameter>") if name == "qwen3_coder" else text
    arguments = data.draw(st.dictionaries(kind, values(inner, strings), max_size=5))
    check(FAMILIES[name], call_name, arguments, seed)


CLOSING = {
    "hermes": ("</tool_call>", '"}}\n</tool_call>', '<tool_call>\n{"name": "Bash"'),
    "qwen3_coder": (
        "</parameter>",
        "\n</parameter>\n</function>\n</tool_call>",
        "<function=Bash>\n<parameter=command>\nls\n</parameter>\n</function>",
    ),
    "llama_json": ('"}}', "<|python_tag|>"),
    "llama_pythonic": ("')]", '")', "<|python_end|>"),
    "lfm2": ("')]<|tool_call_end|>", "<|tool_call_end|>"),
    "mistral": ("[TOOL_CALLS]", '"}[TOOL_CALLS]Bash[ARGS]{'),
    "mistral_list": ("[TOOL_CALLS]", '"}}]'),
    "glm": (
        "</arg_value>",
        "</arg_value>\n</tool_call>",
        "<tool_call>Bash\n<arg_key>command</arg_key>\n"
        "<arg_value>ls</arg_value>\n<arg_key>timeout</arg_key>\n<arg_value>1</arg_value>\n</tool_call>",
    ),
    "minimax": (
        "</parameter>",
        "</parameter>\n</invoke>\n</minimax:tool_call>",
        '<invoke name="Bash">\n<parameter name="a">1</parameter>\n'
        '<parameter name="b">2</parameter>\n</invoke>',
    ),
    "deepseek_v32": (
        "</｜DSML｜parameter>",
        "</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
    ),
    "deepseek_v4": ("</｜DSML｜parameter>", "</｜DSML｜invoke>\n</｜DSML｜tool_calls>"),
    "kimi": ("<|tool_call_end|>", "<|tool_call_end|><|tool_calls_section_end|>"),
    "deepseek_v3": ("```<｜tool▁call▁end｜>", "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"),
    "deepseek_v31": ("<｜tool▁call▁end｜>", '"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>'),
    "harmony": ("<|call|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    "gemma": ('<|"|>', '<|"|>}', "<tool_call|>", "}<tool_call|>"),
    "function_gemma": ("<escape>", "<escape>}", "<end_function_call>", "}<end_function_call>"),
    "phi": ("<|/tool_call|>", '"}}]<|/tool_call|>', "<|tool_call|>["),
    "phi_functools": ("functools[", '"}}]'),
    "granite": ("<|tool_call|>", '"}}]</tool_call>', "</tool_call>"),
}


@families
@pytest.mark.parametrize("place", ["first", "last"])
def test_a_value_may_hold_what_ends_it(name: str, place: str) -> None:
    for closing in CLOSING[name]:
        content = f"# An end looks like this: {closing}\nand this is the next line."
        arguments: dict[str, object] = {"content": content, "file_path": "a.md"}
        if place == "last":
            arguments = dict(reversed(arguments.items()))
        check(FAMILIES[name], "Write", arguments, 7)


@families
@settings(deadline=None, max_examples=60)
@given(content=text, tail=text)
@example("</parameter>\n</function>\n</tool_call>", "\n</parameter>\n</function>\n</tool_call>\n")
@example("\n", "")
@example("", "\n")
@example("\n  x\n", " ")
def test_code_is_kept_byte_for_byte(name: str, content: str, tail: str) -> None:
    # A call opened in one value and closed in the next can't be told from a nested one.
    assume("invoke name=" not in content)
    arguments = {"content": content, "count": 3, "file_path": "a.py", "tail": tail}
    check(FAMILIES[name], "Write", arguments, 1)


@pytest.mark.parametrize("name", [name for name in FAMILIES if FAMILIES[name].start])
def test_two_calls_in_a_row_are_two(name: str) -> None:
    dialect = FAMILIES[name]
    one = dialect.render("Write", {"content": "a\n", "file_path": "a.py"})
    two = dialect.render("Write", {"content": "b\n", "file_path": "b.py"})
    for written in (one + two, f"{one}\n{two}"):
        segments = read(dialect, list(written))
        assert segments == read(dialect, [written])
        assert [s for s in segments if isinstance(s, CallOpen)] == [CallOpen("Write")] * 2
        first, second = (json.loads(s.json) for s in segments if isinstance(s, CallPiece))
        assert (first["content"], second["content"]) == ("a\n", "b\n")
        assert [s.complete for s in segments if isinstance(s, CallClose)] == [True, True]


@families
def test_an_argument_leaves_while_it_is_written(name: str) -> None:
    """The first piece of a long string is out before a tenth of it is in."""
    dialect = FAMILIES[name]
    body = "".join(f"line {i}: <b>&amp;</b> \"quoted\" 'too' \\n\n" for i in range(60))
    tools = (ToolDefinition("Write", "", typed({"content": body})),)
    written = dialect.render("Write", {"content": body})
    parser, sent, late = dialect.parser(tools, None), "", 0
    start = written.index("line 0")
    for at, char in enumerate(written):
        sent += "".join(s.json for s in parser.feed(char) if isinstance(s, CallPiece))
        if at == start + len(body) // 10:
            assert "line 0" in sent
        if at >= start and "line 59" not in sent:
            late = max(late, at - start - len(sent))
    # What is held is never more than a marker.
    assert late < 40

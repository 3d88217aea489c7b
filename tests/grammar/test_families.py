"""Every family's grammar against its own renderer and its own parser."""

from __future__ import annotations

import importlib
import json
import pkgutil
import random
from typing import Any

import jsonschema
import pytest

from anyclaude.dialect import CallClose, CallOpen, CallPiece, Dialect
from anyclaude.grammar.calls import AnswerGrammar, answer_grammar
from anyclaude.grammar.vocabulary import Vocabulary
from anyclaude.tools import families
from anyclaude.types import ToolChoice, ToolDefinition
from tests.grammar.test_schema import all_tools
from tests.grammar.vocabularies import allowed, token, vocabulary

EDIT = ToolDefinition(
    "Edit",
    "",
    {
        "type": "object",
        "properties": {
            "file_path": {"type": "string"},
            "text": {"type": "string"},
            "mode": {"enum": ["add", "drop"]},
            "count": {"type": "integer", "minimum": 0, "maximum": 9},
            "all": {"type": "boolean"},
            "where": {
                "type": "array",
                "items": {"$ref": "#/$defs/place"},
                "maxItems": 2,
            },
        },
        "required": ["file_path", "count"],
        "additionalProperties": False,
        "$defs": {
            "place": {
                "type": "object",
                "properties": {"line": {"type": "integer"}, "note": {"type": ["string", "null"]}},
                "required": ["line"],
                "additionalProperties": False,
            }
        },
    },
)
PING = ToolDefinition("Ping", "", {"type": "object", "properties": {}})
SOME = ToolDefinition(
    "Some",
    "",
    {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "null"}, "c": {"type": "boolean"}},
        "additionalProperties": False,
    },
)
TOOLS = (EDIT, PING, SOME)
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("Ping", {}),
    ("Edit", {"file_path": "a.py", "count": 3}),
    (
        "Edit",
        {
            "file_path": "ö/<b> & 'c'.py",
            "text": 'if a < b:\n\tprint("x\\n")  # é 😀\n</p>\n',
            "mode": "add",
            "count": 0,
            "all": True,
            "where": [{"line": 1, "note": "é"}, {"line": -2, "note": "n"}],
        },
    ),
    ("Edit", {"file_path": "", "text": " ", "count": 1, "all": False}),
    ("Some", {}),
    ("Some", {"b": None}),
    ("Some", {"a": -5, "c": True}),
]


def dialects() -> list[Dialect]:
    found: dict[str, Dialect] = {}
    for module in pkgutil.iter_modules(families.__path__):
        inside = importlib.import_module(f"anyclaude.tools.families.{module.name}")
        for value in vars(inside).values():
            if isinstance(value, Dialect):
                found[value.name] = value
    return [dialect for dialect in found.values() if dialect.grammar is not None]


SPECIALS = (
    "<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>",
    "[TOOL_CALLS]", "[ARGS]", "<|tool_call|>", "<|/tool_call|>", "<|python_tag|>",
    "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|tool_call_begin|>",
    "<|tool_call_end|>", "<|tool_call_argument_begin|>", "<|channel|>", "<|message|>",
    "<|constrain|>", "<minimax:tool_call>", "</minimax:tool_call>", "<|tool_call_start|>",
    "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>",
    '<|tool_call>', '<tool_call|>', '<|"|>', "<start_function_call>", "<end_function_call>",
    "<escape>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>", "｜DSML｜",
)  # fmt: skip


@pytest.fixture(params=["text", "special"])
def words(request: pytest.FixtureRequest) -> Vocabulary:
    """One vocabulary with the families' markers as special tokens, one without."""
    return vocabulary(*SPECIALS) if request.param == "special" else vocabulary()


def grammar(dialect: Dialect, words: Vocabulary, choice: ToolChoice) -> AnswerGrammar:
    found = answer_grammar(dialect, TOOLS, choice, None, words.terminal)
    assert found is not None
    return found


@pytest.mark.parametrize("dialect", dialects(), ids=lambda d: d.name)
def test_what_the_family_renders_its_grammar_takes(dialect: Dialect, words: Vocabulary) -> None:
    matcher = words.compile(grammar(dialect, words, ToolChoice("any", None, True)).lark)
    for name, arguments in CALLS:
        text = dialect.render(name, arguments)
        if dialect.name == "harmony":
            text = text.removesuffix("<|call|>")
        own, tokens = matcher.fresh(), words.marker(text)
        count = sum(1 for number in tokens if own.take(number))
        assert count == len(tokens), (text, text[: len(text) - 10])
        assert own.accepts, text


@pytest.mark.parametrize("dialect", dialects(), ids=lambda d: d.name)
def test_a_wrong_call_is_refused(dialect: Dialect, words: Vocabulary) -> None:
    matcher = words.compile(grammar(dialect, words, ToolChoice("any")).lark)
    for name, arguments in [
        ("Nope", {}),
        ("Edit", {"count": 3}),
        ("Edit", {"file_path": "a", "count": "three"}),
        ("Some", {"a": 1, "d": 2}),
    ]:
        own = matcher.fresh()
        assert not (own.takes(words.marker(dialect.render(name, arguments))) and own.accepts)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dialect", dialects(), ids=lambda d: d.name)
def test_what_the_grammar_allows_the_parser_reads_as_valid_calls(
    dialect: Dialect, words: Vocabulary, seed: int
) -> None:
    pick = random.Random(seed)
    plan = grammar(dialect, words, ToolChoice("any", None, seed % 2 == 0))
    matcher = words.compile(plan.lark).fresh()
    (end,) = words.eos
    closing = [token(words, sign) for sign in ('"', "}", "]", ")")]
    written = b""
    for step in range(1500):
        options = allowed(words, matcher.mask())
        if matcher.over or (end in options and step > 60):
            break
        options = [number for number in options if number != end]
        assert options, written
        # Tags are what ends a raw value; otherwise letters, and quotation marks after a while.
        wanted = [n for n in closing if n in options] if step > 30 and step % 2 else []
        if step > 40 and not wanted:
            wanted = [n for n in options if words.text(n) in STEPS.get(written[-1:], ())]
        chosen = pick.choice(wanted or options)
        assert matcher.take(chosen), (written, words.text(chosen), matcher.error)
        written += words.text(chosen)
    else:
        pytest.skip("a raw value that never came to its end")
    text = written.decode("utf-8", "replace")
    parser = dialect.parser(TOOLS, None)
    segments = [*parser.feed(text), *parser.finish()]
    opened = [s for s in segments if isinstance(s, CallOpen)]
    closed = [s for s in segments if isinstance(s, CallClose)]
    assert opened, text
    assert len(opened) == len(closed)
    if seed % 2 == 0:
        assert len(opened) == 1, text
    name = ""
    pieces: dict[int, str] = {}
    for segment in segments:
        if isinstance(segment, CallOpen):
            pieces[len(pieces)] = ""
        elif isinstance(segment, CallPiece):
            pieces[len(pieces) - 1] += segment.json
    for number, call in enumerate(opened):
        name = call.name
        schema = next(tool.input_schema for tool in TOOLS if tool.name == name)
        jsonschema.validate(json.loads(pieces[number]), dict(schema))


STEPS = {
    b">": (b"\n",),
    b"\n": (b"<",),
    b"e": (b"\n", b"<"),
    b"<": (b"/",),
    b"/": ("｜DSML｜".encode(),),
}
SECTIONED = [dialect for dialect in dialects() if dialect.section]


@pytest.mark.parametrize("dialect", SECTIONED, ids=lambda d: d.name)
def test_a_later_call_of_a_section_needs_no_opening_of_its_own(
    dialect: Dialect, words: Vocabulary
) -> None:
    choice = ToolChoice("tool", "Edit", True)
    own = answer_grammar(dialect, TOOLS, choice, None, words.terminal, inside=True)
    assert own is not None and own.key != grammar(dialect, words, choice).key
    matcher = words.compile(own.lark)
    whole = dialect.render("Edit", {"file_path": "a.py", "count": 3})
    assert whole.startswith(dialect.section)
    later = whole.removeprefix(dialect.section)
    held = matcher.fresh()
    assert held.takes(words.marker(later)) and held.accepts
    assert not matcher.fresh().takes(words.marker(whole))
    parser = dialect.parser(TOOLS, None)
    assert parser.feed(dialect.section) == []
    segments = [*parser.feed(later), *parser.finish()]
    assert segments[0] == CallOpen("Edit")
    assert isinstance(segments[-1], CallClose) and segments[-1].raw == whole
    pieces = "".join(piece.json for piece in segments if isinstance(piece, CallPiece))
    assert json.loads(pieces) == {"file_path": "a.py", "count": 3}


def test_whoever_writes_calls_in_sections_says_how_they_open() -> None:
    words = vocabulary()
    for dialect in dialects():
        found = answer_grammar(dialect, TOOLS, ToolChoice("any"), None, words.terminal)
        assert found is not None
        sectioned = any(line.startswith("later:") for line in found.lark.splitlines())
        # Without a marker, calls stand at the start of an answer, where no other call was.
        assert sectioned is bool(dialect.section) or not dialect.start


DSML = [dialect for dialect in dialects() if dialect.name in ("deepseek_v32", "deepseek_v4")]


@pytest.mark.parametrize("dialect", DSML, ids=lambda d: d.name)
@pytest.mark.parametrize(
    ("kind", "value", "allowed"),
    [
        ("true", "3", True),
        ("false", "3", True),
        ("false", "x", False),
        ("true", "</b>\n</｜DSML parameter>\n<", True),
    ],
)
def test_a_tag_that_says_string_holds_its_value_to_that(
    dialect: Dialect, words: Vocabulary, kind: str, value: str, allowed: bool
) -> None:
    both: dict[str, Any] = {
        "type": "object",
        "properties": {"x": {"type": ["string", "integer"]}},
        "required": ["x"],
        "additionalProperties": False,
    }
    tools = [ToolDefinition("Both", "", both)]
    found = answer_grammar(dialect, tools, ToolChoice("any"), None, words.terminal)
    assert found is not None
    text = dialect.render("Both", {"x": "VALUE"})
    text = text.replace('string="true"', f'string="{kind}"')
    text = text.replace("VALUE", value)
    held = words.compile(found.lark).fresh()
    assert (held.takes(words.marker(text)) and held.accepts) is allowed
    if allowed:
        parser = dialect.parser(tools, None)
        segments = [*parser.feed(text), *parser.finish()]
        pieces = "".join(piece.json for piece in segments if isinstance(piece, CallPiece))
        assert json.loads(pieces) == {"x": value if kind == "true" else 3}


@pytest.mark.parametrize("dialect", dialects(), ids=lambda d: d.name)
def test_every_tool_of_every_kind_compiles_in_one_grammar(
    dialect: Dialect, words: Vocabulary
) -> None:
    tools = [
        ToolDefinition(tool["name"], tool["description"], tool["input_schema"])
        for tool in all_tools()
    ]
    for mode in ("auto", "any"):
        found = answer_grammar(dialect, tools, ToolChoice(mode), None, words.terminal)
        assert found is not None
        matcher = words.compile(found.lark).fresh()
        for name in ("EnterPlanMode", "mcp__filesystem__list_allowed_directories"):
            own = matcher.fresh()
            text = dialect.render(name, {}).removesuffix("<|call|>")
            assert own.takes(words.marker(text)), name

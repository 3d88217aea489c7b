"""Prompts extend each other token for token, for every family of chat templates."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyclaude.backend import EchoTurn
from anyclaude.dialect import CallOpen, CallPiece
from anyclaude.engine.template import ChatTemplate, ToolFallback, common_length
from anyclaude.errors import InvalidRequest
from anyclaude.tools.families import choose
from anyclaude.tools.families.hermes import DIALECT as HERMES
from anyclaude.types import (
    Block,
    Message,
    MessagesRequest,
    TextBlock,
    Thinking,
    ThinkingBlock,
    ToolDefinition,
    ToolResultBlock,
    ToolUseBlock,
)
from tests.engine.families import FAMILIES, Family, tokenizer

if TYPE_CHECKING:
    from mlx_lm.tokenizer_utils import TokenizerWrapper


FALLBACK = ToolFallback(
    replace(HERMES, name="words", start="<call>"),
    section=lambda tools: "You may call: " + ", ".join(tool.name for tool in tools),
    result=lambda text: f"<result>\n{text}\n</result>",
    choose=choose,
)
TOOLS = (
    ToolDefinition("Read", "reads a file", {"type": "object", "properties": {}}),
    ToolDefinition("Bash", "runs a command", {"type": "object", "properties": {}}),
)
NOON = datetime.datetime(2026, 11, 22, 12)

# These write the present request's flag into every user turn: a toggle changes all history.
FLAG_IN_HISTORY = {"glm"}

templates: dict[str, ChatTemplate] = {}


def template_of(family: Family) -> ChatTemplate:
    if family.name not in templates:
        templates[family.name] = ChatTemplate(tokenizer(family), FALLBACK, now=lambda: NOON)
    return templates[family.name]


def family(name: str) -> Family:
    return next(f for f in FAMILIES if f.name == name)


def user(text: str) -> Message:
    return Message("user", (TextBlock(text),))


def assistant(*blocks: Block | str) -> Message:
    return Message("assistant", tuple(TextBlock(b) if isinstance(b, str) else b for b in blocks))


def system(text: str) -> Message:
    return Message("system", (TextBlock(text),))


def ask(*messages: Message, **fields: object) -> MessagesRequest:
    base = MessagesRequest("m", 100, messages, system=(TextBlock("Be brief."),), tools=TOOLS)
    return replace(base, **fields)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Turn:
    """What the model writes and how the client goes on from there."""

    text: str
    thought: str
    calls: tuple[str, ...]
    cut: int
    finished: bool
    reply: str
    reminder: str
    reverse_results: bool
    thinking: bool


words = st.text(alphabet="ab é\n<|>{}/\"'x12 世", max_size=12)
turns = st.lists(
    st.builds(
        Turn,
        text=words,
        thought=words,
        calls=st.lists(st.text(alphabet="ab/. ", min_size=1, max_size=6), max_size=2).map(tuple),
        cut=st.integers(0, 30),
        finished=st.booleans(),
        reply=words.map(lambda text: f"so {text}"),
        reminder=st.one_of(st.just(""), words.map(lambda text: f"note {text}")),
        reverse_results=st.booleans(),
        thinking=st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


def generated(
    family: Family, model: TokenizerWrapper, turn: Turn, opened: bool, native: bool
) -> tuple[int, ...]:
    """Tokens as a model might write them: not those that tokenising their text would give."""
    text = turn.text
    if family.thinking:
        start, end = family.thinking
        text = ("" if opened else f"{start}\n") + f"{turn.thought}\n{end}\n\n{text}"
    syntax = family.call if native else FALLBACK.dialect.start + "NAME VALUE</call>"
    for value in turn.calls:
        text += syntax.replace("NAME", "Read").replace("VALUE", value)
    halves = (text[: turn.cut], text[turn.cut :])
    tokens = [t for half in halves for t in model.encode(half, add_special_tokens=False)]
    if turn.finished:
        ends = sorted(model.eos_token_ids)
        tokens.append(ends[turn.cut % len(ends)])
    return tuple(tokens)


def answer(turn: Turn, index: int) -> list[Message]:
    """The turn as the client sends it back, with what follows it."""
    uses = [
        ToolUseBlock(f"toolu_{index}_{at}", "Read", {"path": value, "limit": 5})
        for at, value in enumerate(turn.calls)
    ]
    results = [
        ToolResultBlock(use.id, (TextBlock(f"content of {use.id}"),), is_error=bool(at))
        for at, use in enumerate(uses)
    ]
    if turn.reverse_results:
        results.reverse()
    words = TextBlock(turn.reply)
    after: tuple[Block, ...] = (*results,) if results and turn.finished else (*results, words)
    messages = [assistant(turn.text.strip() or "ok", *uses), Message("user", after)]
    return [*messages, system(turn.reminder)] if turn.reminder else messages


def check_extension(
    template: ChatTemplate,
    family: Family,
    model: TokenizerWrapper,
    turns: list[Turn],
    request: MessagesRequest,
) -> None:
    """Plays the conversation; each prompt must begin with the last one and what followed it."""
    native = template.tools == "template"
    echoes: list[EchoTurn] = []
    rendered = template.render(request)
    for index, turn in enumerate(turns):
        turn = turn if request.tools else replace(turn, calls=())
        opened = rendered.thinking is not None and rendered.thinking.opened
        tokens = generated(family, model, turn, opened, native)
        asked = request.thinking
        thinking = asked is not None and asked.enabled
        echoes.append(EchoTurn(len(request.messages), tokens, thinking))
        request = replace(
            request,
            messages=(*request.messages, *answer(turn, index)),
            thinking=asked if family.name in FLAG_IN_HISTORY else Thinking(turn.thinking),
        )
        following = template.render(request, echoes)
        written = tokens[:-1] if tokens and tokens[-1] in model.eos_token_ids else tokens
        expected = rendered.tokens + written
        assert following.tokens[: len(expected)] == expected
        assert following.notes == ()
        assert len(expected) < following.tail_start <= len(following.tokens)
        rendered = following


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(turns=turns, thinking=st.booleans(), with_tools=st.booleans(), first=words)
def test_next_prompt_extends_prompt_and_answer(
    family: Family, turns: list[Turn], thinking: bool, with_tools: bool, first: str
) -> None:
    request = ask(
        user(f"hello {first}"),
        tools=TOOLS if with_tools else (),
        thinking=Thinking(enabled=thinking),
    )
    check_extension(template_of(family), family, tokenizer(family), turns, request)


@pytest.fixture(scope="session")
def embedded_tokenizer(embedded_model_dir: Path) -> TokenizerWrapper:
    from mlx_lm.utils import load_tokenizer

    return load_tokenizer(embedded_model_dir)


@pytest.mark.model
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(turns=turns, with_tools=st.booleans(), head=st.booleans())
def test_the_embedded_models_prompts_extend_too(
    embedded_tokenizer: TokenizerWrapper, turns: list[Turn], with_tools: bool, head: bool
) -> None:
    template = ChatTemplate(embedded_tokenizer, FALLBACK)
    assert template.tools == "fallback"
    request = ask(
        user("hello 2024"),
        tools=TOOLS if with_tools else (),
        system=(TextBlock("Be brief."),) if head else (),
    )
    smollm2 = Family("smollm2", "", (), (), "fallback")
    check_extension(template, smollm2, embedded_tokenizer, turns, request)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_tokens_are_those_of_the_whole_text(family: Family) -> None:
    template = template_of(family)
    result = ToolResultBlock("t1", (TextBlock("1\tone\n2\ttwo\n"),))
    request = ask(
        user("hé  <|im_start|>\n\n"),
        system("mode: plan"),
        assistant("on it", ToolUseBlock("t1", "Read", {"path": "a.py"})),
        Message("user", (result, TextBlock("[Request interrupted by user]"))),
    )
    rendered = template.render(request)
    whole = tokenizer(family)._tokenizer.encode(rendered.text, add_special_tokens=False)
    assert rendered.tokens == tuple(whole)
    assert rendered.text.count(family.bos) == 1 if family.bos else True


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_everything_said_reaches_the_model_in_order(family: Family) -> None:
    template = template_of(family)
    result = ToolResultBlock("t1", (TextBlock("no such file"),), is_error=True)
    rendered = template.render(
        ask(
            user("first words"),
            system("mode: plan"),
            assistant("on it", ToolUseBlock("t1", "Read", {"path": "a.py"})),
            Message("user", (result, TextBlock("go on"))),
            assistant("done"),
            user("last words"),
        )
    )
    at = 0
    order = ["Be brief.", "first words", "mode: plan", "a.py", "Error: no such file", "go on"]
    for word in [*order, "done", "last words"]:
        assert word in rendered.text[at:], word
        at = rendered.text.index(word, at) + len(word)
    assert "Bash" in rendered.text
    assert rendered.notes == ()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_figures(family: Family) -> None:
    template = template_of(family)
    talk = (user("one"), assistant("two"), user("three"))
    rendered = template.render(ask(*talk, cache_mark=2))
    other = template.render(ask(user("Xyz")))
    assert rendered.system_tokens == common_length(rendered.tokens, other.tokens)
    assert rendered.mark_tokens == rendered.tail_start
    earlier = template.render(ask(*talk, cache_mark=0))
    alone = template.render(ask(user("one")))
    assert earlier.tokens[: earlier.mark_tokens] == alone.tokens[: alone.tail_start]
    assert template.render(ask(*talk, cache_mark=-1)).mark_tokens == rendered.system_tokens
    assert template.render(ask(*talk)).mark_tokens == 0
    assert 0 < rendered.system_tokens < alone.tail_start


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_who_tells_the_tools(family: Family) -> None:
    template = template_of(family)
    assert template.tools == family.tools
    assert (template.dialect is FALLBACK.dialect) == (family.tools == "fallback")
    raw = family.call.replace("NAME", "Read").replace("VALUE", "a/b.py")
    if family.tools == "template":
        parser = template.dialect.parser(TOOLS, None)
        segments = [*parser.feed(raw), *parser.finish()]
        assert segments[0] == CallOpen("Read")
        pieces = "".join(s.json for s in segments if isinstance(s, CallPiece))
        assert json.loads(pieces) == {"path": "a/b.py"}


def test_an_edited_echo_is_rendered_as_sent() -> None:
    template = template_of(family("chatml"))
    use = ToolUseBlock("t1", "Bash", {"command": "ls -la"})
    rendered = template.render(
        ask(user("list"), assistant(use), Message("user", (ToolResultBlock("t1", ()),)))
    )
    assert '{"command": "ls -la"}' in rendered.text


def test_an_assistants_last_words_are_continued() -> None:
    template = template_of(family("qwen3"))
    rendered = template.render(ask(user("one"), assistant("two, "), cache_mark=0))
    before = template.render(ask(user("one")))
    assert rendered.text == before.text + "two,"
    assert rendered.tail_start == before.tail_start


def test_last_words_that_cannot_be_continued_are_answered() -> None:
    template = template_of(family("chatml"))
    rendered = template.render(ask(user("one"), assistant("two"), assistant("three")))
    assert rendered.text.endswith("three<|im_end|>\n<|im_start|>assistant\n")
    assert len(rendered.notes) == 1
    assert rendered.notes[0].startswith("messages.2: answered, not continued")


def test_a_thought_the_tail_opens_is_closed_before_last_words() -> None:
    template = template_of(family("deepseek"))
    rendered = template.render(ask(user("one"), assistant("two")))
    assert rendered.text.endswith("<|Assistant|><think>\n\n</think>\n\ntwo")
    assert rendered.thinking is not None
    assert not rendered.thinking.opened
    opened = template.render(ask(user("one"))).thinking
    assert opened is not None and opened.opened


def test_thoughts_of_history_follow_the_template() -> None:
    template = template_of(family("qwen3"))
    thought = ThinkingBlock("it is hidden", "sig")
    use = ToolUseBlock("t1", "Read", {"path": "a"})
    loop = (user("go"), assistant(thought, use), Message("user", (ToolResultBlock("t1", ()),)))
    assert "<think>\nit is hidden\n</think>" in template.render(ask(*loop)).text
    later = template.render(ask(*loop, assistant("done"), user("next"))).text
    assert "it is hidden" not in later


def test_thinking_flag_reaches_the_tail() -> None:
    template = template_of(family("qwen3"))
    off = template.render(ask(user("go")))
    on = template.render(ask(user("go"), thinking=Thinking(enabled=True)))
    assert off.text.endswith("<think>\n\n</think>\n\n")
    assert on.text.endswith("<|im_start|>assistant\n")
    assert off.tokens[: off.tail_start] == on.tokens[: on.tail_start]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_thinking_flag_leaves_history_alone(family: Family) -> None:
    template = template_of(family)
    request = ask(user("one"), assistant("two"), user("three"))
    off = template.render(request)
    on = template.render(replace(request, thinking=Thinking(enabled=True)))
    same = off.tokens[: off.tail_start] == on.tokens[: on.tail_start]
    assert same == (family.name not in FLAG_IN_HISTORY)


def test_each_turn_keeps_the_tail_of_the_request_it_answered() -> None:
    template, model = template_of(family("qwen3")), tokenizer(family("qwen3"))
    echoes = [
        EchoTurn(at, tuple(model.encode(text, add_special_tokens=False)), thinking)
        for at, text, thinking in [(1, "<think>\nhm\n</think>\n\ntwo", True), (3, "four", False)]
    ]
    talk = ask(user("one"), assistant("two"), user("three"), assistant("four"), user("five"))
    start, shut = "<|im_start|>assistant\n", "<think>\n\n</think>\n\n"
    for enabled, closing in [(False, start + shut), (True, start)]:
        text = template.render(replace(talk, thinking=Thinking(enabled)), echoes).text
        assert f"{start}<think>\nhm\n</think>\n\ntwo<|im_end|>" in text
        assert f"{start}{shut}four<|im_end|>" in text
        assert text.endswith(f"five<|im_end|>\n{closing}")
    more = replace(talk, messages=(*talk.messages, assistant("six, ")))
    text = template.render(replace(more, thinking=Thinking(False)), echoes[:1]).text
    assert text.endswith(f"{start}{shut}six,")


def test_dates_stay_those_of_the_load() -> None:
    """Each its own, though they share a tokenizer."""
    for month in ("Jan", "Feb"):
        at = datetime.datetime.strptime(f"03 {month} 2031", "%d %b %Y")
        template = ChatTemplate(tokenizer(family("llama3")), FALLBACK, now=lambda at=at: at)
        assert f"Today Date: 03 {month} 2031" in template.render(ask(user("go"))).text


def test_an_echo_without_a_place_is_rendered_as_sent_with_a_note() -> None:
    shouting = replace(
        family("chatml"),
        name="shouting",
        template=family("chatml").template.replace("message.content +", "message.content|upper +"),
    )
    template = template_of(shouting)
    request = ask(user("one"), assistant("two"), user("three"), tools=())
    rendered = template.render(request, [EchoTurn(1, (5, 6))])
    assert "TWO" in rendered.text
    assert len(rendered.notes) == 1 and rendered.notes[0].startswith("messages.1: echo not reused")


def test_a_refusal_in_every_form_names_the_reason() -> None:
    fussy = replace(
        family("chatml"),
        name="fussy",
        template="{% if 'xyzzy' in messages[-1].content %}{{ raise_exception('no magic') }}"
        "{% endif %}" + family("chatml").template,
    )
    with pytest.raises(InvalidRequest, match="no magic"):
        template_of(fussy).render(ask(user("xyzzy")))


def test_a_template_that_takes_nothing_is_refused_at_load() -> None:
    broken = replace(family("chatml"), name="broken", template="{{ raise_exception('never') }}")
    with pytest.raises(ValueError, match="never"):
        template_of(broken)


def test_a_model_without_a_template_gets_a_plain_one() -> None:
    from mlx_lm.tokenizer_utils import TokenizerWrapper
    from transformers import PreTrainedTokenizerFast

    bare = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer(family("chatml"))._tokenizer.backend_tokenizer,
        eos_token="<|im_end|>",
    )
    template = ChatTemplate(TokenizerWrapper(bare), FALLBACK)
    rendered = template.render(ask(user("one"), assistant("two"), user("three"), tools=()))
    assert rendered.text == (
        "System: Be brief.\n\nUser: one\n\nAssistant: two\n\nUser: three\n\nAssistant:"
    )

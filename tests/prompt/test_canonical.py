"""The canonical form: what changes nothing for the model changes nothing in the prompt."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyclaude.prompt.canonical import RULES, canonicalise, definition_text
from anyclaude.types import (
    Block,
    Message,
    MessagesRequest,
    OpaqueBlock,
    TextBlock,
    ToolChoice,
    ToolDefinition,
    ToolReferenceBlock,
    ToolResultBlock,
    ToolUseBlock,
)

BILLING = "x-anthropic-billing-header: cc_version=2.1.330.{}; cc_entrypoint=cli;"
TOTAL = "<total_tokens>{} tokens left</total_tokens>"
WRAPPED = "<system-reminder>\n" + TOTAL + "\n</system-reminder>"
SCHEMA = {"type": "object", "properties": {"url": {"type": "string"}}}


def tool(name: str, *, defer: bool = False, type: str | None = None) -> ToolDefinition:
    return ToolDefinition(name, f"does {name}", SCHEMA, type, defer)


def user(*blocks: Block | str) -> Message:
    return Message("user", tuple(TextBlock(b) if isinstance(b, str) else b for b in blocks))


def request(*messages: Message, system: tuple[str, ...] = (), **changes: object) -> MessagesRequest:
    made = MessagesRequest(
        "m", 100, messages or (user("hi"),), tuple(TextBlock(text) for text in system)
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def texts(made: MessagesRequest) -> list[list[str]]:
    return [[b.text for b in m.content if isinstance(b, TextBlock)] for m in made.messages]


# ------------------------------------------------------------------------------- each rule


def test_billing_line_leaves_as_a_block_and_as_a_first_line() -> None:
    as_list = canonicalise(request(system=(BILLING.format("a1b"), "You are Claude Code.")))
    as_string = canonicalise(request(system=(BILLING.format("fff") + "\nYou are Claude Code.",)))
    assert as_list.request.system == (TextBlock("You are Claude Code."),)
    assert as_list.request == as_string.request
    assert as_list.applied == (("billing_line", 1),)


def test_a_text_that_only_mentions_the_billing_line_stays() -> None:
    mentions = "The block x-anthropic-billing-header: is dropped."
    assert canonicalise(request(system=(mentions,))).applied == ()


@pytest.mark.parametrize("form", [TOTAL, WRAPPED])
def test_token_budget_at_the_end_of_the_system_prompt_with_old_copies(form: str) -> None:
    one = request(system=("Be brief.\n\n" + form.format(14999841),))
    two = request(system=("Be brief.\n\n" + form.format(14999841) + "\n" + form.format(7),))
    assert canonicalise(one).request == canonicalise(two).request
    assert canonicalise(one).request.system == (TextBlock("Be brief."),)
    assert canonicalise(one).applied == (("token_budget", 1),)


@pytest.mark.parametrize("form", [TOTAL, WRAPPED])
def test_token_budget_glued_to_a_tool_result(form: str) -> None:
    result = ToolResultBlock("toolu_1", (TextBlock("ok\n" + form.format("12,345")),))
    made = canonicalise(request(user("go"), user(result)))
    assert made.request.messages[1].content == (ToolResultBlock("toolu_1", (TextBlock("ok"),)),)


def test_token_budget_message_goes_and_the_cache_mark_follows() -> None:
    counter = Message("system", (TextBlock(TOTAL.format(5)),))
    before = request(user("a"), counter, user("b"), cache_mark=2)
    made = canonicalise(before).request
    assert texts(made) == [["a"], ["b"]]
    assert made.cache_mark == 1


def test_token_budget_inside_a_reminder_leaves_the_rest() -> None:
    block = f"<system-reminder>\nToday is Monday.\n{TOTAL.format(9)}\n</system-reminder>"
    made = canonicalise(request(user(block, "do it"))).request
    assert texts(made) == [["<system-reminder>\nToday is Monday.\n</system-reminder>", "do it"]]


@pytest.mark.parametrize(
    "text",
    [
        "what does <total_tokens>5 tokens left</total_tokens> mean",
        "explain\n<total_tokens>5 tokens left</total_tokens>\nto me",
        "<usage><total_tokens>812</total_tokens></usage>",
    ],
)
def test_what_a_person_or_an_assistant_wrote_about_counters_stays(text: str) -> None:
    made = request(user(text), Message("assistant", (TextBlock(text),)), user("?"))
    assert canonicalise(made).request == made


def test_a_file_that_holds_a_counter_in_a_line_stays() -> None:
    text = f"     1\tx = '{TOTAL.format(5)}'\n     2\t{TOTAL.format(5)}"
    made = request(user(ToolResultBlock("t", (TextBlock(text),))))
    assert canonicalise(made).request == made


def test_the_only_message_is_never_dropped() -> None:
    made = canonicalise(request(Message("system", (TextBlock(TOTAL.format(1)),)))).request
    assert made.messages == (Message("system", ()),)


def test_empty_text_goes_but_blank_output_of_a_tool_stays() -> None:
    result = ToolResultBlock("t", (TextBlock(""), TextBlock("\n")))
    made = canonicalise(request(user("", "hi", " \n", result), system=(" ", "s")))
    assert made.request.system == (TextBlock("s"),)
    assert made.request.messages[0].content == (
        TextBlock("hi"),
        ToolResultBlock("t", (TextBlock("\n"),)),
    )
    assert made.applied == (("empty_text", 4),)


def test_cache_marks_leave_what_is_kept_raw() -> None:
    raw = {"type": "search_result", "title": "x"}
    marked = OpaqueBlock("search_result", {**raw, "cache_control": {"type": "ephemeral"}})
    made = canonicalise(request(user(marked)))
    assert made.request.messages[0].content == (OpaqueBlock("search_result", raw),)
    assert made.applied == (("cache_control", 1),)


def test_server_tools_leave_and_a_choice_of_one_is_lifted() -> None:
    search = tool("web_search", type="web_search_20250305")
    alone = request(tools=(search,), tool_choice=ToolChoice("tool", "web_search"))
    made = canonicalise(alone)
    assert made.request.tools == () and made.callable_tools == ()
    assert made.request.tool_choice == ToolChoice()
    editor = tool("str_replace_based_edit_tool", type="text_editor_20250728")
    kept = canonicalise(request(tools=(editor,), tool_choice=ToolChoice("any")))
    assert kept.request.tools == (editor,) and kept.request.tool_choice == ToolChoice("any")


def test_deferred_tools_show_where_they_were_loaded_and_can_be_called() -> None:
    header = (tool("Bash"), tool("ToolSearch"))
    call = Message("assistant", (ToolUseBlock("toolu_1", "ToolSearch", {"query": "x"}),))
    refs = (ToolReferenceBlock("WebFetch"), ToolReferenceBlock("Gone"))
    before = canonicalise(
        request(
            user("x"),
            tools=(header[0], tool("DeferredToolPlaceholder", defer=True), header[1]),
        )
    )
    after = canonicalise(
        request(
            user("x"),
            call,
            user(ToolResultBlock("toolu_1", refs)),
            tools=(
                header[0],
                tool("DeferredToolPlaceholder", defer=True),
                header[1],
                tool("WebFetch", defer=True),
            ),
        )
    )
    assert before.request.tools == after.request.tools == header
    assert [t.name for t in after.callable_tools] == ["Bash", "ToolSearch", "WebFetch"]
    result = after.request.messages[2].content[0]
    assert isinstance(result, ToolResultBlock)
    shown = [b.text for b in result.content if isinstance(b, TextBlock)]
    assert json.loads(shown[0]) == {
        "type": "function",
        "function": {"name": "WebFetch", "description": "does WebFetch", "parameters": SCHEMA},
    }
    assert shown[0] == definition_text(tool("WebFetch"))
    assert "Gone" in shown[1]
    assert after.applied == (("deferred_tools", 3),)


def test_tool_order_and_system_messages_stay_in_place() -> None:
    made = request(
        user("a"),
        Message("system", (TextBlock("env"),)),
        system=("one", "two"),
        tools=(tool("Write"), tool("Agent")),
    )
    assert canonicalise(made).request is made


# ------------------------------------------------------------------------------ all of them


NOISY = request(
    user("", "x", ToolResultBlock("t", (ToolReferenceBlock("A"), TextBlock(TOTAL.format(1))))),
    user(OpaqueBlock("o", {"cache_control": None})),
    Message("assistant", (OpaqueBlock("mcp_tool_result", {"tool_use_id": "none"}), TextBlock("a"))),
    system=(BILLING.format("123"), "s\n" + TOTAL.format(8)),
    tools=(tool("A", defer=True), tool("web_search", type="web_search_20250305")),
)


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_each_rule_has_a_switch_that_switches_it_alone(rule: str) -> None:
    everything = {name for name, _ in canonicalise(NOISY).applied}
    assert everything == {r.name for r in RULES}
    left = {name for name, _ in canonicalise(NOISY, frozenset({rule})).applied}
    assert left == everything - {rule}


def test_all_rules_off_changes_nothing() -> None:
    assert canonicalise(NOISY, frozenset(r.name for r in RULES)).request is NOISY


lines = st.sampled_from(
    [
        "",
        " ",
        "\n",
        "text",
        "<system-reminder>",
        "</system-reminder>",
        TOTAL.format(1),
        WRAPPED.format(22),
        BILLING.format("abc"),
        "<total_tokens>",
    ]
)
any_text = st.lists(lines, max_size=6).flatmap(
    lambda parts: st.sampled_from(["\n".join(parts), "".join(parts), "\n\n".join(parts)])
)
text_blocks = st.builds(TextBlock, any_text)
references = st.builds(ToolReferenceBlock, st.sampled_from(["A", "B", "missing"]))
results = st.builds(
    ToolResultBlock,
    st.just("toolu_1"),
    st.lists(text_blocks | references, max_size=3).map(tuple),
)
opaque = st.builds(OpaqueBlock, st.just("x"), st.sampled_from([{"cache_control": {}}, {"a": 1}]))
messages = st.builds(
    Message,
    st.sampled_from(["user", "assistant", "system"]),
    st.lists(text_blocks | results | references | opaque, max_size=4).map(tuple),
)
tools = st.sampled_from(
    [
        tool("A"),
        tool("B", defer=True),
        tool("DeferredToolPlaceholder", defer=True),
        tool("web_search", type="web_search_20250305"),
    ]
)
requests = st.builds(
    MessagesRequest,
    model=st.just("m"),
    max_tokens=st.just(9),
    messages=st.lists(messages, min_size=1, max_size=5).map(tuple),
    system=st.lists(text_blocks, max_size=3).map(tuple),
    tools=st.lists(tools, max_size=4, unique_by=lambda t: t.name).map(tuple),
    cache_mark=st.none() | st.integers(-1, 4),
)


@settings(deadline=None)
@given(requests)
def test_canonical_form_is_stable(made: MessagesRequest) -> None:
    once = canonicalise(made)
    assert once.request.messages
    again = canonicalise(once.request)
    assert again.request == once.request
    assert again.applied == ()


@settings(deadline=None)
@given(requests, st.integers(0, 10**9), st.text("0123456789abcdef", min_size=3, max_size=3))
def test_requests_that_differ_in_unstable_parts_alone_come_out_equal(
    made: MessagesRequest, left: int, digest: str
) -> None:
    def variant(count: int, version: str) -> MessagesRequest:
        system = (TextBlock(BILLING.format(version)), *made.system)
        counter = Message("system", (TextBlock(WRAPPED.format(count)),))
        extra = (TextBlock("end\n" + TOTAL.format(count)),)
        return replace(made, system=system + extra, messages=(*made.messages, user("q"), counter))

    one = canonicalise(variant(left, digest)).request
    assert one == canonicalise(variant(1, "000")).request
    assert "total_tokens" not in one.system[-1].text

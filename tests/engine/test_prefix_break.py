"""What a prompt lost and why, over real templates and a cache that only counts tokens."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from anyclaude.engine.prefix_break import PrefixHistory, Reuse, system_id
from anyclaude.engine.template import ChatTemplate, Rendered, common_length
from anyclaude.types import (
    BackendRequest,
    EchoTurn,
    Message,
    MessagesRequest,
    PrefixBreak,
    PrefixMiss,
    Role,
    TextBlock,
    Thinking,
    ThinkingBlock,
    Tokens,
    ToolDefinition,
    ToolResultBlock,
    ToolUseBlock,
)
from tests.engine.families import Family, tokenizer
from tests.engine.test_template import (
    TOOLS,
    ask,
    assistant,
    family,
    system,
    template_of,
    user,
)

LONG = "words that take a while to read, " * 8
EVERY = pytest.mark.parametrize("name", ["chatml", "qwen3", "gemma", "glm", "mistral"])
BILLING = TextBlock("x-anthropic-billing-header: cc_version=2.1.330.0a1; cc_entrypoint=cli;")
BUDGET = "<total_tokens>1234 tokens left</total_tokens>"


@dataclass
class Desk:
    """Judges prompts as the engine has them judged; what was computed stays cached."""

    family: Family
    history: PrefixHistory = field(default_factory=PrefixHistory)
    held: list[Tokens] = field(default_factory=list)
    fingerprint: str = "one"
    tps: float = 100.0
    exact: bool = True
    rendered: list[Rendered] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def template(self) -> ChatTemplate:
        return template_of(self.family)

    def ask(
        self,
        request: MessagesRequest,
        answer: str | None = "the answer",
        *,
        role: Role = Role.MAIN,
        session: str = "s",
        echoes: tuple[EchoTurn, ...] = (),
    ) -> PrefixMiss:
        id = f"req_{next(self.numbers)}"
        rendered = self.template.render(request, echoes)
        self.rendered.append(rendered)
        shared = max((common_length(rendered.tokens, held) for held in self.held), default=0)
        reused = min(shared, len(rendered.tokens) - 1)
        if not self.exact:
            places = (0, rendered.system_tokens, *rendered.message_ends, rendered.tail_start)
            reused = max(place for place in places if place <= reused)
        miss = self.history.judge(
            BackendRequest(id, request, role, session, echoes),
            rendered,
            self.fingerprint,
            Reuse(reused, sum(map(len, self.held)), self.tps, self.exact),
            self.template.decode,
        )
        self.read = reused
        if answer is not None:
            tokens = self.tokens(answer)
            self.held.append((*rendered.tokens, *tokens[:-1]))
            self.history.answered(id, tokens)
        return miss

    def tokens(self, text: str) -> Tokens:
        return tuple(tokenizer(self.family).encode(text, add_special_tokens=False))

    def evict(self) -> None:
        self.held = [tokens[:20] for tokens in self.held[-1:]]

    def flush(self) -> None:
        self.held = []
        self.history.flushed()


def desk(name: str = "chatml", **fields: object) -> Desk:
    return Desk(family(name), **fields)  # type: ignore[arg-type]


def call(id: str, text: str = "") -> tuple[Message, Message]:
    use = ToolUseBlock(id, "Read", {"path": f"/tmp/{id}"})
    result = ToolResultBlock(id, (TextBlock(text or f"{LONG}{id}"),))
    return assistant(f"I read {id}", use), Message("user", (result,))


HISTORY = (
    user(f"alpha {LONG}"),
    system(f"the environment {LONG}"),
    *call("t1"),
    assistant("done"),
    user("and now?"),
    *call("t2"),
)
FIRST = ask(*HISTORY)
NEXT = (assistant("the answer"), user("go on"))


def went_on(messages: tuple[Message, ...] = HISTORY, **fields: object) -> MessagesRequest:
    return ask(*messages, *NEXT, **fields)


# ------------------------------------------------------------------------- nothing is lost


@EVERY
def test_a_first_prompt_is_cold_and_the_next_session_is_new(name: str) -> None:
    one = desk(name)
    assert one.ask(FIRST).cause is PrefixBreak.COLD
    new = one.ask(replace(FIRST, messages=(user("else"),)), session="other")
    assert new.cause is PrefixBreak.NEW_SESSION
    assert (new.at, new.tokens_lost, new.seconds_lost) == (one.read, 0, 0.0)
    assert one.read >= one.rendered[-1].system_tokens


@EVERY
def test_growing_loses_nothing(name: str) -> None:
    one = desk(name)
    one.ask(FIRST)
    answer = EchoTurn(len(HISTORY), one.tokens("the answer"))
    assert one.ask(went_on(), echoes=(answer,)) == PrefixMiss()
    more = went_on((*HISTORY, *NEXT, system("a new mode")))
    assert one.ask(replace(more, messages=more.messages[:-2]), echoes=(answer,)) == PrefixMiss()


@EVERY
def test_words_added_to_a_turn_that_was_not_answered_lose_nothing(name: str) -> None:
    one = desk(name)
    one.ask(FIRST, answer=None)
    *earlier, last = HISTORY
    longer = replace(last, content=(*last.content, TextBlock("[Request interrupted by user]")))
    assert one.ask(ask(*earlier, longer)) == PrefixMiss()


def test_the_same_prompt_again_loses_nothing() -> None:
    one = desk()
    one.ask(FIRST)
    assert one.ask(FIRST) == PrefixMiss()
    assert one.read == len(one.rendered[-1].tokens) - 1


def test_a_prompt_whose_prefill_was_broken_off_is_not_called_evicted() -> None:
    one = desk()
    one.ask(FIRST, answer=None)
    assert one.ask(FIRST) == PrefixMiss()


def test_a_branch_at_an_earlier_turn_loses_nothing_if_all_shared_was_reused() -> None:
    one = desk()
    one.ask(FIRST)
    branch = one.ask(ask(*HISTORY[:5], user("something else")))
    assert branch.cause is PrefixBreak.HISTORY_CHANGED
    assert (branch.message, branch.at, branch.tokens_lost) == (5, one.read, 0)
    assert branch.before != branch.after
    assert "and now?" in branch.before
    assert "something else" in branch.after
    back = one.ask(ask(*HISTORY[:5]))
    assert (back.cause, back.tokens_lost) == (PrefixBreak.HISTORY_CHANGED, 0)


# ---------------------------------------------------------------------------- what changed


def changed_tools(tools: tuple[ToolDefinition, ...]) -> MessagesRequest:
    return went_on(tools=tools)


BASH = replace(TOOLS[1], name="Shell")
EXTRA = ToolDefinition("Write", "writes a file", {"type": "object", "properties": {}})
SUMMARY = user("This session is being continued from one that ran out of context. " + LONG)


def edit(index: int, message: Message) -> tuple[Message, ...]:
    return (*HISTORY[:index], message, *HISTORY[index + 1 :])


CHANGES: dict[str, tuple[MessagesRequest, PrefixBreak, int]] = {
    "a tool is new": (changed_tools((*TOOLS, EXTRA)), PrefixBreak.TOOLS_CHANGED, -1),
    "a tool is gone": (changed_tools(TOOLS[:1]), PrefixBreak.TOOLS_CHANGED, -1),
    "a tool is another": (changed_tools((TOOLS[0], BASH)), PrefixBreak.TOOLS_CHANGED, -1),
    "the system prompt": (
        went_on(system=(TextBlock("Be verbose."),)),
        PrefixBreak.SYSTEM_CHANGED,
        -1,
    ),
    "a result": (went_on(edit(3, call("t1", "cleared")[1])), PrefixBreak.HISTORY_CHANGED, 3),
    "an old answer": (went_on(edit(4, assistant("undone"))), PrefixBreak.HISTORY_CHANGED, 4),
    "a system message came": (
        went_on((*HISTORY[:4], system("[note] plan mode"), *HISTORY[4:])),
        PrefixBreak.SYSTEM_MOVED,
        4,
    ),
    "a system message went": (went_on((HISTORY[0], *HISTORY[2:])), PrefixBreak.SYSTEM_MOVED, 1),
    "a system message moved": (
        ask(HISTORY[0], *HISTORY[2:], *NEXT, HISTORY[1]),
        PrefixBreak.SYSTEM_MOVED,
        1,
    ),
    "a system message is another": (
        went_on(edit(1, system("another environment"))),
        PrefixBreak.SYSTEM_CHANGED,
        1,
    ),
    "a short new beginning": (ask(user("in short: x")), PrefixBreak.COMPACTION, 0),
}


@EVERY
@pytest.mark.parametrize("what", CHANGES)
def test_what_changed(name: str, what: str) -> None:
    request, cause, message = CHANGES[what]
    one = desk(name)
    one.ask(FIRST)
    miss = one.ask(request, echoes=(EchoTurn(len(HISTORY), one.tokens("the answer")),)[:0])
    assert miss.cause is cause
    assert miss.message == message
    assert miss.at is not None
    assert miss.at <= one.read + 1
    before, now = one.rendered
    assert before.tokens[: miss.at] == now.tokens[: miss.at]
    assert before.tokens[miss.at] != now.tokens[miss.at]
    lead = common_length(miss.before, miss.after)
    assert miss.before[:lead] in before.text
    assert miss.before != miss.after
    assert max(len(miss.before), len(miss.after)) <= 120


@pytest.mark.parametrize("what", CHANGES)
def test_what_had_been_computed_behind_a_change_is_lost(what: str) -> None:
    one = desk(tps=50.0)
    one.ask(FIRST)
    miss = one.ask(CHANGES[what][0])
    rest = len(one.rendered[-1].tokens) - one.read
    again = sum(
        b - max(a, one.read)
        for (a, b), message in zip(
            itertools.pairwise((one.rendered[-1].system_tokens, *one.rendered[-1].message_ends)),
            CHANGES[what][0].messages,
            strict=True,
        )
        if message in HISTORY and b > one.read
    )
    assert again - 40 <= miss.tokens_lost <= rest
    assert miss.seconds_lost == pytest.approx(miss.tokens_lost / 50.0)


def test_nothing_is_lost_when_another_conversation_has_the_changed_prompt() -> None:
    one = desk()
    one.ask(FIRST)
    request = CHANGES["a tool is new"][0]
    one.ask(request, session="other")
    miss = one.ask(request)
    assert miss.cause is PrefixBreak.TOOLS_CHANGED
    assert miss.tokens_lost == 0
    assert one.read > 500


@pytest.mark.parametrize("part", ["system", "message"])
def test_a_line_whose_rule_is_off_is_named(part: str) -> None:
    one = desk()
    if part == "system":
        texts = ("Be brief.", f"Be brief.\n{BUDGET}")
        first, then = (ask(*HISTORY, system=(TextBlock(text),)) for text in texts)
        index = -1
    else:
        first = ask(*edit(3, call("t1", f"found {LONG}\n{BUDGET}")[1]))
        then = went_on(edit(3, call("t1", f"found {LONG}")[1]))
        index = 3
    one.ask(first)
    miss = one.ask(then)
    assert (miss.cause, miss.message) == (PrefixBreak.BUDGET_MARKER, index)


def test_a_counter_in_a_block_of_its_own_is_named() -> None:
    one = desk()
    reminder = TextBlock(f"<system-reminder>\n{BUDGET}\n</system-reminder>")
    last = HISTORY[-1]
    one.ask(ask(*edit(len(HISTORY) - 1, replace(last, content=(*last.content, reminder)))))
    assert one.ask(went_on()).cause is PrefixBreak.BUDGET_MARKER


def test_a_billing_line_that_differs_is_named() -> None:
    one = desk()
    other = TextBlock(BILLING.text.replace("0a1", "1b2"))
    one.ask(ask(*HISTORY, system=(BILLING, TextBlock("Be brief."))))
    miss = one.ask(went_on(system=(other, TextBlock("Be brief."))))
    assert miss.cause is PrefixBreak.BILLING_LINE
    both = went_on(system=(BILLING, TextBlock("Be verbose.")))
    assert one.ask(both).cause is PrefixBreak.SYSTEM_CHANGED


def test_tools_and_system_both_changed_the_earlier_place_decides() -> None:
    one = desk()  # chatml tells the system prompt first, then the tools
    long = TextBlock(f"{LONG}Be brief.")
    one.ask(ask(*HISTORY, system=(long,)))
    request = went_on(system=(TextBlock(f"{LONG}Be verbose."),), tools=TOOLS[:1])
    assert one.ask(request).cause is PrefixBreak.SYSTEM_CHANGED
    late = desk()
    late.ask(ask(*HISTORY, system=()))
    request = went_on(system=(), tools=TOOLS[:1])
    assert late.ask(request).cause is PrefixBreak.TOOLS_CHANGED


# ------------------------------------------------------------------------------- compaction


@EVERY
def test_a_compaction_is_known_by_the_summary_asked_for(name: str) -> None:
    one = desk(name)
    one.ask(FIRST)
    asked = ask(*HISTORY, *NEXT[:1], user("Summarise the conversation."))
    echo = (EchoTurn(len(HISTORY), one.tokens("the answer")),)
    assert one.ask(asked, role=Role.COMPACT, echoes=echo) == PrefixMiss()
    compacted = ask(SUMMARY, *HISTORY[1:])
    miss = one.ask(compacted)
    assert (miss.cause, miss.message) == (PrefixBreak.COMPACTION, 0)
    echo = (EchoTurn(len(HISTORY), one.tokens("the answer")),)
    assert one.ask(ask(*compacted.messages, *NEXT), echoes=echo) == PrefixMiss()


def test_a_compaction_given_up_breaks_nothing() -> None:
    one = desk()
    one.ask(FIRST)
    one.ask(ask(*HISTORY, user("Summarise.")), answer=None, role=Role.COMPACT)
    echo = (EchoTurn(len(HISTORY), one.tokens("the answer")),)
    assert one.ask(went_on(), echoes=echo) == PrefixMiss()


# ---------------------------------------------------------------------- echoes and thoughts


@EVERY
def test_an_answer_that_came_back_in_other_words(name: str) -> None:
    one = desk(name)
    answer = f"the answer {LONG}"
    one.ask(FIRST, answer)
    miss = one.ask(ask(*HISTORY, assistant(f"(edited) {answer}"), user("go on")))
    assert (miss.cause, miss.message) == (PrefixBreak.ECHO_CHANGED, len(HISTORY))
    assert miss.tokens_lost > len(one.tokens(answer)) // 2
    assert "the answer" in miss.before
    assert "(edited)" in miss.after


def test_a_thought_that_did_not_come_back() -> None:
    one = desk("qwen3")
    first = replace(FIRST, thinking=Thinking(enabled=True))
    one.ask(first, f"<think>\nhm {LONG}\n</think>\n\nthe answer")
    without = ask(*HISTORY, *NEXT, thinking=Thinking(enabled=True))
    assert one.ask(without).cause is PrefixBreak.THINKING_DROPPED
    other = desk("qwen3")
    other.ask(first, f"<think>\nhm {LONG}\n</think>\n\nthe answer")
    answered = assistant(ThinkingBlock("something else", "sig"), "the answer")
    miss = other.ask(ask(*HISTORY, answered, user("go on"), thinking=Thinking(enabled=True)))
    assert miss.cause is PrefixBreak.ECHO_CHANGED


def thoughtful(thought: str) -> tuple[Message, ...]:
    use = ToolUseBlock("t", "Read", {"path": "a"})
    blocks = (ThinkingBlock(thought, "sig"), use) if thought else (use,)
    result = Message("user", (ToolResultBlock("t", (TextBlock(LONG),)),))
    return user("alpha"), assistant(*blocks), result


def test_an_earlier_thought_that_is_gone_or_changed() -> None:
    for other in ("", "another thought"):
        one = desk("qwen3")
        one.ask(ask(*thoughtful("a thought")))
        miss = one.ask(ask(*thoughtful(other), *call("t9")))
        assert (miss.cause, miss.message) == (PrefixBreak.THINKING_DROPPED, 1)


def test_thoughts_that_the_template_itself_lets_fade() -> None:
    one = desk("qwen3")
    one.ask(ask(*thoughtful("a thought")))
    miss = one.ask(ask(*thoughtful("a thought"), assistant("done"), user("next")))
    assert (miss.cause, miss.message) == (PrefixBreak.THINKING_DROPPED, 1)
    assert miss.tokens_lost > 50


def test_an_old_echo_that_is_lost() -> None:
    one = desk()
    tokens = one.tokens("I  read   t1")
    one.ask(FIRST, echoes=(EchoTurn(2, tokens),))
    miss = one.ask(went_on())
    assert (miss.cause, miss.message) == (PrefixBreak.ECHO_CHANGED, 2)


# ------------------------------------------------------------------------- what became of it


@EVERY
def test_what_was_there_and_is_gone(name: str) -> None:
    one = desk(name)
    one.ask(FIRST)
    known = len(one.held[0])
    echo = (EchoTurn(len(HISTORY), one.tokens("the answer")),)
    one.evict()
    miss = one.ask(went_on(), echoes=echo)
    assert (miss.cause, miss.at, miss.before, miss.after) == (PrefixBreak.EVICTED, 20, "", "")
    assert miss.tokens_lost == known - 20
    assert miss.message == -1
    one.flush()
    miss = one.ask(went_on(), echoes=echo)
    assert (miss.cause, miss.at) == (PrefixBreak.FLUSHED, 0)
    assert miss.tokens_lost == len(one.rendered[-1].tokens) - 1
    one.evict()
    assert one.ask(went_on(), echoes=echo).cause is PrefixBreak.EVICTED


def test_what_is_lost_of_a_head_that_others_had_is_counted_for_a_new_session() -> None:
    one = desk()
    one.ask(FIRST)
    one.evict()
    miss = one.ask(ask(user("hello")), session="other")
    assert miss.cause is PrefixBreak.NEW_SESSION
    head = one.rendered[0].system_tokens
    assert miss.tokens_lost == common_length(one.rendered[0].tokens, one.rendered[1].tokens) - 20
    assert miss.tokens_lost >= head - 20


@EVERY
def test_a_model_that_matches_at_message_ends_only_has_lost_nothing_there(name: str) -> None:
    one = desk(name, exact=False)
    one.ask(FIRST)
    branch = one.ask(ask(*HISTORY[:5], user("and now what")))
    assert branch.cause is PrefixBreak.HISTORY_CHANGED
    assert branch.tokens_lost == 0
    assert one.ask(ask(*HISTORY[:5], user("and now what"))).cause is PrefixBreak.NONE
    one.evict()
    assert one.ask(ask(*HISTORY[:5], user("and now what"))).cause is PrefixBreak.EVICTED


def test_another_model_and_back() -> None:
    one = desk()
    one.ask(FIRST)
    one.flush()
    one.fingerprint = "two"
    miss = one.ask(went_on())
    assert (miss.cause, miss.at) == (PrefixBreak.OTHER_MODEL, 0)
    ends = one.rendered[-1].message_ends
    assert miss.tokens_lost == ends[len(HISTORY) - 1]
    one.flush()
    one.fingerprint = "one"
    assert one.ask(went_on()).cause is PrefixBreak.OTHER_MODEL
    one.flush()
    assert one.ask(went_on()).cause is PrefixBreak.FLUSHED


def test_without_a_measured_speed_no_seconds_are_claimed() -> None:
    one = desk(tps=0.0)
    one.ask(FIRST)
    one.evict()
    miss = one.ask(FIRST)
    assert miss.tokens_lost > 0
    assert miss.seconds_lost == 0.0


# -------------------------------------------------------------------------------- who is who


@pytest.mark.parametrize("role", [Role.TITLE, Role.SEARCH, Role.PROBE])
def test_small_calls_are_conversations_of_their_own(role: Role) -> None:
    one = desk()
    one.ask(FIRST)
    small = ask(user("a title, please"), tools=())
    for text in ("Name it.", "Name that."):
        named = replace(small, system=(TextBlock(text),))
        assert one.ask(named, role=role).cause is PrefixBreak.NEW_SESSION
    echo = (EchoTurn(len(HISTORY), one.tokens("the answer")),)
    assert one.ask(went_on(), echoes=echo) == PrefixMiss()


def test_subagents_do_not_spoil_the_main_conversation_nor_each_other() -> None:
    one = desk()
    one.ask(FIRST)
    agents = [ask(user(f"agent {n} {LONG}"), system=(TextBlock("An agent."),)) for n in (1, 2)]
    for agent in agents:  # without an id of their own
        assert one.ask(agent, role=Role.SUBAGENT).cause is PrefixBreak.NEW_SESSION
    for number, agent in enumerate(agents):
        assert one.ask(agent, role=Role.SUBAGENT, session=f"s/{number}").cause is (
            PrefixBreak.NEW_SESSION
        )
    for agent in agents:
        more = replace(agent, messages=(*agent.messages, *NEXT))
        echo = (EchoTurn(1, one.tokens("the answer")),)
        assert one.ask(more, role=Role.SUBAGENT, echoes=echo) == PrefixMiss()
    edited = replace(agents[0], messages=(user("other"), *call("t")))
    miss = one.ask(edited, role=Role.SUBAGENT, session="s/0")
    assert miss.cause is PrefixBreak.HISTORY_CHANGED
    echo = (EchoTurn(len(HISTORY), one.tokens("the answer")),)
    assert one.ask(went_on(), echoes=echo) == PrefixMiss()


def test_clients_without_session_ids_are_told_apart_by_how_they_began() -> None:
    one = desk()
    one.ask(FIRST, session="")
    other = ask(user("hello"), *call("t3"))
    assert one.ask(other, session="").cause is PrefixBreak.NEW_SESSION
    echo = (EchoTurn(len(HISTORY), one.tokens("the answer")),)
    assert one.ask(went_on(), session="", echoes=echo) == PrefixMiss()
    changed = replace(went_on(), system=(TextBlock("Be verbose."),))
    assert one.ask(changed, session="").cause is PrefixBreak.SYSTEM_CHANGED


def test_the_longest_unused_conversations_are_forgotten_agents_first() -> None:
    one = desk(history=PrefixHistory(limit=2))
    for session in ("a", "b", "a", "c"):
        one.ask(FIRST, session=session)
    assert one.ask(FIRST, session="a").cause is PrefixBreak.NONE
    assert one.ask(FIRST, session="b").cause is PrefixBreak.NEW_SESSION
    size = 4 * len(one.rendered[0].tokens)
    tight = desk(history=PrefixHistory(limit_bytes=3 * size))
    tight.ask(FIRST, session="a")
    tight.ask(FIRST, session="a/1", role=Role.SUBAGENT)
    tight.ask(FIRST, session="a/2", role=Role.SUBAGENT)
    tight.ask(FIRST, session="b")
    assert tight.ask(FIRST, session="a").cause is PrefixBreak.NONE
    assert tight.ask(FIRST, session="a/1", role=Role.SUBAGENT).cause is PrefixBreak.NEW_SESSION


def test_text_is_decoded_only_around_a_difference() -> None:
    one = desk()
    seen: list[int] = []
    decode = one.template.decode

    def counting(tokens: Tokens) -> str:
        seen.append(len(tokens))
        return decode(tokens)

    def judge(request: MessagesRequest) -> PrefixMiss:
        rendered = one.template.render(request)
        decoder: Callable[[Tokens], str] = counting
        asked = BackendRequest("r", request, Role.MAIN, "s")
        return one.history.judge(asked, rendered, "one", Reuse(0, 0), decoder)

    judge(FIRST)
    judge(went_on())
    assert seen == []
    judge(CHANGES["a result"][0])
    assert max(seen) < 100


def test_system_ids_name_the_system_prompt_and_the_tools() -> None:
    template = template_of(family("chatml"))
    one, same, other, tools = (
        system_id(template.render(request))
        for request in (
            FIRST,
            ask(user("else")),
            ask(user("else"), system=(TextBlock("Be verbose."),)),
            ask(user("else"), tools=TOOLS[:1]),
        )
    )
    assert one == same
    assert len({one, other, tools}) == 3
    assert len(one) == 8

"""What of a request a backend is sent: tiers, cuts, and what stays the same from turn to turn."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest

from anyclaude.arrival import Arrival
from anyclaude.backend import BackendRequest, Delta, EchoTurn, Finish
from anyclaude.caches.response.cache import ResponseCache
from anyclaude.caches.response.memory import MemoryTier
from anyclaude.errors import PromptTooLong
from anyclaude.events import Bus, PromptShaped, SystemEvent
from anyclaude.exchange import Exchange, ExchangeOptions
from anyclaude.gateway import Gateway
from anyclaude.keepalive import KeepAliveTimes
from anyclaude.keeping import Answers
from anyclaude.ledger import Ledger
from anyclaude.pipeline import Pipeline, PipelineOptions
from anyclaude.prompt.canonical import definition_text
from anyclaude.prompt.decisions import Decision, Decisions
from anyclaude.prompt.deferring import LOADER, loader_for
from anyclaude.prompt.echo import EchoStore
from anyclaude.prompt.tiers import PromptTier
from anyclaude.prompt.window import sizes_of
from anyclaude.prompting import Prompter, PromptOptions
from anyclaude.recent import RecentDetails
from anyclaude.replayed import Replayed
from anyclaude.shaping import Shaping
from anyclaude.types import (
    ClientInfo,
    JsonObject,
    Message,
    MessagesRequest,
    Role,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    Usage,
)
from tests.prompt.sample import READ
from tests.prompt.sample import request as sample
from tests.test_pipeline import ADMISSION, PLAIN, FakeBackend, FakeGeneration, Sink


def tokens_of(request: MessagesRequest) -> int:
    """A token a character, so that sizes can be foretold."""
    head = [block.text for block in request.system] + [definition_text(t) for t in request.tools]
    return sum(map(len, head)) + sum(sizes_of(request.messages))


@dataclass
class Windowed:
    """A backend with a window and a tokenizer that makes a token of each character."""

    context_limit: int = 0
    name: str = "windowed"
    fingerprint: str = "f"
    asked: list[BackendRequest] = field(default_factory=list)
    generations: list[FakeGeneration] = field(default_factory=list)

    async def open(self, request: BackendRequest) -> FakeGeneration:
        self.asked.append(request)
        tokens = tokens_of(request.request)
        if self.context_limit and tokens >= self.context_limit:
            raise PromptTooLong(tokens, self.context_limit)
        admission = replace(ADMISSION, usage=Usage(tokens))
        finish = Finish("stop", Usage(tokens, output_tokens=1), tokens=(1,))
        self.generations.append(FakeGeneration((Delta("ok", 1), finish), admission))
        return self.generations[-1]

    async def count(self, request: BackendRequest) -> int:
        return tokens_of(request.request)

    async def count_texts(self, texts: Sequence[str]) -> tuple[int, ...]:
        return tuple(map(len, texts))


@dataclass
class Rig:
    pipeline: Pipeline
    backend: Windowed
    sink: Sink
    bus: Bus
    ledger: Ledger
    sent: int = 0

    async def send(
        self, request: MessagesRequest, session: str = "s", role_agent: str = ""
    ) -> MessagesRequest:
        """The request as the backend that took it was sent it."""
        self.sent += 1
        arrival = Arrival(f"req_{self.sent}", 1.0, ClientInfo(session, role_agent), "{}")
        exchange = await self.pipeline.open(arrival, request)
        assert isinstance(exchange, Exchange)
        async for _ in exchange.events():
            pass
        return self.backend.asked[-1].request

    async def repeat(self, request: MessagesRequest, session: str) -> None:
        """Sends what a cache has the answer to."""
        self.sent += 1
        arrival = Arrival(f"req_{self.sent}", 1.0, ClientInfo(session), "{}")
        replayed = await self.pipeline.open(arrival, request)
        assert isinstance(replayed, Replayed)
        async for _ in replayed.events():
            pass


Build = Callable[..., Rig]


@pytest.fixture
async def build() -> AsyncGenerator[Build, None]:
    stores: list[EchoStore] = []

    def make(
        window: int = 0,
        decisions: Decisions | None = None,
        cache: ResponseCache | None = None,
        **options: object,
    ) -> Rig:
        backend, sink, bus = Windowed(window), Sink(), Bus()
        echo = EchoStore(None)
        stores.append(echo)
        ledger = Ledger(sink, bus, RecentDetails(), clock=lambda: 0.0, wall=lambda: 1.0)
        prompter = Prompter(ledger, PromptOptions(**options), decisions)  # type: ignore[arg-type]
        pipeline = Pipeline(
            Gateway.of(backend),
            echo,
            ledger,
            PipelineOptions(frozenset(), ExchangeOptions(True, False, KeepAliveTimes()), PLAIN),
            lambda prefix: f"{prefix}1",
            Answers(ledger, cache),
            prompter=prompter,
        )
        return Rig(pipeline, backend, sink, bus, ledger)

    yield make
    for store in stores:
        await store.close()


async def test_off_sends_what_came(build: Build) -> None:
    rig = build()
    assert await rig.send(sample()) == sample()
    (row,) = rig.sink.rows
    assert (row.prompt_tier, row.prompt_tokens_before, row.overflow) == ("", 0, "")


async def test_a_tier_shortens_what_is_shown_and_not_what_may_be_called(build: Build) -> None:
    rig = build(tier=PromptTier.STRONG)
    heard = rig.bus.subscribe()
    shown = await rig.send(sample())
    assert tokens_of(shown) < 0.6 * tokens_of(sample())
    assert rig.backend.asked[0].callable_tools == sample().tools
    (told,) = (e for e in heard.drain() if isinstance(e, PromptShaped))
    (row,) = rig.sink.rows
    assert (row.prompt_tier, row.prompt_id) == ("strong", told.prompt_id)
    assert row.prompt_tokens_before == sum(part.tokens_before for part in told.sections)
    assert row.prompt_tokens_after == sum(part.tokens_after for part in told.sections)
    assert row.prompt_tokens_after < 0.6 * row.prompt_tokens_before
    detail = rig.ledger.recent.get(row.id)
    assert detail is not None and detail.sections == told.sections


async def test_parts_are_told_once(build: Build) -> None:
    rig = build(tier=PromptTier.LIGHT)
    heard = rig.bus.subscribe()
    await rig.send(sample())
    await rig.send(sample(), "other")
    assert sum(isinstance(e, PromptShaped) for e in heard.drain()) == 1
    assert rig.sink.rows[0].prompt_id == rig.sink.rows[1].prompt_id != ""


async def test_counting_counts_what_would_be_sent(build: Build) -> None:
    rig = build(tier=PromptTier.STRONG)
    shown = await rig.send(sample())
    arrival = Arrival("req_c", 1.0, ClientInfo("s"), "{}")
    assert await rig.pipeline.count(arrival, sample()) == tokens_of(shown)


async def test_a_conversation_keeps_its_tier(build: Build) -> None:
    decisions = Decisions()
    strong = build(tier=PromptTier.STRONG, decisions=decisions)
    shown = await strong.send(sample())
    light = build(tier=PromptTier.LIGHT, decisions=decisions)
    assert await light.send(sample()) == shown
    assert tokens_of(await light.send(sample(), "new")) > tokens_of(shown)
    agent = await light.send(sample(), "s", "agent")
    assert tokens_of(agent) > tokens_of(shown)


async def test_switched_off_it_sends_what_came_and_remembers_the_tier(build: Build) -> None:
    rig = build(tier=PromptTier.STRONG)
    shown = await rig.send(sample())
    assert rig.pipeline.prompter.identity(sample())
    rig.pipeline.prompter.on = False
    assert await rig.send(sample()) == sample()
    assert not rig.pipeline.prompter.identity(sample())
    rig.pipeline.prompter.on = True
    assert await rig.send(sample()) == shown


async def test_an_answer_is_kept_under_the_tier_that_it_was_given_in(build: Build) -> None:
    decisions = Decisions()
    strong = build(tier=PromptTier.STRONG, decisions=decisions)
    shown = await strong.send(sample())
    cache = ResponseCache(wall=lambda: 1.0, memory=MemoryTier(lambda: 1.0))
    light = build(tier=PromptTier.LIGHT, decisions=decisions, cache=cache)
    assert await light.send(sample()) == shown
    await light.ledger.settle()
    assert tokens_of(await light.send(sample(), "new")) > tokens_of(shown)
    await light.ledger.settle()
    assert len(light.backend.asked) == 2, "the other conversation has another tier"
    for session in ("s", "new"):
        await light.repeat(sample(), session)
    assert len(light.backend.asked) == 2, "both are asked for again"
    light.pipeline.prompter.on = False
    assert await light.send(sample(), "third") == sample()


def test_a_cut_conversation_has_keys_of_its_own() -> None:
    prompter = Prompter(None, PromptOptions(overflow="window"))  # type: ignore[arg-type]
    keys = {prompter.identity(sample(), Decision(cut=cut)) for cut in ("", "a", "b")}
    assert len(keys) == 3


async def test_auto_takes_the_mildest_tier_within_the_window(build: Build) -> None:
    whole = tokens_of(replace(sample(), messages=sample().messages[1:]))
    tiers = []
    for window in (0, 8 * whole, 4 * whole - 200, whole):
        rig = build(window=window, tier=None)
        heard = rig.bus.subscribe()
        await rig.send(sample())
        said = [e.message for e in heard.drain() if isinstance(e, SystemEvent)]
        tiers.append((rig.sink.rows[0].prompt_tier, len(said)))
    assert tiers == [("", 0), ("", 0), ("light", 1), ("strong", 1)]


async def test_auto_goes_by_the_users_budget(build: Build) -> None:
    rig = build(window=100_000, tier=None, budget_tokens=10)
    await rig.send(sample())
    assert rig.sink.rows[0].prompt_tier == "strong"


async def test_a_prompt_that_fails_the_check_is_sent_as_it_came(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anyclaude.prompt import optimise

    monkeypatch.setattr(optimise, "_broken", lambda *args: "tools.Read lost its name")
    rig = build(tier=PromptTier.STRONG)
    heard = rig.bus.subscribe()
    assert await rig.send(sample()) == await rig.send(sample()) == sample()
    said = [e for e in heard.drain() if isinstance(e, SystemEvent) and e.level == "warning"]
    assert [e.message for e in said] == ["the untouched prompt is used: tools.Read lost its name"]


DEFERRING = {"tier": PromptTier.STANDARD, "defer": ("Re*",)}


async def test_deferred_tools_are_named_and_may_be_called(build: Build) -> None:
    rig = build(**DEFERRING)
    shown = await rig.send(sample())
    names = [tool.name for tool in shown.tools]
    assert "Read" not in names and names[-1] == LOADER
    (job,) = rig.backend.asked
    assert {tool.name for tool in job.callable_tools} == {"Read", *names}
    assert next(t for t in job.callable_tools if t.name == "Read") == READ
    arrival = Arrival("req_c", 1.0, ClientInfo("s"), "{}")
    assert await rig.pipeline.count(arrival, sample()) == tokens_of(shown)
    assert await rig.send(sample()) == shown
    rig.pipeline.prompter.on = False
    assert await rig.send(sample()) == sample()
    assert LOADER not in {tool.name for tool in rig.backend.asked[-1].callable_tools}


@pytest.mark.parametrize("tier", [PromptTier.OFF, PromptTier.LIGHT])
async def test_milder_tiers_defer_nothing(build: Build, tier: PromptTier) -> None:
    deferring = build(tier=tier, defer=("Re*",))
    assert await deferring.send(sample()) == await build(tier=tier).send(sample())
    assert deferring.backend.asked[0].callable_tools == sample().tools


async def test_auto_defers_where_its_tier_does(build: Build) -> None:
    mild = build(window=1_000_000, tier=None, defer=("Re*",))
    assert await mild.send(sample()) == sample()
    assert mild.backend.asked[0].callable_tools == sample().tools
    strong = build(window=100_000, tier=None, budget_tokens=10, defer=("Re*",))
    assert LOADER in {tool.name for tool in (await strong.send(sample())).tools}


async def test_a_backend_elsewhere_is_told_of_all_tools(build: Build) -> None:
    rig = build(**DEFERRING)
    shaping = Shaping(rig.pipeline.prompter, Arrival("r", 1.0, ClientInfo("e"), "{}"), Role.MAIN)
    loader = loader_for((READ,))
    asked = replace(sample(), tools=(*sample().tools, loader))
    job = BackendRequest("r", asked, Role.MAIN, "e", callable_tools=asked.tools)
    backend = FakeBackend(())
    made = await shaping.job(backend, job)
    assert [t.name for t in made.request.tools] == [t.name for t in sample().tools]
    assert made.callable_tools == sample().tools


# --------------------------------------------------------------------------------- overflow

RESULT = 500


def agent_loop(turns: int) -> MessagesRequest:
    steps = [
        message
        for n in range(turns)
        for message in (
            Message("assistant", (ToolUseBlock(f"t{n}", "Read", {"file_path": f"/{n}"}),)),
            Message("user", (ToolResultBlock(f"t{n}", (TextBlock(f"{n} " * (RESULT // 2)),)),)),
        )
    ]
    return MessagesRequest(
        "m",
        100,
        (Message("user", (TextBlock("find it"),)), *steps),
        system=(TextBlock("You are brief."),),
    )


async def test_a_conversation_that_is_too_long_is_refused(build: Build) -> None:
    rig = build(window=3_000)
    with pytest.raises(PromptTooLong, match=r"^prompt is too long: \d+ tokens > 3000 maximum$"):
        await rig.send(agent_loop(20))
    assert len(rig.backend.asked) == 1
    await rig.send(agent_loop(2))


@pytest.mark.parametrize(
    ("overflow", "most"), [("clear_tools", 11), ("window", 24), ("compress", 24)]
)
async def test_each_policy_makes_it_fit_and_the_next_turns_extend_it(
    build: Build, overflow: str, most: int
) -> None:
    rig = build(window=4_000, overflow=overflow)
    prompts: list[MessagesRequest] = []
    for turns in range(1, most):
        prompts.append(await rig.send(agent_loop(turns)))
        assert tokens_of(prompts[-1]) < 4_000 - 100
    cuts = 0
    for before, after in pairwise(prompts):
        if after.messages[: len(before.messages)] != before.messages:
            cuts += 1
    rows = [row.overflow for row in rig.sink.rows if row.overflow]
    assert cuts == len(rows) and all(row.startswith(overflow) for row in rows)
    assert 1 <= cuts <= (3 if overflow == "clear_tools" else 8)
    assert rig.sink.rows[0].window_tokens == 4_000


async def test_a_cut_that_frees_next_to_nothing_is_left_to_the_client(build: Build) -> None:
    rig = build(window=4_000, overflow="clear_tools")
    with pytest.raises(PromptTooLong):
        for turns in range(1, 60):
            await rig.send(agent_loop(turns))
    cuts = [row for row in rig.sink.rows if row.overflow]
    assert 1 <= len(cuts) <= 5 and rig.sink.rows[-1].status == 400


async def test_a_restart_goes_on_from_the_cut(build: Build) -> None:
    decisions = Decisions()
    first = build(window=4_000, overflow="window", decisions=decisions)
    cut = await first.send(agent_loop(12))
    second = build(window=4_000, overflow="window", decisions=decisions)
    assert await second.send(agent_loop(12)) == cut
    assert len(second.backend.asked) == 1


async def test_a_history_that_changed_is_cut_anew(build: Build) -> None:
    rig = build(window=4_000, overflow="window")
    await rig.send(agent_loop(12))
    other = replace(
        agent_loop(3),
        messages=(Message("user", (TextBlock("summary"),)), *agent_loop(3).messages[1:]),
    )
    assert await rig.send(other) == other


async def test_what_cant_be_cut_is_refused_with_its_true_size(build: Build) -> None:
    rig = build(window=2_000, overflow="compress")
    huge = replace(agent_loop(1), messages=(Message("user", (TextBlock("x" * 5_000),)),))
    with pytest.raises(PromptTooLong, match=f"{tokens_of(huge)} tokens > 2000"):
        await rig.send(huge)
    assert await rig.send(agent_loop(1)) == agent_loop(1)


async def test_too_little_room_for_an_answer_is_an_overflow_too(build: Build) -> None:
    window = tokens_of(agent_loop(6)) + 50
    rig = build(window=window, overflow="window")
    shown = await rig.send(agent_loop(6))
    assert tokens_of(shown) < window / 2 + RESULT
    assert rig.backend.generations[0].cancelled.is_set()
    ids = [request.id for request in rig.backend.asked]
    assert len(ids) == len(set(ids)) == 2
    refusing = build(window=window)
    assert await refusing.send(agent_loop(6)) == agent_loop(6)


async def test_what_is_too_full_and_cant_be_cut_goes_out_as_it_is(build: Build) -> None:
    full = replace(agent_loop(1), messages=agent_loop(1).messages[:1])
    rig = build(window=tokens_of(full) + 1, overflow="window")
    assert await rig.send(full) == full
    first, second = rig.backend.generations
    assert first.cancelled.is_set() and not second.cancelled.is_set()
    assert [request.id for request in rig.backend.asked] == ["req_1", "req_1.fit2"]
    assert (rig.sink.rows[0].status, rig.sink.rows[0].overflow) == (200, "")


async def test_echoes_move_with_their_turns(build: Build) -> None:
    rig = build(window=4_000, overflow="window")
    asked = agent_loop(12)
    shaping = Shaping(rig.pipeline.prompter, Arrival("r", 1.0, ClientInfo("e"), "{}"), Role.MAIN)
    job = BackendRequest(
        "r", asked, Role.MAIN, "e", echoes=tuple(EchoTurn(n, (n,)) for n in range(1, 25, 2))
    )
    whole = await shaping.job(rig.backend, job)
    assert whole == job
    shorter = await shaping.refit(rig.backend, whole, tokens_of(asked), 4_000)
    assert shorter is not None and 0 < len(shorter.echoes) < 12
    for echo in shorter.echoes:
        assert shorter.request.messages[echo.message_index] == asked.messages[echo.tokens[0]]


async def test_the_clients_own_edits_are_honoured_and_stay(build: Build) -> None:
    edit: JsonObject = {
        "type": "clear_tool_uses_20250919",
        "trigger": {"type": "input_tokens", "value": 4_000},
        "keep": {"type": "tool_uses", "value": 2},
    }
    rig = build()

    def asked(turns: int) -> MessagesRequest:
        return replace(agent_loop(turns), context_edits=(edit,))

    small = await rig.send(asked(3))
    assert small == asked(3)
    cleared = await rig.send(asked(8))
    whole = [m for m in cleared.messages if m in asked(8).messages]
    assert len(cleared.messages) == len(asked(8).messages)
    assert len(asked(8).messages) - len(whole) == 6
    later = await rig.send(asked(9))
    assert later.messages[: len(cleared.messages)] == cleared.messages
    assert rig.sink.rows[1].overflow == "clear_tools: 6 results of tools, as the client wants it"


async def test_a_title_decides_nothing_for_its_session(build: Build) -> None:
    decisions = Decisions()
    rig = build(tier=PromptTier.STRONG, decisions=decisions)
    title = replace(
        sample(),
        tools=(),
        output_schema={"type": "object", "properties": {"title": {"type": "string"}}},
    )
    await rig.send(title)
    assert (await decisions.of("s")).tier == ""

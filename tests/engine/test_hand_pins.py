"""Sessions that a person pins, and the picture that shows them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anyclaude.backend import BackendRequest, EchoTurn
from anyclaude.errors import NotFound
from anyclaude.types import Role
from tests.engine.conftest import LIMITS, OPTIONS, Answer, Rig, StartRig, ask, phase

SMALL = replace(OPTIONS, limits=replace(LIMITS, cache_bytes=1_500))
"""Place for a prompt or two of the double, eight bytes a token."""


def of(
    session: str, *turns: str, role: Role = Role.MAIN, answer: Answer | None = None
) -> BackendRequest:
    echoes = (EchoTurn(1, answer.finish.tokens),) if answer is not None else ()
    asked = ask(*turns, id=f"{session} {len(turns)} {turns[-1][:9]}", echoes=echoes)
    return replace(asked, session_id=session, role=role)


def read(rig: Rig, session: str) -> int:
    """Tokens of the session that are still in memory."""
    tree, model = rig.engine.caches.tree, rig.engine.model
    assert tree is not None and model is not None
    return tree.match_length(rig.engine.caches.history.tokens_of(session, model.fingerprint))


async def unloaded(rig: Rig) -> None:
    """Returns when the model is gone."""
    rig.engine.unload()
    while (await phase(rig.events, "unloaded")).detail:
        pass


async def crowd(rig: Rig) -> None:
    """Others, so that nothing is left that isn't kept."""
    for number in range(6):
        await rig.ask(of(f"other{number}", f"{number} " * 120, role=Role.SUBAGENT))


async def test_a_pinned_session_outlives_the_budget_and_grows(start_rig: StartRig) -> None:
    rig = await start_rig(options=SMALL)
    first = await rig.ask(of("mine", "hello " * 60))
    length = rig.engine.caches.pin("mine")
    assert length >= first.finish.usage.prompt_tokens
    await rig.ask(of("newer", "good morning " * 30))
    await rig.ask(of("newest", "good evening " * 30))
    await crowd(rig)
    assert read(rig, "newer") < 40, "the pin of its own goes when there is no place"
    assert read(rig, "mine") == length
    second = await rig.ask(of("mine", "hello " * 60, first.text, "go on", answer=first))
    assert second.read >= length - 1
    await crowd(rig)
    assert read(rig, "mine") > length, "the pin goes on with the session"
    rig.engine.caches.unpin("mine")
    await rig.ask(of("newest", "good evening " * 30))
    await crowd(rig)
    assert read(rig, "mine") < 40


async def test_unpinning_lets_go_of_the_pin_that_every_session_has(rig: Rig) -> None:
    await rig.ask(of("mine", "hello " * 60))
    tree = rig.engine.caches.tree
    assert tree is not None
    assert tree.pinned() == ("mine",)
    rig.engine.caches.unpin("mine")
    assert tree.pinned() == ()


async def test_a_flush_takes_it_and_the_next_answer_is_pinned_again(rig: Rig) -> None:
    await rig.ask(of("mine", "hello"))
    rig.engine.caches.pin("mine")
    await rig.engine.flush()
    assert read(rig, "mine") == 0
    await rig.ask(of("mine", "hello"))
    node = (await rig.engine.caches.picture(400)).nodes[0]
    assert node.pinned and node.sessions == ("mine",)
    rig.engine.caches.unpin("mine")
    assert not (await rig.engine.caches.picture(400)).nodes[0].pinned


async def test_another_model_knows_it_once_it_has_answered(rig: Rig) -> None:
    await rig.ask(of("mine", "hello"))
    rig.engine.caches.pin("mine")
    rig.engine.load("other")
    await phase(rig.events, "ready")
    with pytest.raises(NotFound, match="nothing of a session 'mine'"):
        rig.engine.caches.pin("mine")
    await rig.ask(of("mine", "hello"))
    assert rig.engine.caches.tree is not None
    rig.engine.caches.tree.unpin("mine")
    assert rig.engine.caches.tree.pinned() == ("mine",), "the one by hand is there by itself"


async def test_strangers_are_named(rig: Rig) -> None:
    with pytest.raises(NotFound, match="nothing of a session 'who'"):
        rig.engine.caches.pin("who")
    with pytest.raises(NotFound, match="no session 'who' is pinned or known here"):
        rig.engine.caches.unpin("who")
    await rig.ask(of("mine", "hello"))
    rig.engine.caches.unpin("mine")
    await unloaded(rig)
    with pytest.raises(NotFound, match="nothing of a session 'mine'"):
        rig.engine.caches.pin("mine")


async def test_a_subagent_is_pinned_by_its_own_name(rig: Rig) -> None:
    await rig.ask(of("mine/agent", "search", role=Role.SUBAGENT))
    assert rig.engine.caches.pin("mine/agent") > 0
    (node,) = (await rig.engine.caches.picture(400)).nodes
    assert (node.pinned, node.sessions) == (True, ("mine/agent",))


async def test_the_picture_shows_who_shares_what_and_who_runs(rig: Rig) -> None:
    await rig.ask(of("one", "first question"))
    await rig.ask(of("two", "second question"))
    rig.loader.gate.open.clear()
    running = await rig.engine.open(of("three", "first question"))
    picture = await rig.engine.caches.picture(400)
    rig.loader.gate.open.set()
    await running.cancel()
    assert (picture.model, picture.left_out) == ("double", 0)
    head = picture.nodes[0]
    assert head.parent is None
    assert set(head.sessions) == {"one", "two", "three"}
    assert head.running == 1
    assert head.text.startswith("<|im_start|>system You are brief.<|im_end|>")
    below = {n.sessions: n for n in picture.nodes if n.parent == 0}
    assert below["two",].text.startswith("second question")
    assert below["three", "one"].running == 1
    tree = rig.engine.caches.tree
    assert tree is not None
    assert sum(n.tokens for n in picture.nodes) == tree.stats().tokens
    assert sum(n.bytes for n in picture.nodes) == tree.nbytes


async def test_without_a_model_the_picture_is_empty(rig: Rig) -> None:
    await unloaded(rig)
    picture = await rig.engine.caches.picture(400)
    assert (picture.model, picture.nodes, picture.left_out) == ("", (), 0)


async def test_small_calls_never_take_the_place_of_the_main_prompt(start_rig: StartRig) -> None:
    rig = await start_rig(options=SMALL)
    first = await rig.ask(of("mine", "hello " * 60))
    for number in range(8):
        title = of("mine", f"{number} name this " * 30, role=Role.TITLE)
        await rig.ask(replace(title, id=f"title {number}"))
        await rig.ask(replace(of("", f"probe {number}", role=Role.PROBE), id=f"probe {number}"))
    tree = rig.engine.caches.tree
    assert tree is not None and tree.stats().evictions > 0, "or they prove nothing"
    second = await rig.ask(of("mine", "hello " * 60, first.text, "go on", answer=first))
    assert second.read >= first.finish.usage.prompt_tokens

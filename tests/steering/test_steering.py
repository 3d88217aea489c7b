"""Steering a running server through its admin routes: what a person does, and what comes of it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from anyclaude.cli.client import AdminClient
from anyclaude.config.settings import CacheSettings, PromptSettings
from anyclaude.control import SHORTEN
from anyclaude.errors import NotFound, PermissionDenied
from anyclaude.events import SystemEvent, Vitals
from anyclaude.prompt.canonical import RULES
from tests.steering.stage import SESSION, body, staged

BILLED = [{"type": "text", "text": "x-anthropic-billing-header: v=1\nYou are terse."}]


async def test_paused_requests_wait_are_kept_alive_and_go_on(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    async with staged(tmp_path, embedded_model_dir) as stage:
        await stage.admin.pause(True)
        await stage.told(Vitals, lambda vitals: vitals.paused)
        assert (await stage.admin.stats()).vitals.paused
        counted = await stage.http.post("/v1/messages/count_tokens", json=body("hi"))
        assert counted.json()["input_tokens"] > 0
        request = stage.http.stream(
            "POST", "/v1/messages", json=body("hi", stream=True), headers=SESSION
        )
        async with request as response:
            assert response.status_code == 200
            events = (line[7:] async for line in response.aiter_lines() if line[:7] == "event: ")
            begun = [await anext(events) for _ in range(5)]
            assert begun == ["message_start", *["ping"] * 4], "alive, and not a word"
            await stage.told(Vitals, lambda vitals: vitals.paused and vitals.waiting == 1)
            assert stage.loader.gate.prefill_calls == 0
            await stage.admin.pause(False)
            rest = [event async for event in events]
        assert rest[-1] == "message_stop"
        await stage.told(Vitals, lambda vitals: not vitals.paused and vitals.at > 0)
        await stage.admin.pause(False)
        await stage.admin.pause(True)
        assert await stage.notes("server", 3) == [
            "admission is paused: new requests wait until it goes on",
            "admission goes on: 1 waiting",
            "admission is paused: new requests wait until it goes on",
        ]


async def test_the_tools_that_clients_offer_are_kept_by_version(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    def tool(name: str, words: str) -> dict[str, object]:
        return {"name": name, "description": words, "input_schema": {"type": "object"}}

    async with staged(tmp_path, embedded_model_dir) as stage:
        assert await stage.admin.tools() == ()
        await stage.ask(body("hi", tools=[tool("Bash", "Runs"), tool("Read", "Reads")]))
        await stage.ask(body("hi", tools=[tool("Bash", "Runs it")]))
        told = await stage.admin.tools()
    assert [(one.name, one.version, one.deprecated) for one in told] == [
        ("Bash", 1, True), ("Bash", 2, False), ("Read", 1, True),
    ]  # fmt: skip
    assert told[0].schema_hash == told[1].schema_hash
    assert told[0].first_seen <= told[0].last_seen <= told[1].first_seen


@pytest.mark.parametrize("tier", ["kv-disk", None])
async def test_a_flush_deletes_what_a_tier_has_left_that_is_off_now(
    tier: str | None, tmp_path: Path, embedded_model_dir: Path
) -> None:
    left = tmp_path / "kv" / ("0" * 32) / f"kv-00000000-00000064-{'a' * 32}"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"what was said")
    (tmp_path / "kv" / "notes.txt").write_text("not ours")
    async with staged(tmp_path, embedded_model_dir, cache=CacheSettings(l3=False)) as stage:
        flushed = {one.tier: one.entries for one in await stage.admin.flush(tier)}
        assert flushed["kv-disk"] == 1
    assert not left.exists()
    assert (tmp_path / "kv" / "notes.txt").exists()


async def test_a_paused_engine_that_is_started_anew_stays_paused(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    async with staged(tmp_path, embedded_model_dir) as stage:
        await stage.admin.pause(True)
        await stage.admin.restart_engine()
        await stage.runtime.ready()
        waiting = asyncio.ensure_future(stage.ask(body("hi")))
        await stage.told(Vitals, lambda vitals: vitals.waiting == 1)
        assert (await stage.admin.stats()).vitals.paused
        assert stage.loader.gate.prefill_calls == 0
        await stage.admin.pause(False)
        await waiting


async def test_stopping_while_paused_ends_what_waits(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    async with staged(tmp_path, embedded_model_dir) as stage:
        await stage.admin.pause(True)
        asked = stage.http.post("/v1/messages", json=body("hi"), headers=SESSION)
        waiting = asyncio.ensure_future(asked)
        await stage.told(Vitals, lambda vitals: vitals.waiting == 1)
        async with asyncio.timeout(10):
            await stage.runtime.stop()
        assert (await waiting).status_code in (500, 503)


async def test_the_tree_is_seen_and_a_session_pinned_from_outside(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    async with staged(tmp_path, embedded_model_dir) as stage:
        await stage.ask(body("first", system="You are terse."))
        await stage.ask(
            body("second", system="You are terse."), **{"x-claude-code-session-id": "s2"}
        )
        picture = await stage.admin.prefix_tree()
        head, *rest = picture.nodes
        assert picture.model == (await stage.admin.stats()).engine.model
        assert set(head.sessions) == {"s1", "s2"} and head.parent is None
        assert {node.sessions for node in rest} == {("s1",), ("s2",)}
        assert all(node.parent == 0 and node.pinned for node in rest)
        assert "You are terse." in head.text
        (one,) = (await stage.admin.prefix_tree(1)).nodes
        assert one == head
        await stage.admin.pin("s1", False)
        nodes = (await stage.admin.prefix_tree()).nodes
        assert {n.sessions: n.pinned for n in nodes[1:]} == {("s1",): False, ("s2",): True}
        await stage.admin.pin("s1", True)
        nodes = (await stage.admin.prefix_tree()).nodes
        assert all(node.pinned for node in nodes)
        with pytest.raises(NotFound, match="nothing of a session 's3'"):
            await stage.admin.pin("s3", True)
        with pytest.raises(NotFound, match="no session 's3' is pinned or known"):
            await stage.admin.pin("s3", False)
        let_go, pinned = await stage.notes("cache", 2)
        assert let_go == "session s1 isn't pinned any more"
        assert pinned.startswith("session s1 is pinned by hand: ")


async def test_a_rule_is_switched_for_the_requests_that_come(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    async with staged(tmp_path, embedded_model_dir) as stage:
        *switches, search = await stage.admin.switches()
        assert [s.name for s in switches] == [*(rule.name for rule in RULES), SHORTEN]
        assert (search.name, search.on, search.group) == ("proactive_search", False, "Search")
        assert all(s.on and s.group == "Prompt" and "read anew once" in s.help for s in switches)
        before = await stage.admin.detail(await stage.ask(body("hi", system=BILLED)))
        await stage.admin.set_switch("billing_line", False)
        after = await stage.admin.detail(await stage.ask(body("hi", system=BILLED)))
        assert ("billing_line", 1) in before.canonical
        assert "billing_line" not in dict(after.canonical)
        assert "x-anthropic-billing-header" in after.prompt
        assert "x-anthropic-billing-header" not in before.prompt
        counted = await stage.http.post("/v1/messages/count_tokens", json=body("hi", system=BILLED))
        tokens = (await stage.row(after.id))["input_tokens"]
        tokens += (await stage.row(after.id))["cache_read_tokens"]
        assert counted.json()["input_tokens"] == tokens
        off = {s.name for s in await stage.admin.switches() if not s.on}
        assert off == {"billing_line", "proactive_search"}
        await stage.admin.set_switch("billing_line", True)
        await stage.admin.set_switch("billing_line", True)
        assert [s.name for s in await stage.admin.switches() if not s.on] == ["proactive_search"]
        turned = await stage.notes("canonical", 2)
        assert [message.partition(":")[0] for message in turned] == [
            "the rule billing_line was turned off",
            "the rule billing_line was turned on",
        ]
        with pytest.raises(NotFound, match="no switch 'billing'; there are: cache_control, "):
            await stage.admin.set_switch("billing", False)


async def test_prompts_are_shortened_until_that_is_switched_off(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    light = PromptSettings(tier="light")
    async with staged(tmp_path, embedded_model_dir, prompt=light) as stage:
        twice = "Say what you did, and say it in few words, please. " * 2
        said = body("hi", system=f"{twice.strip()}   \n\n\n\nBe kind.\n\n{twice.strip()}")
        short = await stage.admin.detail(await stage.ask(said))
        await stage.admin.set_switch(SHORTEN, False)
        whole = await stage.admin.detail(await stage.ask(said))
        assert len(short.prompt) < len(whole.prompt) and short.sections and not whole.sections
        assert twice.strip() + "   \n\n\n\n" in whole.prompt
        rows = [await stage.row(one.id) for one in (short, whole)]
        assert [row["prompt_tier"] for row in rows] == ["light", ""]
        (told,) = (await stage.notes("prompt", 2))[1:]
        assert told.endswith("are shown to the model as the client sends them, by hand")


async def test_an_admin_key_steers_and_hears_and_a_wrong_one_does_neither(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    async with staged(tmp_path, embedded_model_dir, admin_key="only-mine") as stage:
        await stage.admin.pause(True)
        await stage.told(SystemEvent, lambda event: event.kind == "server")
        async with AdminClient.at(stage.runtime.address, "only-yours") as stranger:
            with pytest.raises(PermissionDenied, match=r"server\.admin_key"):
                await stranger.pause(False)
            async with aclosing(stranger.events()) as events:
                with pytest.raises(PermissionDenied):
                    await anext(events)
        assert (await stage.admin.stats()).vitals.paused
        assert "only-mine" not in str(stage.heard)

"""What the console's keys ask of the server, and how it is left."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Input

from anyclaude.config.settings import UiSettings
from anyclaude.control import PrefixNode, PrefixTreePicture, Switch
from anyclaude.errors import Conflict, EngineFailed, NotFound
from anyclaude.events import EngineState, PullState, TierStats
from tests.tui.conftest import Opener, Stage
from tests.tui.fake_source import (
    MODEL,
    NOON,
    READY,
    REPAIRED,
    FakeSource,
    detail,
    models,
    received,
    request,
    session,
    vitals,
)
from tui.dialogs.choices import Choices
from tui.dialogs.flush import FlushChooser
from tui.dialogs.help import Help
from tui.dialogs.models import ModelPicker
from tui.dialogs.reparse import Reparse
from tui.dialogs.switches import Switches

LIVE = "req_0000000000000000a3f8"
FIRST = "req_0000000000000000a3f1"
SESSION = "5f0c9a52-3d1e-4f6b-9a57-c0ffee000001"
TIERS = (*vitals().tiers, TierStats("kv-disk", True, 41, 59, 57, 18_000_000, 0, 11))


def _has(stage: Stage, text: str) -> bool:
    return text in stage.text()


def _said(stage: Stage) -> list[str]:
    return [notice.message for notice in stage.app._notifications]


async def test_flush_asks_once_and_says_what_was_freed(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session(), vitals(tiers=TIERS))
        await stage.press("F")
        assert isinstance(stage.app.screen, FlushChooser)
        assert _has(stage, "every tier") and _has(stage, "12 entries") and _has(stage, "17 MB")
        await stage.press("escape")
        assert stage.source.fake.calls == []
        await stage.press("F", "F")
        assert stage.source.fake.calls == [("flush", "all")]
        assert _said(stage) == ["Freed kv: 12 entries, 6.4 GB"]


async def test_one_tier_is_flushed_by_key_or_by_mouse(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session(), vitals(tiers=TIERS))
        await stage.press("F", "j", "j", "enter")
        assert stage.source.fake.calls == [("flush", "kv-disk")]
        await stage.press("F")
        await stage.pilot.click(Choices, offset=(4, 1))
        await stage.settle()
        assert stage.source.fake.calls[-1] == ("flush", "kv")


async def test_cancel_asks_once_and_only_for_what_runs(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("k")
        await stage.press("X", "y")
        assert stage.source.fake.calls == [("cancel", LIVE)]
        await stage.press("g", "X")
        assert stage.app.screen is stage.app.main


async def test_the_picker_lists_loads_and_shows_progress(console: Opener) -> None:
    source = FakeSource()
    source.fake.local = models()
    async with console(source=source) as stage:
        await stage.send(READY)
        await stage.press("m")
        assert _has(stage, "Qwen3-Coder-30B") and _has(stage, "too large")
        await stage.press("j", "enter")
        assert source.fake.calls == [("load", models()[1].name)]
        assert _has(stage, "reading weights") and _has(stage, " 40%")
        await stage.press("u")
        assert source.fake.calls[-1] == ("unload",)
        await stage.press("escape")
        assert stage.app.screen is stage.app.main


async def test_a_load_that_fails_is_said_in_the_picker(console: Opener) -> None:
    source = FakeSource()
    source.fake.local = models()
    async with console(source=source) as stage:
        await stage.send(READY)
        source.fake.failure = EngineFailed("the weights are [damaged]")
        await stage.press("m", "enter")
        assert isinstance(stage.app.screen, ModelPicker)
        assert _has(stage, "the weights are [damaged]")


async def test_restart_is_offered_when_the_engine_failed(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("R")
        assert stage.source.fake.calls == [] and not _has(stage, "Restart")
        await stage.send(EngineState("failed", MODEL, 0.0, "out of memory"))
        assert _has(stage, "out of memory") and _has(stage, "Restart engine")
        await stage.press("R")
        assert stage.source.fake.calls == [("restart",)]


async def test_a_refused_action_is_said(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        stage.source.fake.failure = EngineFailed("the engine is busy")
        await stage.press("F", "F")
        assert _said(stage) == ["the engine is busy"]


async def test_p_pulls_a_model_by_name(console: Opener) -> None:
    source = FakeSource()
    source.fake.local = models()
    async with console(source=source) as stage:
        await stage.send(READY)
        await stage.press("m", "p", *"me/mine", "enter")
        assert source.fake.calls == [("pull", "me/mine")]
        assert _has(stage, "asking Hugging Face for me/mine")
        await stage.send(
            PullState("me/mine", "downloading", 3_000_000_000, 6_000_000_000, "2 of 4")
        )
        assert _has(stage, "Pulling me/mine") and _has(stage, " 50%")
        assert _has(stage, "2.8 GB of 5.6 GB")
        source.fake.local = (*models(), replace(models()[0], name="me/mine", loaded=False))
        await stage.send(PullState("me/mine", "done", 6, 6))
        assert _has(stage, "me/mine is here") and _has(stage, "  me/mine ")
        await stage.press("p", "q", "escape")
        assert isinstance(stage.app.screen, ModelPicker)
        await stage.press("escape")
        assert stage.app.screen is stage.app.main


async def test_a_pull_that_fails_is_said_in_the_picker(console: Opener) -> None:
    async with console() as stage:
        await stage.send(READY)
        await stage.press("m", "p", *"nobody/nothing", "enter")
        await stage.send(PullState("nobody/nothing", "failed", 0, 0, "there is [no] such model"))
        assert _has(stage, "nobody/nothing could not be pulled: there is [no] such model")
        stage.source.fake.failure = Conflict("another download is under way")
        await stage.press("p", *"x/y", "enter")
        assert _has(stage, "another download is under way")


async def test_p_pauses_and_resumes(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("p")
        assert stage.source.fake.calls == [("pause", "True")]
        top = stage.text().splitlines()
        assert (
            "PAUSED" in top[0]
            and "Admission is paused. p lets them in.  1 request waits." in top[2]
        )
        await stage.press("p")
        assert stage.source.fake.calls[-1] == ("pause", "False")
        assert not _has(stage, "PAUSED") and not _has(stage, "Admission is paused")


async def test_a_key_in_the_banner_can_be_clicked(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session(), vitals(paused=True))
        row = stage.text().splitlines()[2]
        await stage.pilot.click("#banner", offset=(row.index("p lets"), 0))
        await stage.pilot.pause()
        await stage.settle()
        assert stage.source.fake.calls == [("pause", "False")]


async def test_the_banner_shows_the_keys_in_force(console: Opener) -> None:
    async with console(ui=UiSettings(keymap=(("engine.pause", "f9"),))) as stage:
        await stage.send(*session(), vitals(paused=True))
        assert _has(stage, "f9 lets them in")
        await stage.press("f9")
        assert stage.source.fake.calls == [("pause", "False")]


async def test_switches_are_turned_and_explained(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("o")
        assert isinstance(stage.app.screen, Switches)
        assert _has(stage, "[x] cache_control") and _has(stage, "[ ] billing_line")
        assert _has(stage, "Drop cache marks, which move every turn.")
        await stage.press("j", "space")
        assert stage.source.fake.calls == [("set_switch", "token_budget", "False")]
        assert _has(stage, "[ ] token_budget") and _has(stage, "Drop counters")
        stage.source.fake.failure = NotFound("no switch token_budget")
        await stage.press("space")
        assert _has(stage, "no switch token_budget")
        await stage.press("escape")
        assert stage.app.screen is stage.app.main


async def test_one_key_stops_the_shortening_of_prompts_and_goes_on(console: Opener) -> None:
    async with console() as stage:
        fake = stage.source.fake
        await stage.send(*session())
        await stage.press("O")
        assert fake.calls == []
        assert _said(stage) == ["The anyclaude at the other end has no switch shorten."]
        fake.switched = (*fake.switched, Switch("shorten", True, "Shorten.", "Prompt"))
        await stage.press("O", "O")
        assert fake.calls == [("set_switch", "shorten", "False"), ("set_switch", "shorten", "True")]
        assert _said(stage)[-2:] == ["shorten is off", "shorten is on"]


# ---------------------------------------------------------------------------- the selected one


async def test_replay_runs_it_again_and_goes_to_the_new_row(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("g", "r", "enter")
        assert stage.source.fake.calls == [("replay", FIRST, "")]
        assert _said(stage) == ["a3f1 runs again as b001"]
        assert stage.app.view.selected is not None
        await stage.send(*received("b001", NOON))
        assert stage.app.view.selected.id[-4:] == "b001"
        await stage.press("g")
        await stage.send(*request("b002", NOON))
        assert stage.app.view.selected.id == FIRST


async def test_replay_with_another_model_loads_it_first(console: Opener) -> None:
    source = FakeSource()
    source.fake.local = models()
    other = models()[1].name
    async with console(source=source) as stage:
        await stage.send(*session())
        await stage.press("g", "r")
        assert _has(stage, "as it was asked") and _has(stage, "too large")
        await stage.press("j", "j", "enter")
        assert source.fake.calls == [("load", other)]
        await stage.send(EngineState("loading", other, 0.5))
        assert source.fake.calls == [("load", other)]
        await stage.send(EngineState("ready", other, 1.0))
        assert source.fake.calls[1:] == [("replay", FIRST, other)]


async def test_a_replay_whose_model_fails_to_load_is_given_up(console: Opener) -> None:
    source = FakeSource()
    source.fake.local = models()
    async with console(source=source) as stage:
        await stage.send(*session())
        await stage.press("g", "r", "j", "j", "enter")
        other = models()[1].name
        await stage.send(EngineState("failed", other, 0.0, f"loading {other} failed: no"))
        await stage.send(EngineState("ready", other, 1.0))
        assert [call[0] for call in source.fake.calls] == ["load"]


async def test_what_runs_can_not_be_replayed(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("k", "r", "A")
        assert stage.app.screen is stage.app.main and stage.source.fake.calls == []


async def test_pin_marks_the_session_and_unpins_it_again(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("g", "P")
        assert stage.source.fake.calls == [("pin", SESSION, "True")]
        assert "◆  12:04:02 a3f1" in stage.text() and _has(stage, "pinned in memory")
        assert not _has(stage, "◆  12:08:57")
        await stage.press("P")
        assert stage.source.fake.calls[-1] == ("pin", SESSION, "False") and not _has(stage, "◆")


async def test_an_attached_console_finds_what_is_pinned(console: Opener) -> None:
    source = FakeSource()
    source.attached = True
    nodes = [
        PrefixNode(1, None, 0, 9, 9, False, True, 0, (SESSION, "other"), NOON, "head"),
        PrefixNode(2, 1, 9, 9, 9, False, True, 0, (SESSION,), NOON, "tail"),
        PrefixNode(3, 1, 9, 9, 9, False, False, 0, ("other",), NOON, "tail"),
    ]
    source.fake.tree = PrefixTreePicture(MODEL, tuple(nodes), 0)
    async with console(source=source) as stage:
        await stage.send(*session())
        assert stage.app.store.pinned == {SESSION} and _has(stage, "◆  12:04:02 a3f1")


async def test_parse_again_shows_then_and_now(console: Opener) -> None:
    source = FakeSource()
    source.fake.parsed = (replace(REPAIRED, name="Edit"),)
    async with console(source=source) as stage:
        await stage.send(*session())
        await stage.press("g", "j", "j", "A")
        assert source.fake.calls == [("reparse", "req_0000000000000000a3f3")]
        assert isinstance(stage.app.screen, Reparse) and _has(stage, "1 of 1 differ")
        assert _has(stage, "as sent  failed") and _has(stage, "as read now  repaired")
        await stage.press("escape")
        source.fake.failure = NotFound("the output isn't kept any more")
        await stage.press("A")
        assert _has(stage, "the output isn't kept any more")


# ------------------------------------------------------------------------------ taking things


@pytest.mark.parametrize(
    ("key", "begins"),
    [
        ("i", "req_0000000000000000a3f1"),
        ("p", "<|im_start|>system"),
        ("o", "I'll read the failing test."),
        ("c", "curl -sS http://127.0.0.1:8082/v1/messages"),
        ("s", "SELECT * FROM requests WHERE id = 'req_0000000000000000a3f1'"),
        ("l", 'eval "$(anyclaude env)"\nclaude'),
    ],
)
async def test_the_copy_menu(console: Opener, key: str, begins: str) -> None:
    async with console() as stage:
        stage.source.fake.details[FIRST] = detail("a3f1")
        await stage.send(*session())
        await stage.press("g", "y")
        await stage.press(key)
        assert stage.copied[0].startswith(begins) and "****" not in stage.copied[0]
        assert stage.app.screen is stage.app.main and _said(stage)[0].startswith("Copied: ")


async def test_what_can_not_be_copied_says_why(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("g", "y")
        assert _has(stage, "not kept any more")
        await stage.press("t")
        assert _has(stage, "Tool calls as JSON: it called no tool") and stage.copied == []
        await stage.press("escape")
        await stage.press("j", "j", "y", "t")
        assert '"verdict": "failed"' in stage.copied[0]


async def test_export_writes_the_filtered_list(
    console: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with console() as stage:
        await stage.send(*session())
        await stage.press("slash", *"haiku", "enter", "w")
        assert _has(stage, "2 requests that the filter leaves")
        await stage.press("enter")
        assert _said(stage)[0].startswith("Wrote 2 requests to ")
        (path,) = tmp_path.iterdir()
        assert path.name == "anyclaude-20251009-120900.jsonl"
        ids = [json.loads(text)["id"][-4:] for text in path.read_text().splitlines()]
        assert ids == ["a3f2", "a3f9"] and path.stat().st_mode & 0o777 == 0o600


async def test_export_of_one_request_has_its_detail_and_overwrites_nothing(
    console: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    taken = tmp_path / "a.jsonl"
    taken.write_text("mine")
    async with console() as stage:
        stage.source.fake.details[FIRST] = detail("a3f1")
        await stage.send(*session())
        await stage.press("g", "w", "down")
        stage.app.screen.query_one(Input).value = str(taken)
        await stage.press("enter")
        assert _has(stage, "exists already") and taken.read_text() == "mine"
        assert stage.app.screen.query_one(Input).value == str(tmp_path / "a-2.jsonl")
        await stage.press("enter")
        value = json.loads((tmp_path / "a-2.jsonl").read_text())
        assert value["id"] == FIRST and value["prompt"].startswith("<|im_start|>")
        await stage.press("w")
        stage.app.screen.query_one(Input).value = " "
        await stage.press("enter")
        assert _has(stage, "Name a file.")


# -------------------------------------------------------------------------------- the console


async def test_help_lists_the_keys_in_force(console: Opener) -> None:
    async with console(ui=UiSettings(keymap=(("view.follow", "f5"),))) as stage:
        await stage.send(*session())
        await stage.press("question_mark")
        assert isinstance(stage.app.screen, Help) and _has(stage, "Follow new requests")
        await stage.press("escape", "f")
        assert stage.app.view.follow
        await stage.press("f5")
        assert not stage.app.view.follow


async def test_t_goes_through_the_themes(console: Opener) -> None:
    async with console() as stage:
        seen = []
        for _ in stage.app.theme_names:
            seen.append(stage.app.theme)
            await stage.press("t")
        assert sorted(seen) == sorted(stage.app.theme_names) and stage.app.theme == seen[0]


async def test_an_unknown_theme_is_said(console: Opener) -> None:
    async with console(ui=UiSettings(theme="neon")) as stage:
        assert stage.app.theme == "anyclaude-dark" and "neon" in _said(stage)[0]


async def test_q_quits_at_once_when_idle(console: Opener) -> None:
    async with console() as stage:
        await stage.send(READY, *request("a3f1", NOON))
        await stage.press("q")
    assert (stage.launch.stops, stage.app.return_code) == (1, 0)


async def test_q_asks_when_requests_run_and_a_second_q_quits(console: Opener) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("q")
        assert _has(stage, "2 requests are running") and stage.launch.stops == 0
        await stage.press("n")
        assert stage.app.screen is stage.app.main
        await stage.press("q", "q")
    assert (stage.launch.stops, stage.app.return_code) == (1, 0)


@pytest.mark.parametrize("key", ["ctrl+q", "ctrl+c"])
async def test_ctrl_q_and_ctrl_c_quit_without_asking(console: Opener, key: str) -> None:
    async with console() as stage:
        await stage.send(*session())
        await stage.press("question_mark", key)
    assert (stage.launch.stops, stage.app.return_code) == (1, 0)


async def test_leaving_an_attached_console_asks_nothing(console: Opener) -> None:
    source = FakeSource()
    source.attached = True
    source.fake.recorded = tuple(e.record for e in request("0001", NOON) if hasattr(e, "record"))
    async with console(source=source) as stage:
        assert _has(stage, "0001")
        await stage.send(*session())
        await stage.press("q")
    assert stage.app.return_code == 0


async def test_quitting_while_the_server_still_starts(console: Opener) -> None:
    source = FakeSource()
    async with console(source=source) as stage:
        stage.launch.hold = asyncio.Event()
        stage.app.run_worker(stage.app._start(), group="start", exit_on_error=False)
        await stage.pilot.pause()
        await stage.pilot.press("q")
        await stage.pilot.pause()
    assert stage.app.return_code == 0

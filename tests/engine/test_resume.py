"""An answer taken up again: from the text kept, held to a call, with the tokens of all of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anyclaude.backend import BackendRequest, Resume
from anyclaude.engine.admission import held_to_a_call
from anyclaude.errors import EngineFailed
from anyclaude.tools.families import FAMILIES
from anyclaude.types import ToolChoice, ToolDefinition
from tests.engine.conftest import OPTIONS, StartRig, ask

SWITCH = ToolDefinition(
    "Switch",
    "",
    {
        "type": "object",
        "properties": {"on": {"type": "boolean"}},
        "required": ["on"],
        "additionalProperties": False,
    },
)
KEPT = Resume("I switch it.\n", '<tool_call>\n{"name": "Switch", "arguments": {"on": ', "Switch")


def resuming(resume: Resume | None, *, id: str = "again") -> BackendRequest:
    asked = ask("switch it on", id=id, max_tokens=140)
    return replace(asked, request=replace(asked.request, tools=(SWITCH,)), resume=resume)


async def test_an_answer_goes_on_from_the_text_kept(start_rig: StartRig) -> None:
    rig = await start_rig(script=lambda prompt: "hello " * 12)
    first = await rig.ask(resuming(None, id="first"))
    prompt = first.finish.usage.prompt_tokens
    again = await rig.ask(resuming(KEPT))
    assert again.text in ("true}}\n</tool_call>", "false}}\n</tool_call>")
    assert again.read >= prompt - 1, "the prompt is not read a second time"
    model = rig.engine.caches.model
    assert model is not None
    whole = model.template.decode(again.finish.tokens)
    assert whole.startswith(f"{KEPT.text}{KEPT.call}{again.text}")


async def test_a_call_without_a_beginning_is_written_whole(start_rig: StartRig) -> None:
    rig = await start_rig(script=lambda prompt: "hello " * 12)
    again = await rig.ask(resuming(Resume("I switch it.", "", "Switch")))
    assert again.text.startswith('<tool_call>\n{"name": "Switch", "arguments": {')
    assert again.text.endswith("</tool_call>")


async def test_without_a_grammar_nothing_can_be_resumed(start_rig: StartRig) -> None:
    rig = await start_rig(options=replace(OPTIONS, constrain=False))
    with pytest.raises(EngineFailed, match="can't be held to a call"):
        await rig.engine.open(resuming(KEPT))


async def test_a_call_that_the_grammar_has_not_is_not_resumed(start_rig: StartRig) -> None:
    rig = await start_rig(script=lambda prompt: "hello")
    bare = replace(KEPT, call='{"name": "Switch", "arguments": {"on": ')
    with pytest.raises(EngineFailed, match="the grammar has no such call"):
        await rig.engine.open(resuming(bare))
    again = await rig.ask(resuming(KEPT))
    assert again.text.endswith("}}\n</tool_call>")


async def test_in_a_section_of_calls_one_more_is_written(
    start_rig: StartRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = await start_rig(script=lambda prompt: "hello " * 12)
    model = rig.engine.model
    assert model is not None
    monkeypatch.setattr(model.template, "dialect", FAMILIES["minimax"])
    before = FAMILIES["minimax"].render("Switch", {"on": True}).removesuffix("</minimax:tool_call>")
    again = await rig.ask(resuming(Resume(before, "", "Switch", inside=True)))
    assert again.text.startswith('<invoke name="Switch">\n<parameter name="on">')
    assert again.text.endswith("</parameter>\n</invoke>\n</minimax:tool_call>")
    outside = await rig.ask(resuming(Resume("I do.\n", "", "Switch"), id="outside"))
    assert outside.text.startswith('<minimax:tool_call>\n<invoke name="Switch">')


def test_only_the_call_meant_may_be_written() -> None:
    request = held_to_a_call(resuming(KEPT)).request
    assert request.tool_choice == ToolChoice("tool", "Switch", True)
    assert held_to_a_call(resuming(Resume("", ""))).request.tool_choice.mode == "any"
    assert held_to_a_call(resuming(None)).request.tool_choice == ToolChoice()

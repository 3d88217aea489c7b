"""What became of a tool on its way to the model and to the grammar, told once per version."""

from __future__ import annotations

from anyclaude.events import SystemEvent
from anyclaude.tools.families import FAMILIES
from anyclaude.tools.registry import ToolVersion
from anyclaude.tools.trace import Diff, diff, removal
from anyclaude.tools.transforms import Transformation, event_of, in_grammar, in_prompt
from anyclaude.tools.watch import Taken, ToolWatch, transformed
from anyclaude.types import JsonObject, JsonValue, MessagesRequest, ToolChoice, ToolDefinition

HERMES, GLM = FAMILIES["hermes"], FAMILIES["glm"]
VERSION = ToolVersion("Pick", 2, "h", 1.0, 1.0)


def tool(
    name: str = "Pick", *, raw: JsonObject | None = None, **words: JsonValue
) -> ToolDefinition:
    schema: dict[str, JsonValue] = {
        "type": "object", "properties": words, "additionalProperties": False,
    }  # fmt: skip
    return ToolDefinition(name, "Picks", schema, raw=raw or {})


def shows_all(tool: ToolDefinition) -> tuple[tuple[str | int, ...], ...]:
    return ()


DAYS = tool(days={"type": "array", "items": {"enum": ["mon"]}, "uniqueItems": True})


# ------------------------------------------------------------------------------- differences


def test_a_key_by_another_name_is_changed_not_lost() -> None:
    before: JsonObject = {"a": {"oneOf": [{"x": 1, "y": 2}]}, "oneOf": 1, "anyOf": 2}
    after: JsonObject = {"a": {"anyOf": [{"x": 1}]}, "anyOf": 2}
    found = diff(before, after, {"oneOf": "anyOf"})
    assert found == Diff(removed=("a.oneOf.0.y", "oneOf"), changed=("a.oneOf",), lost=2)


def test_what_is_taken_out_is_named_and_counted() -> None:
    value: JsonObject = {"a": {"b": [1, {"c": 2}]}, "required": ["x", "y"]}
    found = removal(value, [("a", "b", 1), ("required", 1)])
    assert found == Diff(removed=("a.b.1", "required.y"), lost=2 + 1)
    assert removal(value, [("a",)]).lost == 3
    assert found.lines == ("removed a.b.1", "removed required.y")


# ------------------------------------------------------------------------------------- steps


def test_the_grammars_copy_is_compared_with_what_the_client_sent() -> None:
    done = in_grammar(DAYS, HERMES)
    assert done.diff == Diff(removed=("properties.days.uniqueItems",), lost=1)
    (why,) = done.reasons
    assert why.startswith("/properties/days: uniqueItems is not in the grammar")
    assert done.text == "the grammar lost 1 key"
    assert not in_grammar(tool(a={"type": "string", "pattern": "^a+$"}), HERMES).diff


def test_a_union_that_is_widened_loses_nothing_below_it() -> None:
    one: JsonValue = {"oneOf": [{"type": "object", "properties": {key: {}}} for key in "bc"]}
    done = in_grammar(tool(a=one), HERMES).diff
    assert (done.changed, done.lost) == (("properties.a.oneOf",), 0)


def test_a_pattern_that_is_taken_apart_is_no_loss() -> None:
    done = in_grammar(tool(a={"type": "string", "pattern": "^(?=.*b)[a-c]+$"}), HERMES)
    assert (done.diff, done.reasons) == (Diff(changed=("properties.a.pattern",)), ())


def test_what_the_form_of_calls_cannot_say_is_lost_too() -> None:
    picky = tool(
        label={"type": "string", "pattern": "^a+$", "minLength": 2, "description": "d"},
        mode={"enum": ["x", "y"]},
        many={"type": "array", "items": {"type": "string", "maxLength": 3}},
    )
    assert not in_grammar(picky, HERMES).diff
    assert in_grammar(picky, GLM).diff.removed == (
        "properties.label.pattern", "properties.label.minLength",
    )  # fmt: skip


def test_what_a_template_hides_and_examples_that_do_not_fit_are_lost_to_the_prompt() -> None:
    given = tool(
        raw={"input_examples": [{"a": 1}, {"b": 2}]},
        a={"type": "integer", "anyOf": [{"title": "t"}]},
    )
    done = in_prompt(given, lambda _: [("input_schema", "additionalProperties"), ("description",)])
    assert done.diff.removed == (
        "input_schema.additionalProperties", "description", "input_examples.1",
    )  # fmt: skip
    assert done.diff.lost == 3
    assert done.reasons == ("input_examples.1: b: expected one of the keys a, got 2",)
    assert not in_prompt(given, shows_all).diff.added
    assert in_prompt(tool(raw={"input_examples": 3}), shows_all).reasons == (
        "input_examples is no list",
    )


# ------------------------------------------------------------------------------------ events


def test_more_than_three_lost_keys_are_a_warning() -> None:
    for lost, level in ((3, "info"), (4, "warning")):
        gone = Diff(removed=tuple(f"k{n}" for n in range(lost)), lost=lost)
        event = event_of(VERSION, [Transformation("grammar", gone, ("why",))], 5.0, "r")
        assert event is not None
        assert (event.level, event.kind, event.at, event.request_id) == (level, "tools", 5.0, "r")
        assert event.message == f"Pick (version 2): the grammar lost {lost} keys"
        assert event.detail.split("\n") == [
            *(f"grammar: removed k{n}" for n in range(lost)), "grammar: why",
        ]  # fmt: skip


def test_three_lost_here_and_three_there_are_none() -> None:
    gone = Diff(removed=("a", "b", "c"), lost=3)
    done = [Transformation("prompt", gone), Transformation("grammar", gone)]
    event = event_of(VERSION, done, 5.0, "r")
    assert event is not None and event.level == "info"


def test_nothing_done_is_nothing_said() -> None:
    assert event_of(VERSION, [Transformation("prompt", Diff())], 5.0, "r") is None


def test_a_long_trace_is_cut() -> None:
    gone = Diff(added=tuple(f"k{n}" for n in range(500)))
    event = event_of(VERSION, [Transformation("grammar", gone)], 5.0, "r")
    assert event is not None
    assert event.detail.endswith("\nand 300 more") and event.detail.count("\n") == 200
    assert event.message.endswith("the grammar gained 500 keys")


# ------------------------------------------------------------------------------------- watch


def tell(
    watch: ToolWatch, taken: Taken, request_id: str = "r", scope: str = "s"
) -> list[SystemEvent]:
    request = MessagesRequest("m", 1, (), tools=taken.tools)
    watch.received(request, request_id, scope, 1.0)
    return list(transformed(watch.untold(taken, scope), taken, request_id, 2.0))


def taken(*tools: ToolDefinition, model: str = "m", choice: ToolChoice | None = None) -> Taken:
    return Taken(model, tools, choice or ToolChoice(), shows_all, HERMES)


def test_each_version_of_a_tool_is_told_once() -> None:
    watch, plain = ToolWatch(), tool("Plain")
    (event,) = tell(watch, taken(DAYS, plain), "r1")
    assert event.message == "Pick (version 1): the grammar lost 1 key"
    assert event.request_id == "r1"
    assert tell(watch, taken(DAYS, plain), "r2") == []
    assert tell(watch, taken(DAYS), "r3", "another conversation") == []
    other = tool(days={"type": "array", "uniqueItems": True, "not": {}})
    (event,) = tell(watch, taken(other), "r4")
    assert event.message.startswith("Pick (version 2): the grammar lost")
    assert len(tell(watch, taken(DAYS, model="other"))) == 1


def test_a_grammar_is_told_of_when_there_is_one() -> None:
    watch = ToolWatch()
    assert tell(watch, taken(DAYS, choice=ToolChoice("none"))) == []
    assert tell(watch, taken(DAYS, choice=ToolChoice("tool", "Other"))) == []
    assert len(tell(watch, taken(DAYS, choice=ToolChoice("tool", "Pick")))) == 1
    free = Taken("m", (tool("A", x={"type": "string", "not": {}}),), ToolChoice(), shows_all, None)
    assert tell(watch, free) == []


def test_a_template_that_fails_is_told_of_and_stops_nothing() -> None:
    def fails(tool: ToolDefinition) -> tuple[tuple[str | int, ...], ...]:
        raise RuntimeError("no such filter")

    watch, one = ToolWatch(), Taken("m", (DAYS,), ToolChoice(), fails, HERMES)
    (event,) = tell(watch, one)
    assert (event.level, event.kind) == ("warning", "tools")
    assert "Pick" in event.message and "no such filter" in event.message

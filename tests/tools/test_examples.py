"""``input_examples``: what of them the model is told, the same in every request."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from anyclaude.tools.examples import HEADING, Examples, examples_of, with_examples
from anyclaude.types import JsonValue, MessagesRequest, ToolDefinition

SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "limit": {"type": "integer", "minimum": 1}},
    "required": ["path"],
    "additionalProperties": False,
}


def tool(
    examples: JsonValue = None, description: str = "Reads", type: str | None = None
) -> ToolDefinition:
    raw: dict[str, JsonValue] = {} if examples is None else {"input_examples": examples}
    return ToolDefinition("Read", description, SCHEMA, type=type, raw=raw)


def described(tool: ToolDefinition) -> str:
    (shown,) = with_examples(MessagesRequest("m", 1, (), tools=(tool,))).tools
    assert shown.function["function"] == {
        "name": "Read", "description": shown.description, "parameters": SCHEMA,
    }  # fmt: skip
    return shown.description


def test_each_example_is_a_line_of_json_below_the_description() -> None:
    text = described(tool([{"path": "ä.py", "limit": 2}, {"path": 'a\n"b"'}]))
    assert text == f'Reads\n\n{HEADING}\n{{"path":"ä.py","limit":2}}\n{{"path":"a\\n\\"b\\""}}'
    assert described(tool([{"path": "a"}], description="")) == f'{HEADING}\n{{"path":"a"}}'


def test_a_request_without_examples_is_left_as_it_is() -> None:
    request = MessagesRequest("m", 1, (), tools=(tool(), tool([])))
    assert with_examples(request) is request


def test_what_does_not_fit_is_left_out_and_said() -> None:
    wrong = tool([{"path": "a"}, {"limit": 3}, 7, {"path": "a", "limit": 0}, {"path": "b"}])
    assert described(wrong) == f'Reads\n\n{HEADING}\n{{"path":"a"}}\n{{"path":"b"}}'
    found = examples_of(wrong)
    assert [index for index, _ in found.left_out] == [1, 2, 3]
    assert found.left_out[0][1] == "path: expected string, got nothing"
    assert examples_of(tool({"path": "a"})).note == "input_examples is no list"
    assert described(tool("abc")) == "Reads"
    assert described(tool([{"limit": 1}])) == "Reads"


def test_one_example_given_twice_is_told_once() -> None:
    assert examples_of(tool([{"path": "a"}, {"path": "a"}])).lines == ('{"path":"a"}',)


def test_tools_of_anthropics_servers_have_none() -> None:
    assert examples_of(tool([{"path": "a"}], type="web_search_1")) == Examples()


@given(st.lists(st.fixed_dictionaries({"path": st.text()}), max_size=4))
def test_equal_definitions_are_equal_text(examples: list[dict[str, str]]) -> None:
    again = json.loads(json.dumps(examples))
    text = described(tool(list(examples)))
    assert text == described(tool(again))
    _, _, told = text.partition(f"{HEADING}\n")
    lines = told.split("\n") if told else []
    assert [json.loads(line) for line in lines] == list(
        {json.dumps(example): example for example in examples}.values()
    )

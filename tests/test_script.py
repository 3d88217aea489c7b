"""Scripts are read whole or refused by name, and answer by place and turn."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyclaude.errors import UsageError
from anyclaude.script import DEMO_FILE, Answer, Script, read_script, script_path

SCRIPT = Script(
    (
        Answer("first", "task", 0),
        Answer("second", "task", 1),
        Answer("anything later", "task"),
    ),
    otherwise="what?",
)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "script.toml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("prompt", "turn", "said"),
    [
        ("the task", 0, "first"),
        ("the task", 1, "second"),
        ("the task", 7, "anything later"),
        ("something else", 0, "what?"),
    ],
)
def test_the_first_answer_that_fits_is_given(prompt: str, turn: int, said: str) -> None:
    assert SCRIPT.answer(prompt, turn) == said


def test_the_demo_is_read_with_its_pace() -> None:
    script = read_script(DEMO_FILE)
    assert script.prefill > 0 < script.decode
    assert "tool_call" in script.answer("a parser that drops the last line", 0)
    assert script_path("scripted:demo") == DEMO_FILE


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("answers = 3", "answers: 3 is not of type 'array'"),
        ("prefill = -1\nanswers = []", "prefill: -1"),
        ("[[answers]]\nwhen = 'x'", "answers.0: 'says' is a required property"),
        ("[[answers]]\nsays = 'x'\nturns = 1", "answers.0: Additional properties"),
        ("answers = [", "script.toml"),
    ],
)
def test_a_script_that_is_wrong_is_refused_by_its_place(
    tmp_path: Path, text: str, fault: str
) -> None:
    with pytest.raises(UsageError) as refused:
        read_script(write(tmp_path, text))
    assert fault in refused.value.message
    assert "script.toml" in refused.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.toml"):
        read_script(tmp_path / "nowhere.toml")


def test_another_text_is_another_script(tmp_path: Path) -> None:
    one = read_script(write(tmp_path, "[[answers]]\nsays = 'x'"))
    other = read_script(write(tmp_path, "[[answers]]\nsays = 'y'"))
    assert one.digest != other.digest

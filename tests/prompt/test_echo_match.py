"""The client's rewriting of an answer is recognised; nothing else passes for it."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyclaude.prompt.echo_match import (
    Directories,
    same_input,
    same_json,
    same_turn,
    working_directory,
)
from anyclaude.types import (
    Block,
    JsonObject,
    JsonValue,
    Message,
    MessagesRequest,
    OpaqueBlock,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
)

CWD = frozenset({"/work/app"})
EDIT = {"file_path": "/a.py", "old_string": "x  ", "new_string": "y  \n\tz\t\n"}
EDITED = {"replace_all": False, "file_path": "/a.py", "old_string": "x  ", "new_string": "y\n\tz\n"}
WRITE = {"content": "a \r\nb\u00a0\r  c\n\n", "file_path": "/a.py"}
BASH = {"description": "d", "command": "cd /work/app && ls  ", "timeout": "5000"}

SAME: list[tuple[str, JsonObject, JsonObject]] = [
    ("Edit", EDIT, EDITED),
    ("Edit", {**EDIT, "replace_all": True}, {**EDITED, "replace_all": True}),
    ("Edit", EDIT, {**EDIT, "replace_all": False}),
    ("Edit", EDIT, EDIT),
    ("Write", WRITE, {"file_path": "/a.py", "content": "a\r\nb\r  c\n\n"}),
    (
        "Write",
        {"file_path": "/README.md", "content": "a  \n"},
        {"file_path": "/README.md", "content": "a  \n"},
    ),
    ("Bash", BASH, {"command": "ls  ", "timeout": 5000, "description": "d"}),
    ("Bash", BASH, BASH),
    ("Bash", {"command": "x", "timeout": 5000.0}, {"command": "x", "timeout": 5000}),
    ("Read", {"b": [1, {"c": 2.0}], "a": "\u00e9"}, {"a": "é", "b": [1.0, {"c": 2}]}),
    ("Read", {"a": 1}, {"__unparsedToolInput": {"raw": '{"a":\n1}', "len": 8}}),
    ("Read", {"a": "😀"}, {"__unparsedToolInput": {"raw": '{"a":"😀"}', "len": 10}}),
]

DIFFERENT: list[tuple[str, JsonObject, JsonObject]] = [
    ("Edit", EDIT, {**EDITED, "old_string": "x"}),
    ("Edit", EDIT, {**EDITED, "new_string": "y\n z\n"}),
    ("Edit", EDIT, {**EDITED, "new_string": "y  \n\tz\n"}),
    ("Edit", EDIT, {**EDITED, "replace_all": True}),
    ("Edit", {**EDIT, "replace_all": True}, {**EDITED, "replace_all": False}),
    ("Edit", EDIT, {k: v for k, v in EDITED.items() if k != "replace_all"}),
    ("Edit", EDIT, {**EDITED, "more": 1}),
    ("Edit", {**EDIT, "file_path": "/a.MD"}, {**EDITED, "file_path": "/a.MD"}),
    ("Write", {"file_path": "/a.md", "content": "a  \n"}, {"file_path": "/a.md", "content": "a\n"}),
    ("Write", WRITE, {"file_path": "/b.py", "content": "a\r\nb\r  c\n\n"}),
    ("Write", {"file_path": "/a", "content": "a\n"}, {"file_path": "/a", "content": "a"}),
    ("Write", {"file_path": "/a", "content": "5"}, {"file_path": "/a", "content": 5}),
    ("NotebookEdit", {"new_source": "a \n"}, {"new_source": "a\n"}),
    ("Bash", {"command": "cd /etc && ls"}, {"command": "ls"}),
    ("Bash", {"command": "cd app && ls"}, {"command": "ls"}),
    ("Bash", {"command": "ls"}, {"command": "cd /work/app && ls"}),
    ("Bash", {"command": "cd /work/app && ls"}, {"command": "ls -a"}),
    ("Bash", {"command": "cd /work/app; ls"}, {"command": "ls"}),
    ("Bash", {"command": "ls "}, {"command": "ls"}),
    ("Bash", {"command": "ls", "timeout": "5000"}, {"command": "ls", "timeout": 5001}),
    ("Bash", {"command": "ls", "timeout": "0x10"}, {"command": "ls", "timeout": 16}),
    ("Bash", {"command": "5"}, {"command": 5}),
    ("Bash", {"command": "ls", "timeout": 1}, {"command": "ls"}),
    ("Read", {"offset": "10"}, {"offset": 10}),
    ("Read", {"a": True}, {"a": 1}),
    ("Read", {"a": 0}, {"a": False}),
    ("Read", {"a": None}, {}),
    ("Read", {"a": [1, 2]}, {"a": [2, 1]}),
    ("Read", {"a": 1}, {"__unparsedToolInput": {"raw": '{"a": 2}', "len": 8}}),
    ("Read", {"a": 1}, {"__unparsedToolInput": {"raw": '{"a": 1}', "len": 9000}}),
    ("Read", {"a": 1}, {"__unparsedToolInput": {"raw": '{"a": ', "len": 6}}),
    ("Read", {"a": 1}, {"__unparsedToolInput": "x"}),
]


@pytest.mark.parametrize(("name", "generated", "echoed"), SAME)
def test_what_the_client_does_is_the_same(
    name: str, generated: JsonObject, echoed: JsonObject
) -> None:
    assert same_input(name, generated, echoed, CWD)


@pytest.mark.parametrize(("name", "generated", "echoed"), DIFFERENT)
def test_anything_else_is_a_change(name: str, generated: JsonObject, echoed: JsonObject) -> None:
    assert not same_input(name, generated, echoed, CWD)


def test_a_cut_cd_is_believed_of_no_folder_when_ours_is_unknown() -> None:
    assert not same_input("Bash", {"command": "cd /x y && ls"}, {"command": "ls"}, None)
    assert not same_input("Bash", {"command": "cd x && ls"}, {"command": "ls"}, None)


# Values whose text form carries no white space at line ends and no number in a string, so that
# no rule of the client has anything to do on them.
plain = st.text('abc{}"\\é', max_size=5)
scalars = st.none() | st.booleans() | st.integers(-9, 9) | plain
values: st.SearchStrategy[JsonValue] = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(plain, v, max_size=3), max_leaves=8
)
inputs = st.dictionaries(
    st.sampled_from(["file_path", "new_string", "content", "command", "timeout", "x"]), values
)
tool_names = st.sampled_from(["Edit", "Write", "Bash", "Read"])


@settings(deadline=None)
@given(tool_names, inputs)
def test_white_space_and_escapes_of_json_do_not_matter(name: str, made: JsonObject) -> None:
    wide = json.loads(json.dumps(made, indent=3, ensure_ascii=True))
    assert same_input(name, made, dict(reversed(wide.items())), CWD)


@settings(deadline=None)
@given(tool_names, inputs, st.data())
def test_one_edited_argument_is_always_seen(
    name: str, made: dict[str, JsonValue], data: st.DataObject
) -> None:
    edited = copy.deepcopy(made)
    key = data.draw(st.sampled_from([*made, "added"]))
    edited[key] = data.draw(values)
    if same_json(made, edited):
        return
    assert not same_input(name, made, edited, CWD)


# ------------------------------------------------------------------------------ whole turns


def use(n: int = 1, **arguments: JsonValue) -> ToolUseBlock:
    return ToolUseBlock(f"toolu_{n}", "Read", arguments)


T, U = TextBlock, use
THOUGHT = ThinkingBlock("hm", "sig")

SAME_TURNS: list[tuple[list[Block], list[Block]]] = [
    ([T("a"), U(1), T("b")], [T("a"), T("b"), U(1)]),
    ([U(1), T("b"), U(2)], [T("b"), U(1), U(2)]),
    ([U(1), T("b"), U(2)], [U(1), T("b"), U(2)]),
    ([T("\n"), T("a"), T(""), U(1), T(" \n")], [T("a"), U(1)]),
    ([THOUGHT, T("a")], [THOUGHT, T("a")]),
    ([THOUGHT, T("a")], [T("a")]),
    ([THOUGHT, U(1), THOUGHT, U(2)], [U(1), U(2)]),
]
DIFFERENT_TURNS: list[tuple[list[Block], list[Block]]] = [
    ([T("a and b")], [T("a and")]),
    ([T("a"), U(1)], [U(1)]),
    ([T("a"), U(1)], [U(1), T("a")]),
    ([U(1), U(2)], [U(2), U(1)]),
    ([U(1), U(2)], [U(1)]),
    ([U(1)], [U(1), U(2)]),
    ([U(1, a=1)], [U(1, a=2)]),
    ([U(1)], [ToolUseBlock("toolu_1", "Write", {})]),
    ([THOUGHT, T("a")], [ThinkingBlock("hmm", "sig"), T("a")]),
    ([T("a")], [THOUGHT, T("a")]),
    ([THOUGHT, T("a"), THOUGHT], [THOUGHT, T("a")]),
    ([T("a ")], [T("a")]),
    ([T("a")], [T("a"), OpaqueBlock("x", {})]),
]


@pytest.mark.parametrize(("generated", "echoed"), SAME_TURNS)
def test_turns_the_client_rearranged(generated: list[Block], echoed: list[Block]) -> None:
    assert same_turn(generated, echoed, CWD)


@pytest.mark.parametrize(("generated", "echoed"), DIFFERENT_TURNS)
def test_turns_someone_changed(generated: list[Block], echoed: list[Block]) -> None:
    assert not same_turn(generated, echoed, CWD)


# ---------------------------------------------------------------------------------- folders


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "Here is some environment.\n - Primary working directory: /work/my app \n - x",
            "/work/my app",
        ),
        ("<env>\nWorking directory: /work/app/\nIs git: yes\n</env>", "/work/app"),
        ("You may set the working directory: see below", None),
    ],
)
def test_the_working_directory_is_read_from_system_texts(text: str, found: str | None) -> None:
    user = Message("user", (TextBlock("hi"),))
    in_system = MessagesRequest("m", 1, (user,), (TextBlock(text),))
    in_message = MessagesRequest("m", 1, (user, Message("system", (TextBlock(text),))))
    reminder = Message("user", (TextBlock(f"<system-reminder>\n{text}\n</system-reminder>"),))
    assert working_directory(in_system) == found
    assert working_directory(in_message) == found
    assert working_directory(MessagesRequest("m", 1, (reminder,))) == found


def test_a_working_directory_that_only_the_user_claims_is_none() -> None:
    said = Message("user", (TextBlock("Working directory: /etc"),))
    assert working_directory(MessagesRequest("m", 1, (said,))) is None


def test_folders_the_shell_went_to() -> None:
    def bash(command: str) -> Message:
        return Message("assistant", (ToolUseBlock("t", "Bash", {"command": command}),))

    folders = Directories("/work")
    folders.follow(bash("cd app && make; cd '../my docs'"))
    folders.follow(bash("echo cd /etc"))
    folders.follow(Message("assistant", (ToolUseBlock("t", "Write", {"command": "cd /usr"}),)))
    assert folders.known == {"/work", "/work/app", "/work/my docs"}
    unknown = Directories(None)
    unknown.follow(bash("cd /x"))
    assert unknown.known is None

"""What of a call leaves when, and what becomes of one that is wrong."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence

import pytest

from anyclaude.dialect import CallBroken, CallClose, CallOpen, CallPiece
from anyclaude.tools.call_stream import (
    Again,
    Begin,
    CallStream,
    End,
    Json,
    OnInvalid,
    Output,
    Shown,
)
from anyclaude.tools.judge import Judged, judge
from anyclaude.types import JsonObject, ToolDefinition

READ = ToolDefinition(
    "Read",
    "",
    {
        "type": "object",
        "properties": {"path": {"type": "string"}, "limit": {"type": "integer"}},
        "required": ["path"],
        "additionalProperties": False,
    },
)


class Until:
    """Takes everything up to a text that spoils it."""

    def __init__(self, spoiler: str = "", *, lossless: bool = True) -> None:
        self.lossless = lossless
        self._spoiler = spoiler
        self._seen = ""

    def accept(self, text: str) -> int:
        before = len(self._seen)
        self._seen += text
        found = self._seen.find(self._spoiler) if self._spoiler else -1
        return len(text) if found < 0 else max(0, found - before)


def stream(
    matcher: Callable[[ToolDefinition], Until | None] = lambda _: Until(),
    *,
    on_invalid: OnInvalid = "deliver",
    regenerate: bool = True,
) -> CallStream:
    async def judged(name: str, text: str, complete: bool) -> Judged:
        return judge(name, text, [READ], complete=complete)

    ids = itertools.count(1)
    return CallStream(
        "req_1",
        {"Read": READ},
        matcher,
        judged,
        lambda prefix: f"{prefix}{next(ids)}",
        on_invalid=on_invalid,
        regenerate=regenerate,
    )


async def written(
    calls: CallStream, name: str, pieces: Sequence[str], *, complete: bool = True
) -> tuple[list[Output], list[Output]]:
    """What left while the call was written, and at its end."""
    calls.open(CallOpen(name))
    early = [output for piece in pieces for output in calls.piece(CallPiece(piece))]
    raw = f"<tool_call>{json.dumps(name)} {''.join(pieces)}</tool_call>"
    return early, await calls.close(CallClose(raw, complete, "\n"))


def sent(outputs: Sequence[Output]) -> str:
    return "".join(output.text for output in outputs if isinstance(output, Json))


def end(outputs: Sequence[Output]) -> End:
    last = outputs[-1]
    assert isinstance(last, End)
    return last


async def test_arguments_leave_as_they_are_written() -> None:
    early, late = await written(stream(), "Read", ['{"path"', ': "a', '.py"}'])
    assert early == [Begin("toolu_1", "Read"), Json('{"path": "a'), Json(".py")]
    assert late[0] == Json('"}')
    assert len(late) == 2
    use, record = end(late).use, end(late).record
    assert (use.id, use.name, use.input) == ("toolu_1", "Read", {"path": "a.py"})
    assert (record.verdict, record.repaired, record.issues) == ("valid", False, ())
    assert json.loads(record.final) == {"name": "Read", "input": {"path": "a.py"}}


@pytest.mark.parametrize("matcher", [lambda _: None, lambda _: Until(lossless=False)])
async def test_without_a_matcher_that_knows_all_nothing_leaves_before_the_end(
    matcher: Callable[[ToolDefinition], Until | None],
) -> None:
    early, late = await written(stream(matcher), "Read", ['{"path": ', '"a.py"}'])
    assert early == []
    assert late[:2] == [Begin("toolu_1", "Read"), Json('{"path": "a.py"}')]
    assert end(late).record.verdict == "valid"


async def test_what_a_matcher_doubts_waits_and_is_sent_if_it_is_right_after_all() -> None:
    pieces = ['{"limit": 3, ', '"path": "a.py"}']
    early, late = await written(stream(lambda _: Until(' "path"')), "Read", pieces)
    assert sent(early) == '{"limit": 3'
    assert sent(late) == ', "path": "a.py"}'
    early, late = await written(stream(lambda _: Until("3")), "Read", pieces)
    assert sent(early) == ""
    assert sent(early + late) == "".join(pieces)


async def test_a_call_not_yet_begun_is_repaired() -> None:
    pieces = ['{"path": "a.py", "limit": "3"']
    early, late = await written(stream(lambda _: None), "read", pieces)
    assert early == []
    assert late[0] == Begin("toolu_1", "Read")
    assert json.loads(sent(late)) == {"path": "a.py", "limit": 3}
    record = end(late).record
    assert (record.verdict, record.repaired, record.name) == ("repaired", True, "Read")
    assert {repair.stage for repair in record.repairs} == {"syntax", "alias", "coerced"}


async def test_a_repair_that_only_adds_to_the_bytes_sent_is_made() -> None:
    early, late = await written(stream(), "Read", ['{"path": "a.py"'])
    assert sent(early) == '{"path": "a.py'
    assert sent(late) == '"}'
    assert end(late).record.verdict == "repaired"


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        (['{"path": "a.py"', ",", "}"], {"path": "a.py"}),
        (['{"path": "a.py",', ' "limit": 3,', " }"], {"path": "a.py", "limit": 3}),
        (['{"path": "a.py", "limit": ', "null}"], {"path": "a.py"}),
        (['{"path": "a.py", "limit": ', '"3"}'], {"path": "a.py", "limit": 3}),
    ],
)
async def test_what_a_repair_takes_away_was_never_sent(
    pieces: list[str], whole: dict[str, object]
) -> None:
    spoilers = {"}": "}", " }": " }", "null}": "null", '"3"}': '"3'}
    calls = stream(lambda _: Until(spoilers[pieces[-1]]), regenerate=False)
    early, late = await written(calls, "Read", pieces)
    assert early
    assert json.loads(sent(early + late)) == whole == end(late).use.input
    assert end(late).record.verdict == "repaired"


async def test_a_quote_that_was_not_the_end_can_still_be_escaped() -> None:
    calls = stream(lambda _: Until("hi"))
    early, late = await written(calls, "Read", ['{"path": "say ', '"hi" to all', '"}'])
    assert sent(early) == '{"path": "say'
    assert json.loads(sent(early + late)) == {"path": 'say "hi" to all'}
    assert end(late).record.verdict == "repaired"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"path": "a.py}', "a.py"),
        ('{"path": "a.py\n}\n', "a.py"),
        ('{"path": "*.{a,b}}', "*.{a,b}"),
        ('{"path": "a.py"} and so on', "a.py"),
    ],
)
async def test_what_has_only_a_doubtful_end_is_ended_when_nobody_writes_it_anew(
    text: str, path: str
) -> None:
    calls = stream(lambda _: Until(" and"))
    early, late = await written(calls, "Read", [text])
    assert isinstance(late[0], Again)
    late = await calls.give_up()
    assert json.loads(sent(early + late)) == {"path": path}
    record = end(late).record
    assert (record.verdict, [repair.stage for repair in record.repairs]) == ("repaired", ["syntax"])
    assert [issue.rule for issue in record.issues] == ["parse"]
    calls = stream(lambda _: None, regenerate=False)
    _, late = await written(calls, "Read", [text])
    assert isinstance(late[0], Shown), "nothing was sent, so nothing has to be made up"


async def test_an_end_that_leaves_out_what_is_needed_is_none() -> None:
    early, late = await written(stream(regenerate=False), "Read", ['{"limit": 3, "path": {"a}'])
    assert sent(early + late) == '{"limit": 3, "path": {'
    assert end(late).unfinished
    assert end(late).record.verdict == "unparsed"


async def test_why_a_call_was_not_written_anew_is_told_with_it() -> None:
    calls = stream(lambda _: None)
    await written(calls, "Read", ["{}"])
    late = await calls.give_up("there is no room; the answer ends here")
    issues = end(late).record.issues
    assert [issue.rule for issue in issues] == ["required", "regenerate"]
    assert issues[-1].text == "there is no room; the answer ends here"


async def test_a_repair_of_bytes_sent_is_written_anew_from_there() -> None:
    calls = stream(lambda _: Until('"x'))
    pieces = ['{"path": "a.py", "limit": ', '"x"}']
    early, late = await written(calls, "Read", pieces)
    kept = '{"path": "a.py'
    assert sent(early) == kept
    assert late == [
        Again(
            f'<tool_call>"Read" {"".join(pieces)}</tool_call>',
            f'<tool_call>"Read" {kept}',
            "Read",
        )
    ]
    # The model's text goes on after the bytes that stay, which come once more.
    again, rest = await written(calls, "Read", [kept, '", "limit": ', "7", "}"])
    assert again == [Json('", "limit": 7')]
    assert rest[0] == Json("}")
    record = end(rest).record
    assert end(rest).use.id == "toolu_1"
    assert record.verdict == "regenerated"
    assert [repair.stage for repair in record.repairs] == ["regenerated"]
    assert record.issues[0].path == "limit"


async def test_a_call_that_is_wrong_twice_is_delivered_as_it_is() -> None:
    calls = stream(lambda _: None)
    _, late = await written(calls, "Read", ['{"limit": 3}'])
    assert late == [Again('<tool_call>"Read" {"limit": 3}</tool_call>', "", "Read")]
    _, late = await written(calls, "Read", ['{"limit": 4}'])
    assert sent(late) == '{"limit": 4}'
    assert end(late).record.verdict == "failed"
    assert [issue.rule for issue in end(late).record.issues] == ["required"]


async def test_nothing_is_written_anew_when_that_is_off() -> None:
    _, late = await written(stream(lambda _: None, regenerate=False), "Read", ["{}"])
    assert (sent(late), end(late).record.verdict) == ("{}", "failed")


async def test_what_is_wrong_can_be_shown_instead() -> None:
    calls = stream(lambda _: None, regenerate=False, on_invalid="text")
    _, late = await written(calls, "Read", ["{}"])
    (shown,) = late
    assert isinstance(shown, Shown)
    assert shown.text == '\n<tool_call>"Read" {}</tool_call>'
    assert (shown.record.verdict, shown.record.tool_use_id) == ("failed", "")


async def test_giving_up_delivers_what_there_was() -> None:
    calls = stream(lambda _: None)
    _, late = await written(calls, "Read", ["{}"])
    assert isinstance(late[0], Again)
    late = await calls.give_up()
    assert (sent(late), end(late).record.verdict) == ("{}", "failed")
    assert await calls.give_up() == []


async def test_a_call_cut_off_is_never_made_whole_for_the_client() -> None:
    early, late = await written(stream(), "Read", ['{"path": "a.p'], complete=False)
    assert sent(early + late) == '{"path": "a.p'
    assert end(late).unfinished
    assert end(late).record.verdict == "unparsed"
    expected: JsonObject = {"__unparsedToolInput": {"raw": '{"path": "a.p', "len": 13}}
    assert end(late).use.input == expected
    _, late = await written(stream(lambda _: None), "Read", ['{"path": "a.p'], complete=False)
    assert isinstance(late[0], Shown)


async def test_a_whole_call_without_its_end_marker_counts() -> None:
    _, late = await written(stream(lambda _: None), "Read", ['{"path": "a"}'], complete=False)
    assert end(late).record.verdict == "repaired"
    assert end(late).use.input == {"path": "a"}


async def test_a_call_without_a_name_is_text() -> None:
    calls = stream()
    (shown,) = calls.broken(CallBroken("<tool_call>{}</tool_call>", "no name", True, " "))
    assert isinstance(shown, Shown)
    assert shown.text == " <tool_call>{}</tool_call>"
    assert shown.record.verdict == "unparsed"
    assert "no name" in shown.record.issues[0].text


async def test_several_calls_have_ids_of_their_own() -> None:
    calls = stream()
    ends = [end((await written(calls, "Read", ['{"path": "a"}']))[1]) for _ in range(2)]
    assert [end.use.id for end in ends] == ["toolu_1", "toolu_2"]

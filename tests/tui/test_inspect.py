"""What each tab of the inspector says of a request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from anyclaude.events import Event, McpCall, PrefillProgress, SearchMade, SystemEvent
from anyclaude.records import McpCallRecord, PromptSection, RequestDetail, SearchRecord, ToolFailure
from anyclaude.types import PrefixBreak
from tests.tui.fake_source import NOON, admitted, detail, received, request, session
from tests.tui.inspector_scene import CLEARED, EDIT, conversation, details
from tui.columns import Moment
from tui.inspect import TABS, Found, Subject, tab_lines
from tui.inspect.cache import WHY
from tui.inspect.facts import Said, facts_of
from tui.inspect.prompt import prompt_page
from tui.inspect.raw import raw_page
from tui.inspect.text import LONGEST, MOST, text_lines
from tui.lines import plain_text
from tui.misses import Miss
from tui.request_row import RequestRow
from tui.state import Store


def _row(suffix: str, events: list[Event]) -> RequestRow:
    store = Store()
    for event in events:
        store.apply(event, NOON)
    return store.rows[f"req_0000000000000000{suffix}"]


def _found(known: RequestDetail, earlier: RequestDetail | None = None) -> Found:
    page = prompt_page(known, earlier, "There is no other.")
    return Found(known.id, known, "", facts_of(known), page, raw_page(known))


def _subject(suffix: str, *, problem: str = "", width: int = 74) -> Subject:
    """A request of the short session, with a small detail or with none."""
    row = _row(suffix, session())
    found = Found(row.id, problem=problem) if problem else _found(detail(suffix))
    return Subject(row, Moment(NOON + 4.4), found, width)


def _talk(suffix: str, *, earlier: str = "", width: int = 118) -> Subject:
    """A request of the conversation with all there is."""
    known = details()
    row = _row(suffix, conversation())
    other = known[f"req_0000000000000000{earlier}"] if earlier else None
    return Subject(row, Moment(NOON + 4.4), _found(known[row.id], other), width)


def _says(tab: str, subject: Subject) -> str:
    return plain_text(tab_lines(tab, subject))


# ---------------------------------------------------------------------------------- all of them


@pytest.mark.parametrize("tab", TABS)
def test_every_state_has_something_to_say(tab: str) -> None:
    for suffix in ("a3f1", "a3f6", "a3f8", "a3f9"):
        assert _says(tab, _subject(suffix)).strip()
        assert _says(tab, _subject(suffix, problem="gone")).strip()
    bare = Subject(_row("a3f1", session()), Moment(NOON), Found("req_0000000000000000a3f1"))
    assert _says(tab, bare).strip()


@pytest.mark.parametrize("tab", ["Prompt", "Raw"])
def test_without_detail_the_reason_is_said(tab: str) -> None:
    assert _says(tab, _subject("a3f1", problem="no request a3f1")) == " no request a3f1"


# ------------------------------------------------------------------------------------- overview


def test_overview_of_an_ended_request() -> None:
    text = _says("Overview", _subject("a3f5"))
    assert "21,000 tokens, 11,800 of them new" in text
    assert "9,200 tokens (43%): 7,000 from memory, 2,200 from disk" in text
    assert "history changed at token 9,200, in message 12" in text
    assert "10,600 tokens to be read again, about 5.58s" in text
    assert "540 tokens at 40.3 tok/s, the first after 1.92s" in text
    assert "input 11,800  cache read 9,200  cache creation 0  output 540" in text
    assert "Bash  unparsed  expected JSON, got 'e.py\" \"new_' at" in text
    assert "max_tokens 32000" in text
    assert "billing_line x1, cache_control x3" in text
    assert "no routes: the local engine" in text


def test_overview_has_the_sampling_in_few_words() -> None:
    text = _says("Overview", _talk("c003"))
    assert "temperature 1, max_tokens 32000, thinking enabled 31999" in text


def test_overview_of_a_failure_names_it() -> None:
    text = _says("Overview", _subject("a3f7"))
    assert "529 resource: the queue is full" in text
    assert "usage" not in text


def test_overview_counts_retries() -> None:
    row = _row("a3f1", session())
    assert row.record is not None
    for times, words in ((1, "once"), (3, "3 times")):
        row.record = replace(row.record, retries=times)
        assert f"retried   {words}" in _says("Overview", Subject(row, Moment(NOON), Found(row.id)))


def test_a_count_request_has_no_cache_story() -> None:
    row = _row("cccc", request("cccc", NOON, role="count", out=0, stop=None))
    subject = Subject(row, Moment(NOON), Found(row.id))
    text = _says("Overview", subject)
    assert "18,400 tokens" in text and "usage" not in text
    assert _says("Cache", subject) == " Counting tokens asks no cache."


# --------------------------------------------------------------------------------------- prompt


def test_the_first_prompt_is_shown_whole_and_says_why() -> None:
    text = _says("Prompt", _subject("a3f1"))
    assert "Fix the [bold]parser[/bold]<|im_end|>" in text
    assert " There is no other." in text


def test_prompt_begins_with_the_sizes_of_its_sections() -> None:
    lines = _says("Prompt", _talk("c003", earlier="c002")).splitlines()
    assert [entry.split()[0] for entry in lines[:5]] == [
        "system",
        "tools",
        "messages",
        "tail",
        "tokens",
    ]
    assert "8 tools" in lines[1] and "3 messages" in lines[2]
    # What the template puts behind the last message.
    assert f"{len('<|im_end|>' + chr(10) + '<|im_start|>assistant' + chr(10))} chars" in lines[3]
    assert "8,870 in system and tools, 12,130 after them" in lines[4]
    bars = [entry.count("━") for entry in lines[:4]]
    assert bars[0] == max(bars) == 40 and bars[2:] == [2, 1]
    narrow = _says("Prompt", replace(_talk("c003", earlier="c002"), width=38))
    assert "━" not in narrow and "chars" in narrow


def test_prompt_says_what_shortening_took_most_of() -> None:
    subject = _talk("c001")
    assert subject.found.detail is not None and "shortened" not in _says("Prompt", subject)
    parts = (
        PromptSection("system.0", "Rules [b]", "safety", 1.0, True, "kept", 50, 50),
        PromptSection("tools.Read", "Read", "tool_rule", 0.8, False, "shortened", 400, 90),
        PromptSection("system.0", "Lore", "reference", 0.3, False, "dropped", 900, 0),
    )
    known = replace(subject.found.detail, sections=parts)
    text = _says("Prompt", replace(subject, found=replace(subject.found, detail=known)))
    assert "shortened 1,350 tokens in system and tools to 140, 10 %" in text
    assert text.index("Lore") < text.index("400 → 90") and "Rules [b]" not in text
    assert "1 part must stay and did" in text


def test_prompt_shows_what_changed_since_the_earlier_one() -> None:
    subject = _talk("c003", earlier="c002")
    text = _says("Prompt", subject)
    assert "Changed since c002  +3 -2 lines  d shows all" in text
    assert "… 78 lines the same  <|im_start|>assistant" in text
    assert f"+ {CLEARED}" in text and "-      1  def [bold]parse[/bold](text):" in text
    assert "Rule 30" not in text
    whole = _says("Prompt", replace(subject, whole=True))
    assert "All of it  d shows what changed since c002" in whole and "Rule 30" in whole


def test_an_equal_prompt_is_called_one() -> None:
    text = _says("Prompt", _talk("c002", earlier="c002"))
    assert "nothing: it is the same prompt" in text and "lines the same" in text


def test_prompts_that_were_not_rendered_are_compared_as_messages() -> None:
    known = details()
    older, newer = (
        replace(known[f"req_0000000000000000{suffix}"], prompt="") for suffix in ("c002", "c003")
    )
    row = _row("c003", conversation())
    text = _says("Prompt", Subject(row, Moment(NOON), _found(newer, older), 118))
    assert "Compared are the messages as received" in text
    assert "── 2 user" in text and f"+ {CLEARED}" in text
    alone = _says("Prompt", Subject(row, Moment(NOON), _found(newer), 118))
    assert "There is no other. The rendered prompt wasn't kept" in alone and "[tool_use]" in alone


def test_a_prompt_of_which_nothing_is_kept() -> None:
    row = _row("c003", conversation())
    nothing = _found(RequestDetail(row.id))
    assert "wasn't kept" in _says("Prompt", Subject(row, Moment(NOON), nothing))


def test_escape_sequences_and_bidi_are_harmless_in_a_prompt() -> None:
    text = _says("Prompt", _talk("c003", earlier="c002"))
    assert "␛[31mred␛[0m" in text and "�right to left�" in text
    for char in ("\x1b", "\u202e", "\u202c"):
        assert all(char not in _says(tab, _talk("c003", earlier="c002")) for tab in TABS)


def test_five_thousand_lines_are_folded_to_what_changed() -> None:
    old = "\n".join(f"line {n}" for n in range(5_000))
    new = old.replace("line 2500\n", "line two and a half thousand\n") + "\nand more"
    page = prompt_page(RequestDetail("b", prompt=new), RequestDetail("a", prompt=old), "")
    assert page.changes is not None and len(page.whole) == 5_001
    said = [entry.plain for entry in page.changes.lines]
    assert said[0].endswith("… 2,497 lines the same")
    assert len(said) == 1 + 3 + 2 + 3 + 1 + 3 + 1
    assert (page.changes.added, page.changes.removed, page.changes.places) == (2, 1, 2)


def test_a_megabyte_on_one_line_is_cut_around_its_change() -> None:
    old, new = ("x" * 500_000 + middle + "y" * 500_000 for middle in ("then", "now!"))
    page = prompt_page(RequestDetail("b", prompt=new), RequestDetail("a", prompt=old), "")
    assert page.changes is not None
    gone, came = (entry.plain for entry in page.changes.lines)
    assert "then" in gone and "now!" in came and max(len(gone), len(came)) < 1_000
    (whole,) = page.whole
    assert len(whole.plain) < LONGEST + 50 and "990,004 more characters" in whole.plain


def test_a_text_without_end_is_cut_by_lines() -> None:
    lines = text_lines("\n" * (MOST + 9))
    assert len(lines) == MOST + 1 and lines[-1].plain == "… 10 more lines"


def test_wrapped_lines_keep_their_own_indent() -> None:
    assert text_lines("    four", indent=3)[0].hang == 7


# --------------------------------------------------------------------------------------- output


def test_output_streams_with_its_calls() -> None:
    text = _says("Output", _subject("a3f8"))
    assert text.index("thinking") < text.index("I'll read the failing test")
    assert "tool_use Read  toolu_01J9  valid" in text
    assert '"file_path": "parser.py"' in text
    assert '{"name": "Edit", "argu' in text


def test_output_of_an_older_request_comes_from_the_log() -> None:
    assert "Done." in _says("Output", _subject("a3f1"))


def test_output_of_a_bad_call_shows_issues_and_what_was_written() -> None:
    text = _says("Output", _subject("a3f3"))
    assert "- required old_string: expected string, got nothing" in text
    assert "as written" in text and "<tool_call>" in text


def test_output_of_a_failure_is_its_error() -> None:
    assert "queue is full" in _says("Output", _subject("a3f7"))


# ---------------------------------------------------------------------------------------- tools


def test_tools_show_each_call_as_written_and_as_delivered() -> None:
    lines = _says("Tools", _talk("c003")).splitlines()
    assert lines[0] == " Edit  repaired  48 tok  1.16s  toolu_1"
    assert " - exists expected one of the tools Edit, Write, got edit" in lines
    assert ' + coerced replace_all: "true" → true' in lines
    head = next(entry for entry in lines if "as written" in entry)
    bar = head.index("│")
    assert head[bar:] == "│ as delivered"
    assert all(entry[bar] == "│" for entry in lines[7:13])
    assert any(entry.startswith(" Write  unparsed  33 tok") for entry in lines)
    assert "│ (not delivered)" in _says("Tools", _talk("c003"))


def test_tools_stand_below_each_other_where_it_is_narrow() -> None:
    lines = _says("Tools", _talk("c003", width=57)).splitlines()
    written, delivered = lines.index("   as written"), lines.index("   as delivered")
    assert written < delivered and not any("│" in entry for entry in lines)


def test_tools_say_what_the_client_made_of_a_call() -> None:
    subject = _talk("c003")
    said = {"toolu_2": Said("2 passed", 8, False), "toolu_1": Said("no such text", 12, True)}
    found = replace(subject.found, said=said)
    text = _says("Tools", replace(subject, found=found))
    assert "client ran it 8 chars  2 passed" in text
    assert "client failed 12 chars  no such text" in text
    assert "client got no call" in text
    refused = {"toolu_1": ToolFailure("toolu_1", "r", "Edit", "input", "old_string\nis missing")}
    text = _says("Tools", replace(subject, found=found, refusals=refused))
    assert "client input old_string is missing" in text and "no such text" not in text
    silent = replace(subject, found=replace(subject.found, said={}))
    assert "has not answered it" in _says("Tools", silent)
    assert "client ran" not in _says("Tools", subject)


def test_calls_that_ran_here_say_so_while_they_run_and_after() -> None:
    store = Store()
    for event in conversation():
        store.apply(event, NOON)
    row = store.rows["req_0000000000000000c003"]
    subject = Subject(row, Moment(NOON), Found(row.id))
    begun = McpCallRecord(row.id, "toolu_1", "fi[b]les", "read", 1, "{}")
    store.apply(McpCall(NOON, begun), NOON)
    for tab in ("Tools", "Output"):
        assert "here   runs at fi[b]les …" in _says(tab, subject)
    done = replace(begun, status="ok", result="one\ntwo", chars=7, ms=1_200.0)
    store.apply(McpCall(NOON, replace(done, suspicious="obey me")), NOON)
    for tab in ("Tools", "Output"):
        text = _says(tab, subject)
        assert "here   ok fi[b]les, 1.20s, 7 chars  one two" in text
        assert "reads like instructions, passed on as data: obey me" in text
    store.apply(McpCall(NOON, replace(done, status="refused", cached=True)), NOON)
    assert "here   refused fi[b]les, an earlier result" in _says("Tools", subject)
    store.apply(McpCall(NOON, replace(done, request_id="req_unknown")), NOON)


def test_tools_offered_are_named_and_counted() -> None:
    text = _says("Tools", _talk("c002"))
    assert text.startswith(" No tool was called.")
    assert "8 tools were offered, 1 of them deferred" in text
    assert "Bash  Edit  Glob  Grep  Read  TodoWrite  WebFetch  Write" in text
    assert _says("Tools", _subject("a3f1")).endswith(" 18 tools were offered.")
    row = _row("a3f1", session())
    row.tool_count = 0
    assert _says("Tools", Subject(row, Moment(NOON), Found(row.id))).endswith("were offered.")


def test_calls_of_an_older_request_come_from_its_detail() -> None:
    row = _row("c002", conversation())
    known = replace(details()[row.id], tool_calls=(EDIT,))
    assert "Edit  repaired" in _says("Tools", Subject(row, Moment(NOON), _found(known)))


# ---------------------------------------------------------------------------------------- cache


def test_cache_shares_add_up_to_the_prompt() -> None:
    lines = _says("Cache", _talk("c003")).splitlines()
    assert [entry.split()[0] for entry in lines[:4]] == ["kv", "kv-disk", "computed", "prompt"]
    assert "7,000  33%  from memory" in lines[0] and "2,200  10%  from disk" in lines[1]
    assert "11,800  56%" in lines[2] and "21,000 tokens" in lines[3]
    assert "4.60s of reading" in lines[4] and "393 MB of keys and values" in lines[5]


def test_cache_tells_where_the_prefix_broke_and_what_it_cost() -> None:
    text = _says("Cache", _talk("c003"))
    assert "broken: history changed" in text
    assert "The client sent an earlier message in other words" in text
    assert "message 2 (the first is 0), token 9,200" in text
    assert "10,600 tokens to be read again, about 5.58s" in text
    lines = text.splitlines()
    at = next(index for index, entry in enumerate(lines) if entry.strip().startswith("then"))
    assert lines[at].split("│")[1].strip() == "now"
    assert lines[at + 2].split("│")[1].strip() == CLEARED
    below = _says("Cache", _talk("c003", width=57)).splitlines()
    assert below.index("   then") < below.index("   now")


def test_the_text_both_have_is_pale_and_the_rest_stands_out() -> None:
    entries = tab_lines("Cache", _talk("c003"))
    spans = [span for entry in entries for span in entry.spans]
    assert ("<tool_response>", "muted") in spans and (CLEARED, "ok") in spans
    assert ("     1  def [bold]parse[/bold](text):", "error") in spans


@pytest.mark.parametrize("cause", [cause for cause in PrefixBreak if cause != "none"])
def test_every_cause_is_explained(cause: str) -> None:
    row = _row("c003", conversation())
    row.miss = Miss(cause, 900, 3, tokens=70)
    text = _says("Cache", Subject(row, Moment(NOON), Found(row.id), 118))
    assert cause.replace("_", " ") in text and WHY[cause][:40] in text
    assert "70 tokens to be read again" in text and "about" not in text.split("again")[1][:9]


def test_an_unbroken_prefix_is_told_as_such() -> None:
    text = _says("Cache", _talk("c002"))
    assert "unbroken" in text and "\n where" not in text and "lost" not in text


def test_what_happened_before_a_cold_prompt_is_told() -> None:
    events = (
        SystemEvent(NOON - 100, "info", "cache", "something else"),
        SystemEvent(NOON - 120, "info", "model", "loaded in 4.1 s"),
        SystemEvent(NOON - 130, "info", "flush", "kv: 12 entries"),
        SystemEvent(NOON - 140, "info", "flush", "too long ago"),
    )
    text = _says("Cache", replace(_talk("c001"), events=events))
    assert "not there: cold" in text and "token 0" not in text
    assert "12:07:00 model  loaded in 4.1 s" in text and "flush  kv: 12 entries" in text
    assert "something else" not in text and "too long ago" not in text


def test_the_head_is_no_message() -> None:
    row = _row("c003", conversation())
    row.miss = Miss("tools_changed", 40, -1)
    text = _says("Cache", Subject(row, Moment(NOON), Found(row.id), 118))
    assert "the system prompt or the tools, token 40" in text


def test_cache_before_and_without_a_lookup() -> None:
    assert "Not looked up yet." in _says("Cache", _subject("a3f9"))
    assert "before the caches were asked" in _says("Cache", _subject("a3f7"))


# --------------------------------------------------------------------------------------- timing


def test_timing_bars_lie_one_after_the_other() -> None:
    lines = _says("Timing", _talk("c003", width=74)).splitlines()
    names = [entry.split()[0] for entry in lines[:6]]
    assert names == ["lookup", "queue", "prefill", "decode", "rest", "total"]
    lookup, queue, prefill, decode, rest = (entry.rindex("█") for entry in lines[:5])
    assert lookup <= queue < prefill < decode <= rest
    assert all(len(entry) <= 74 for entry in lines)
    assert "0.04s" in lines[0] and "6.21s  63%" in lines[2] and "9.79s" in lines[5]


def test_timing_shows_only_what_was_measured() -> None:
    text = _says("Timing", _subject("a3f5"))
    assert "lookup" not in text and "rest" not in text and "search" not in text
    assert "queue" in text and "prefill" in text and "decode" in text
    refused = _says("Timing", _subject("a3f7")).splitlines()
    assert [entry.split()[0] for entry in refused] == ["total"]


def test_timing_shows_the_search_that_came_before() -> None:
    row = _row("a3f5", session())
    assert row.record is not None and row.ttft_ms is not None
    row.ttft_ms += 800.0
    row.record = replace(row.record, duration_ms=row.record.duration_ms + 800.0)
    row.searches = [SearchMade(NOON, SearchRecord(row.id, "brave", "q", 5, 600, 800.0), True)]
    lines = _says("Timing", Subject(row, Moment(NOON), Found(row.id))).splitlines()
    assert lines[0].startswith(" search") and "0.80s" in lines[0]
    assert not any(entry.startswith(" lookup") for entry in lines)
    text = _says("Overview", Subject(row, Moment(NOON), Found(row.id)))
    assert "5 results, about 600 tokens, brave" in text and "put in unasked" in text


def test_timing_of_what_broke_off_after_its_first_token() -> None:
    row = _row("a3f1", session())
    assert row.record is not None
    row.record = replace(row.record, queue_ms=0.0, prefill_ms=0.0, status=499)
    lines = _says("Timing", Subject(row, Moment(NOON), Found(row.id))).splitlines()
    assert lines[0].startswith(" to token 1") and lines[1].startswith(" after it")


def test_timing_of_a_running_request_counts_up() -> None:
    lines = _says("Timing", _subject("a3f8")).splitlines()
    assert [entry.split()[0] for entry in lines[:3]] == ["to", "decode", "total"]
    assert "   10.9s" in lines[2]
    assert _says("Timing", _subject("a3f9")).startswith(" waiting")


def test_timing_shows_how_far_the_prompt_is_read() -> None:
    events = [*received("aaaa", NOON - 2), *admitted("aaaa", 1_000, 400)]
    row = _row("aaaa", [*events, PrefillProgress("req_0000000000000000aaaa", 700, 1_000)])
    text = _says("Timing", Subject(row, Moment(NOON), Found(row.id)))
    assert "to token 1   2.00s 100%" in text and "700 of 1,000 tokens" in text


def test_timing_says_what_the_break_cost() -> None:
    text = _says("Timing", _talk("c003"))
    assert "5.58s by 10,600 tokens read again: history changed" in text
    assert "4.60s by 9,200 reused tokens" in text and "1.9k tok/s  11,800 tokens" in text


# ------------------------------------------------------------------------------------------ raw


def test_raw_shows_headers_body_and_response() -> None:
    text = _says("Raw", _subject("a3f1"))
    assert "authorization: Bearer ****" in text
    assert '"max_tokens": 32000' in text
    assert '"text": "Done."' in text


def test_raw_says_what_is_not_kept() -> None:
    row = _row("a3f1", session())
    text = _says("Raw", Subject(row, Moment(NOON), _found(RequestDetail(row.id))))
    assert text.count("not kept") == 2 and "none yet" in text


def test_raw_has_the_stream_as_it_was_sent_where_it_was_written_down() -> None:
    row = _row("a3f1", session())
    stream = (
        '{"ms": 41.2, "type": "message_start", "message": {"id": "msg_1"}}\n'
        '{"ms": 52.0, "type": "comment", "text": "prefill 1/2"}\n'
        '{"ms": 1204.6, "type": "content_block_delta", "delta": {"text": "a\\nb\\u001b[2J"}}\n'
        "no JSON\n"
    )
    known = RequestDetail(row.id, body="{}", response='{"no": 1}', stream=stream)
    lines = _says("Raw", Subject(row, Moment(NOON), _found(known))).splitlines()
    assert lines[lines.index(" stream  4 events, as sent") + 1 :] == [
        "        41 ms  event: message_start",
        '               data: {"type":"message_start","message":{"id":"msg_1"}}',
        "        52 ms  : prefill 1/2",
        "     1,205 ms  event: content_block_delta",
        '               data: {"type":"content_block_delta","delta":{"text":"a\\nb\\u001b[2J"}}',
        "   no JSON",
    ]
    assert " response" not in lines


# ---------------------------------------------------------------------------------------- facts


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[1]",
        "null",
        "{",
        '{"messages": 3, "tools": "x", "system": 1}',
        '{"messages": [3, {"content": [1]}], "tools": [null]}',
        "[" * 100_000,
    ],
)
def test_a_body_in_another_form_is_no_trouble(body: str) -> None:
    assert facts_of(RequestDetail("r", body=body, prompt="x")).said == {}
    assert prompt_page(RequestDetail("r", body=body), None, "").text in ("", "── 0 ?")
    assert raw_page(RequestDetail("r", body=body))


def test_results_are_read_from_the_body() -> None:
    facts = facts_of(details()["req_0000000000000000c004"])
    assert facts.said["toolu_1"] == Said("old_string was not found in parser.py", 37, True)
    assert facts.said["toolu_2"].failed is False and facts.messages == 4
    assert len(facts.tools) == 8 and facts.deferred == 1


def test_results_in_blocks_of_other_kinds_are_texts_too() -> None:
    content: list[Mapping[str, object]] = [
        {"type": "text", "text": "one"},
        {"type": "tool_reference", "tool_name": "two"},
    ]
    block = {"type": "tool_result", "tool_use_id": "t", "content": content}
    body = json.dumps({"messages": [{"role": "user", "content": [block]}]})
    assert "two" in facts_of(RequestDetail("r", body=body)).said["t"].text

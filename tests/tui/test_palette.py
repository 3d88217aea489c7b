"""Finding a command by a few letters; jump keys."""

from __future__ import annotations

from tui.jumps import Target, keyed
from tui.palette import Command, find

COMMANDS = [
    Command(title, title.lower(), help=help)
    for title, help in (
        ("Filter the list", ""),
        ("Flush the tier kv", "Frees 12 entries"),
        ("Flush the tier kv-disk", "Frees 57 entries"),
        ("Follow new requests", ""),
        ("Load Qwen3-Coder-30B", "too large"),
        ("Copy the prompt", ""),
    )
]


def _found(query: str) -> list[str]:
    return [match.command.title for match in find(COMMANDS, query)]


def test_an_empty_query_shows_all_in_their_order() -> None:
    assert _found("  ") == [command.title for command in COMMANDS]


def test_letters_in_order_find_and_beginnings_of_words_count_most() -> None:
    assert _found("ftk")[0] == "Flush the tier kv"
    assert _found("follow") == ["Follow new requests"]
    assert _found("cp")[0] == "Copy the prompt"
    assert _found("zzz") == []


def test_every_word_must_fit_in_any_order_and_case() -> None:
    assert _found("disk FLUSH") == ["Flush the tier kv-disk"]
    assert _found("flush list") == []


def test_the_explanation_counts_for_whole_words() -> None:
    assert _found("too large") == ["Load Qwen3-Coder-30B"]
    assert _found("57") == ["Flush the tier kv-disk"]


def test_the_letters_that_fit_are_known() -> None:
    (match,) = find([Command("Flush the tier kv", "x")], "ftk")
    assert sorted(match.letters) == [0, 6, 15]
    (match,) = find([Command("reflush flush", "x")], "flush")
    assert sorted(match.letters) == [8, 9, 10, 11, 12]


def test_panes_keep_their_digits_and_the_rest_get_letters() -> None:
    places = [Target("pane 1", 1, 1, "1"), Target("tab A", 1, 2), Target("tab B", 9, 2)]
    assert {key: target.name for key, target in keyed(places).items()} == {
        "1": "pane 1",
        "a": "tab A",
        "s": "tab B",
    }
    many = [Target(f"tab {n}", n, 0) for n in range(40)]
    assert len(keyed(many)) == 25

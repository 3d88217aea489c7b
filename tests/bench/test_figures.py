"""Medians, ratios and how they are shown."""

from __future__ import annotations

import json

from anyclaude.bench.figures import FLOOR, HEADINGS, OURS, PEER, Figures, as_json, markdown, rows_of


def measured() -> Figures:
    figures = Figures()
    for ours, floor, theirs in ((3.0, 2.0, 4.0), (9.0, 1.0, 4.0), (1.0, 3.0, 8.0)):
        figures.add("branch", 300, "s", OURS, ours)
        figures.add("branch", 300, "s", FLOOR, floor)
        figures.add("branch", 300, "s", PEER, theirs)
    figures.add("streams", 0, "tok/s", OURS, 50.0)
    figures.add("streams", 0, "tok/s", PEER, 40.0)
    figures.add("grew", 300, "bytes", OURS, 2_500_000)
    return figures


def test_medians_and_their_ratios() -> None:
    branch = measured().find("branch", 300)
    assert branch is not None
    assert [branch.median(who) for who in (OURS, FLOOR, PEER)] == [3.0, 2.0, 4.0]
    assert (branch.ratio(FLOOR), branch.ratio(PEER)) == (1.5, 0.75)
    assert (branch.median("nobody"), branch.ratio("nobody")) == (None, None)


def test_an_even_number_of_rounds() -> None:
    figures = Figures()
    for value in (1.0, 2.0, 10.0, 4.0):
        figures.add("p", 0, "s", OURS, value)
    figure = figures.find("p")
    assert figure is not None
    assert figure.median(OURS) == 3.0


def test_nothing_is_no_base_of_a_ratio() -> None:
    figures = Figures()
    figures.add("p", 0, "bytes", OURS, 1.0)
    figures.add("p", 0, "bytes", PEER, 0.0)
    figure = figures.find("p")
    assert figure is not None
    assert figure.ratio(PEER) is None


def test_one_phase_against_the_median_of_another() -> None:
    figures = measured()
    figures.add("restart", 300, "s", OURS, 6.0)
    figures.add("restart", 300, "s", OURS, 9.0)
    figures.add("restart", 600, "s", OURS, 1.0)
    figures.compare("restart to branch", "restart", "branch")
    found = figures.find("restart to branch", 300)
    assert found is not None
    assert (found.unit, found.samples) == ("x", {OURS: [2.0, 3.0]})
    assert figures.find("restart to branch", 600) is None


def test_rows_for_a_person() -> None:
    assert rows_of(measured()) == [
        ("branch", "300", "3.000 s", "2.000 s", "4.000 s", "1.50", "0.75"),
        ("streams", "", "50.0 tok/s", "", "40.0 tok/s", "", "1.25"),
        ("grew", "300", "2.5 MB", "", "", "", ""),
    ]


def test_markdown_has_a_cell_for_every_heading() -> None:
    lines = markdown(measured()).splitlines()
    assert len(lines) == 5
    assert {line.count("|") for line in lines} == {len(HEADINGS) + 1}
    assert lines[2] == "| branch | 300 | 3.000 s | 2.000 s | 4.000 s | 1.50 | 0.75 |"


def test_json_has_every_sample() -> None:
    (branch, *_) = json.loads(json.dumps(as_json(measured())))
    assert branch["samples"][OURS] == [3.0, 9.0, 1.0]
    assert branch["median"] == {OURS: 3.0, FLOOR: 2.0, PEER: 4.0}
    assert (branch["to_forward"], branch["to_peer"]) == (1.5, 0.75)


def test_a_note_is_made_once() -> None:
    figures = Figures()
    figures.note("so")
    figures.note("so")
    assert figures.notes == ["so"]

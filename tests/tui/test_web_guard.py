"""Who gets a page: the token, the cookie, and where a request may not come from."""

from __future__ import annotations

import pytest

from tui.web.guard import Guard, Knock, Verdict, is_ours

OURS = "127.0.0.1:7000"
GUARD = Guard("right")


@pytest.mark.parametrize(
    ("knock", "verdict"),
    [
        (Knock(OURS), Verdict.LOCKED),
        (Knock(OURS, token="wrong", cookie="wrong"), Verdict.LOCKED),
        (Knock(OURS, token="", cookie=""), Verdict.LOCKED),
        (Knock(OURS, token="rîght"), Verdict.LOCKED),
        (Knock(OURS, token="right"), Verdict.ENTERS),
        (Knock("localhost:9000", token="right"), Verdict.ENTERS),
        (Knock(OURS, token="right", cookie="old"), Verdict.ENTERS),
        (Knock(OURS, cookie="right"), Verdict.ADMITTED),
        (Knock(OURS, f"http://{OURS}", cookie="right"), Verdict.ADMITTED),
        (Knock(OURS, f"http://{OURS}", cookie="right", socket=True), Verdict.ADMITTED),
        (Knock(OURS, f"http://{OURS}", socket=True), Verdict.LOCKED),
        (Knock(OURS, f"http://{OURS}", token="right", socket=True), Verdict.LOCKED),
        # A browser says from where it opens a socket; who doesn't is none of ours.
        (Knock(OURS, cookie="right", socket=True), Verdict.FOREIGN),
        (Knock(OURS, "http://evil.example", cookie="right", socket=True), Verdict.FOREIGN),
        (Knock(OURS, "http://127.0.0.1:7001", cookie="right", socket=True), Verdict.FOREIGN),
        (Knock(OURS, f"https://{OURS}", cookie="right"), Verdict.FOREIGN),
        (Knock(OURS, "null", cookie="right"), Verdict.FOREIGN),
        # Rebound DNS: the address is ours, the name isn't.
        (Knock("evil.example:7000", token="right"), Verdict.FOREIGN),
        (Knock("evil.example:7000", "http://evil.example:7000", cookie="right"), Verdict.FOREIGN),
    ],
)
def test_who_gets_in(knock: Knock, verdict: Verdict) -> None:
    assert GUARD.judge(knock) is verdict


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:7000"])
def test_names_that_are_this_machine(host: str) -> None:
    assert is_ours(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "evil.example@localhost",
        "localhost/.evil.example",
        "localhost:port",
        "192.0.2.1",
        "[::1",
    ],
)
def test_names_that_are_not(host: str) -> None:
    assert not is_ours(host)


def test_a_token_is_new_each_time_and_kept_out_of_representations() -> None:
    one, other = Guard(), Guard()
    assert one.token != other.token
    assert one.token not in repr(one)

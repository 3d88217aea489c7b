"""``tools``: what clients of the running server offer."""

from __future__ import annotations

from cli_doubles import AdminServer, User


def test_the_tools_that_are_offered_and_those_that_were(user: User, server: AdminServer) -> None:
    heads, _, now = user("tools").stdout.splitlines()
    assert heads.split() == [
        "tool",
        "version",
        "schema",
        "first",
        "seen",
        "last",
        "seen",
        "offered",
    ]
    assert now.split()[:3] == ["Bash", "2", "00ff"]
    assert now.endswith("yes")
    _, _, old, new = user("tools", "--all").stdout.splitlines()
    assert new.split() == now.split()
    assert old.split()[:3] == ["Bash", "1", "00aa"]
    assert old.endswith("no more")


def test_without_a_server_there_is_nothing_to_show(user: User) -> None:
    result = user("tools")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no server runs for" in result.stderr

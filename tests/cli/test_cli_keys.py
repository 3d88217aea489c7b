"""``anyclaude keys``: made, listed, taken back."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from cli_doubles import User

from anyclaude.config.keyfile import keys_path
from anyclaude.config.settings import Settings
from anyclaude.keys.limiter import Limiter
from anyclaude.keys.secret import PREFIX, digest


def test_a_key_is_printed_once_and_kept_as_its_digest(user: User) -> None:
    made = user("keys", "add", "bob", "--rpm", "5", "--budget-usd", "1.5", "--models", "claude-*")
    assert made.exit_code == 0
    key = made.stdout.strip()
    assert key.startswith(PREFIX)
    file = keys_path(user.data)
    assert made.stderr.startswith(f"bob is in {file}. Its key isn't shown again")
    assert file.stat().st_mode & 0o777 == 0o600
    assert tomllib.loads(file.read_text()) == {
        "keys": {
            "bob": {"sha256": digest(key), "rpm": 5, "budget_usd": 1.5, "models": ["claude-*"]}
        }
    }
    found = Limiter.of(Settings(user.data, user.data / "x.duckdb")).identify([key])
    assert found is not None and found.name == "bob"
    assert user("config", "check").stdout == "the configuration is fine\n"
    shown = user("config", "show").output
    assert "keys.bob.rpm" in shown and digest(key) not in shown


def test_keys_are_listed_with_their_limits(user: User, tmp_path: Path) -> None:
    user("keys", "add", "bob", "--tpm", "900", "--tokens-per-day", "5000")
    config = tmp_path / "anyclaude.toml"
    config.write_text(f"[keys.fixed]\nsha256 = '{'ab' * 32}'\nmodels = ['x']\n")
    lines = [line.split() for line in user("keys", "list").stdout.splitlines()]
    assert ["bob", "900", "5000", "all", str(keys_path(user.data))] in lines
    assert ["fixed", "x", str(config)] in lines


def test_a_key_is_taken_back(user: User) -> None:
    key = user("keys", "add", "bob").stdout.strip()
    limiter = Limiter.of(Settings(user.data, user.data / "x.duckdb"))
    assert limiter.identify([key]) is not None
    assert user("keys", "remove", "bob").stdout == "removed bob\n"
    assert limiter.identify([key]) is None
    again = user("keys", "remove", "bob")
    assert (again.exit_code, again.stderr) == (
        2,
        "anyclaude: there is no key bob; there are: none\n",
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("add", "bob"), "there is a key bob already; take another name"),
        (("add", "fixed"), "there is a key fixed already; take another name"),
        (
            ("add", "Bob Smith"),
            "keys.Bob Smith is not a usable name; expected small letters, digits, - and _",
        ),
        (
            ("add", "eve", "--models", ""),
            'keys.eve.models is [""]; expected a list of different strings, none of them empty',
        ),
        (("remove", "fixed"), "the key fixed is from {config}; take [keys.fixed] out there"),
    ],
)
def test_what_can_not_be_done(
    user: User, tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    user("keys", "add", "bob")
    config = tmp_path / "anyclaude.toml"
    config.write_text(f"[keys.fixed]\nsha256 = '{'ab' * 32}'\n")
    before = keys_path(user.data).read_text()
    refused = user("keys", *arguments)
    assert (refused.exit_code, refused.stderr) == (
        2,
        f"anyclaude: {expected.format(config=config)}\n",
    )
    assert keys_path(user.data).read_text() == before


@pytest.mark.parametrize("option", ["--rpm", "--tpm", "--tokens-per-day", "--budget-usd"])
def test_a_limit_is_above_nothing(user: User, option: str) -> None:
    refused = user("keys", "add", "bob", option, "0")
    assert refused.exit_code == 2 and option in refused.stderr
    assert not keys_path(user.data).exists()


def test_a_name_in_two_places_is_refused(user: User, tmp_path: Path) -> None:
    user("keys", "add", "bob")
    config = tmp_path / "anyclaude.toml"
    config.write_text("[keys.bob]\nrpm = 5\n")
    refused = user("keys", "list")
    assert refused.exit_code == 2
    assert refused.stderr == (
        f"anyclaude: {config}: keys.bob is in {keys_path(user.data)} too; expected another name\n"
    )

"""Whose key it is, what it may use, and a file of keys that changes under a running server."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest

from anyclaude.config.keyfile import changing_keys, keys_path
from anyclaude.config.settings import KeySettings, Settings
from anyclaude.errors import PermissionDenied, RateLimited
from anyclaude.keys.counters import DAY_S, MemoryCounters, Spent
from anyclaude.keys.limiter import KeyInfo, Limiter
from anyclaude.keys.secret import PREFIX, digest, digest_of_header, new_key

NOON = 1_700_000_000.0 - 1_700_000_000.0 % DAY_S + DAY_S / 2


def settings_of(folder: Path, **keys: KeySettings) -> Settings:
    return Settings(folder, folder / "x.duckdb", keys=tuple(keys.items()))


def put(folder: Path, name: str, key: KeySettings | None) -> None:
    with changing_keys(folder) as keys:
        keys.pop(name, None)
        if key is not None:
            keys[name] = key


def test_keys_are_long_and_never_the_same() -> None:
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert all(key.startswith(PREFIX) and len(key) == len(PREFIX) + 43 for key in made)
    assert digest("kéy") == digest_of_header("kéy".encode().decode("latin-1"))


def test_a_key_is_known_by_its_text_alone(tmp_path: Path) -> None:
    mine, yours = new_key(), new_key()
    limiter = Limiter.of(
        settings_of(
            tmp_path,
            mine=KeySettings(digest(mine), rpm=5),
            yours=KeySettings(digest(yours)),
        )
    )
    assert limiter.required
    assert limiter.identify([mine]) == KeyInfo("mine", KeySettings(digest(mine), rpm=5))
    found = limiter.identify(["other", yours])
    assert found is not None and found.name == "yours"
    for offered in ([], [""], ["other"], [digest(mine)], [mine[:-1]], [mine + " "], ["mine"]):
        assert limiter.identify(offered) is None
    assert mine not in repr(found) and digest(yours) not in repr(found)


def test_a_key_without_a_digest_opens_nothing(tmp_path: Path) -> None:
    limiter = Limiter.of(settings_of(tmp_path, mine=KeySettings()))
    assert limiter.identify([""]) is None


async def test_models_and_limits(tmp_path: Path) -> None:
    now = [NOON]
    counters = MemoryCounters()
    limiter = Limiter.of(settings_of(tmp_path), counters, lambda: now[0])
    key = KeyInfo("mine", KeySettings(rpm=1, tokens_per_day=100, models=("claude-*", "local")))
    with pytest.raises(PermissionDenied) as denied:
        await limiter.check(key, "gpt")
    assert str(denied.value) == (
        "the key mine may not use the model gpt; it may use claude-*, local"
    )
    await limiter.check(key, "claude-opus")
    with pytest.raises(RateLimited) as limited:
        await limiter.check(key, "local")
    assert str(limited.value) == "the key mine has used its 1 requests a minute; try again in 60 s"
    assert limited.value.retry_after == pytest.approx(60.0)
    assert limited.value.context.get("retry") is None
    now[0] += 61
    await limiter.check(key, "local")
    await limiter.settle(key, 100, 0.25)
    assert counters.spent("mine", now[0]) == Spent(100, 0.25)
    now[0] += 61
    with pytest.raises(RateLimited) as limited:
        await limiter.check(key, "local")
    assert str(limited.value) == (
        "the key mine has used its 100 tokens a day; try again after midnight UTC"
    )
    assert limited.value.retry_after == pytest.approx(DAY_S / 2 - 122)
    assert limited.value.context["retry"] is False


@pytest.mark.parametrize(
    ("pattern", "model", "allowed"),
    [
        ("claude-*haiku*", "Claude-Haiku-4-5", True),
        ("claude-*haiku*", "claude-opus-5", False),
        ("claude-opus-5", "claude-opus-5[1m]", True),
        ("claude-opus-5[1m]", "claude-opus-5[1m]", True),
        ("claude-opus-5[1m]", "claude-opus-5", False),
        ("", "claude-opus-5", False),
    ],
)
async def test_which_models_a_pattern_takes(
    tmp_path: Path, pattern: str, model: str, allowed: bool
) -> None:
    limiter = Limiter.of(settings_of(tmp_path))
    key = KeyInfo("mine", KeySettings(models=(pattern,)))
    if allowed:
        await limiter.check(key, model)
    else:
        with pytest.raises(PermissionDenied):
            await limiter.check(key, model)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (KeySettings(tpm=60), "60 tokens a minute; try again in 61 s"),
        (KeySettings(budget_usd=2.5), "$2.5 a day; try again after midnight UTC"),
    ],
)
async def test_each_limit_is_named(tmp_path: Path, limits: KeySettings, said: str) -> None:
    limiter = Limiter.of(settings_of(tmp_path), clock=lambda: NOON)
    key = KeyInfo("mine", limits)
    await limiter.check(key, "any")
    await limiter.settle(key, 120, 2.5)
    with pytest.raises(RateLimited, match=r"the key mine has used its") as limited:
        await limiter.check(key, "any")
    assert str(limited.value).endswith(said)


def test_the_file_is_followed(tmp_path: Path) -> None:
    limiter = Limiter.of(settings_of(tmp_path))
    assert not limiter.required and limiter.identify(["a"]) is None
    put(tmp_path, "a", KeySettings(digest("a")))
    assert limiter.required
    assert limiter.identify(["a"]) == KeyInfo("a", KeySettings(digest("a")))
    put(tmp_path, "a", KeySettings(digest("b"), rpm=2))
    assert limiter.identify(["a"]) is None
    assert limiter.identify(["b"]) == KeyInfo("a", KeySettings(digest("b"), rpm=2))


def test_without_its_last_key_the_door_stays_shut(tmp_path: Path) -> None:
    put(tmp_path, "a", KeySettings(digest("a")))
    limiter = Limiter.of(settings_of(tmp_path))
    put(tmp_path, "a", None)
    assert limiter.required and limiter.identify(["a"]) is None
    keys_path(tmp_path).unlink()
    assert limiter.required and limiter.identify(["a"]) is None


def test_a_file_that_was_emptied_since_opens_nothing(tmp_path: Path) -> None:
    settings = replace(
        settings_of(tmp_path, a=KeySettings(digest("a"))),
        sources=(("keys.a.sha256", str(keys_path(tmp_path))),),
    )
    limiter = Limiter.of(settings)
    assert limiter.required and limiter.identify(["a"]) is None


def test_a_key_by_its_name(tmp_path: Path) -> None:
    mine = KeySettings(digest("a"), tpm=7)
    limiter = Limiter.of(settings_of(tmp_path, mine=mine))
    assert limiter.named("mine") == KeyInfo("mine", mine)
    assert limiter.named("gone") == KeyInfo("gone", KeySettings())
    assert dict(limiter.keys) == {"mine": mine}


async def test_a_model_is_permitted_without_being_counted(tmp_path: Path) -> None:
    limiter = Limiter.of(settings_of(tmp_path), clock=lambda: NOON)
    key = KeyInfo("mine", KeySettings(rpm=1, models=("local",)))
    for _ in range(3):
        limiter.permit(key, "local")
    with pytest.raises(PermissionDenied):
        limiter.permit(key, "gpt")
    await limiter.check(key, "local")


def test_keys_of_the_configuration_stay(tmp_path: Path) -> None:
    put(tmp_path, "a", KeySettings(digest("a")))
    settings = settings_of(tmp_path, a=KeySettings(digest("a")), fixed=KeySettings(digest("fixed")))
    origins = (("keys.a.sha256", str(keys_path(tmp_path))), ("keys.fixed.sha256", "a.toml"))
    limiter = Limiter.of(replace(settings, sources=origins))
    put(tmp_path, "a", None)
    assert limiter.identify(["a"]) is None
    found = limiter.identify(["fixed"])
    assert found is not None and found.name == "fixed"


def test_a_file_that_can_not_be_read_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "a", KeySettings(digest("a")))
    limiter = Limiter.of(settings_of(tmp_path))
    keys_path(tmp_path).write_text("[keys.a]\nsha256 = 5\n")
    with caplog.at_level(logging.WARNING, "anyclaude.keys"):
        for _ in range(3):
            assert limiter.identify(["a"]) is not None
    [record] = caplog.records
    assert "keys.a.sha256 is ********; expected" in record.getMessage()
    put_back = "[keys.b]\nsha256 = '" + digest("b") + "'\n"
    keys_path(tmp_path).write_text(put_back)
    os.utime(keys_path(tmp_path), ns=(1, 1))
    assert limiter.identify(["a"]) is None and limiter.identify(["b"]) is not None

"""Backends, routes and keys: layers, the environment, secrets, and the way back to a document."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from anyclaude.config import schema
from anyclaude.config.checks import cache as cache_checks
from anyclaude.config.document import (
    masked_document,
    rows_of,
    to_document,
    values_of,
    write_settings,
)
from anyclaude.config.files import user_config_path
from anyclaude.config.keyfile import changing_keys, keys_path, own_keys, read_keys
from anyclaude.config.load import load_settings
from anyclaude.config.settings import (
    BackendSettings,
    KeySettings,
    RouteSettings,
    Settings,
    Target,
)
from anyclaude.errors import ConfigError

LM = '[backends.lm-studio]\ntype = "openai"\nbase_url = "http://127.0.0.1:1234/v1"\n'
FAR = '[backends.far]\ntype = "anthropic"\nbase_url = "https://api.anthropic.com"\n'
ROUTE = '[[routes]]\nmatch = "*"\ntargets = ["lm-studio/m"]\n'
DIGEST = "ab" * 32


def user_file(text: str) -> Path:
    path = user_config_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def load(here: Path, text: str = "", /, **env: str) -> Settings:
    (here / "anyclaude.toml").write_text(text)
    return load_settings(env=env, cwd=here)


def test_routes_of_a_nearer_file_replace_the_others_as_a_whole(here: Path) -> None:
    far = user_file(LM + ROUTE + ROUTE.replace("*", "slot:haiku"))
    with pytest.raises(ConfigError, match=rf"^{far}: routes\.2\.match is .* never reached"):
        load(here)
    far.write_text(LM + ROUTE.replace("*", "slot:haiku") + ROUTE)
    assert [route.match for route in load(here).routes] == ["slot:haiku", "*"]
    near = load(here, '[[routes]]\nmatch = "mine"\ntargets = ["mlx"]\n')
    assert near.routes == (RouteSettings("mine", ("mlx",)),)
    assert dict(near.sources)["routes"] == str(here / "anyclaude.toml")
    assert load(here, "routes = []\n[backends.lm-studio]\nenabled = false\n").routes == ()


def test_routes_of_the_environment_and_of_flags(here: Path) -> None:
    text = '[{ match = "e", targets = ["lm-studio/a", "mlx"], headers = { x-team = "a*" } }]'
    found = load(here, LM + ROUTE, ANYCLAUDE_ROUTES=text)
    route = RouteSettings("e", ("lm-studio/a", "mlx"), headers=(("x-team", "a*"),))
    assert found.routes == (route,)
    assert dict(found.sources)["routes"] == "env ANYCLAUDE_ROUTES"
    flags = {"routes": [{"match": "f", "targets": ["mlx"]}]}
    flagged = load_settings(env={"ANYCLAUDE_ROUTES": text}, overrides=flags, cwd=here)
    assert flagged.routes == (RouteSettings("f", ("mlx",)),)
    assert dict(flagged.sources)["routes"] == "flag routes"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "ANYCLAUDE_ROUTES",
            '[{match = "e"}]',
            "env ANYCLAUDE_ROUTES: routes.1.targets is missing; expected a list of one or more"
            " strings, none of them empty",
        ),
        (
            "ANYCLAUDE_ROUTES",
            '[{match = "e", targets = ["ghost"]}]',
            'env ANYCLAUDE_ROUTES: routes.1.targets has "ghost", and there is no such backend;'
            " expected mlx, lm-studio",
        ),
        (
            "ANYCLAUDE_ROUTES",
            "e -> mlx",
            'env ANYCLAUDE_ROUTES: routes is "e -> mlx"; expected a list of tables, each with its'
            " own heading in double brackets",
        ),
        (
            "ANYCLAUDE_ROUTES_1_MATCH",
            "e",
            "env ANYCLAUDE_ROUTES_1_MATCH is unknown; the nearest known variable is"
            " ANYCLAUDE_ROUTES",
        ),
    ],
)
def test_mistakes_in_variables(here: Path, name: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(here, LM + ROUTE, **{name: value})
    assert str(caught.value) == expected


def test_a_variable_finds_a_name_with_hyphens(here: Path) -> None:
    found = load(here, LM + ROUTE, ANYCLAUDE_BACKENDS_LM_STUDIO_API_KEY="sesame")
    assert dict(found.backends)["lm-studio"].api_key == "sesame"
    assert [name for name, _ in found.backends] == ["mlx", "lm-studio"]


def test_a_key_comes_from_the_environment_and_stays_there(here: Path) -> None:
    text = LM + 'api_key_env = "LM_KEY"\n' + ROUTE
    found = load(here, text, LM_KEY="sesame")
    assert dict(found.backends)["lm-studio"].api_key == "sesame"
    assert "sesame" not in json.dumps([to_document(found), list(rows_of(found))])
    assert "sesame" not in repr(found)
    write_settings(here / "again.toml", found)
    assert "sesame" not in (here / "again.toml").read_text()
    again = load_settings(config=here / "again.toml", env={"LM_KEY": "sesame"}, cwd=here)
    assert again.backends == found.backends
    with pytest.raises(ConfigError, match='is "LM_KEY", and there is no such environment'):
        load(here, text)
    off = text.replace(ROUTE, "enabled = false\n")
    assert dict(load(here, off).backends)["lm-studio"].api_key == ""


def test_what_is_shown_has_no_secret_in_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_checks, "installed", lambda package: True)
    found = load(
        here,
        f"{LM}api_key = 'sesame'\nheaders = {{ x-org = 'sesame' }}\n{ROUTE}"
        f"headers = {{ x-team = 'a*' }}\n[keys.me]\nsha256 = '{DIGEST}'\n"
        "[server]\napi_key = 'sesame'\nadmin_key = 'sesame2'\n"
        "[cache]\nredis_url = 'redis://me:sesame@h:6379/0?password=sesame'\n",
    )
    rows = {name: (value, origin) for name, value, origin in rows_of(found)}
    assert rows["backends.lm-studio.headers"][0] == {"x-org": "********"}
    assert rows["cache.redis_url"][0] == "redis://********@h:6379/0?********"
    assert rows["routes.1.headers"] == ({"x-team": "a*"}, str(here / "anyclaude.toml"))
    assert rows["routes.1.match"][0] == "*"
    assert "routes" not in rows
    for shown in (json.dumps(list(rows.items())), json.dumps(masked_document(found)), repr(found)):
        assert "ab" * 4 not in shown
    for shown in (json.dumps(list(rows.items())), json.dumps(masked_document(found))):
        assert "sesame" not in shown


def test_without_routes_there_is_one_row_for_them(here: Path) -> None:
    rows = {name: value for name, value, _ in rows_of(load(here))}
    assert rows["routes"] == []
    assert "routes" not in to_document(load(here))


def test_a_written_file_takes_a_first_route(here: Path) -> None:
    file = here / "anyclaude.toml"
    write_settings(file, load(here))
    file.write_text(file.read_text() + '\n[[routes]]\nmatch = "*"\ntargets = ["mlx"]\n')
    assert load_settings(env={}, cwd=here).routes == (RouteSettings("*", ("mlx",)),)


# ------------------------------------------------------------------------ who answers at all


def test_the_engine_without_routes() -> None:
    plain = Settings(Path("/d"), Path("/d/l"))
    assert (plain.engine, plain.engine_reachable, plain.engine_off, plain.switched_off) == (
        "mlx",
        True,
        "",
        "",
    )
    off = replace(plain, backends=(("mlx", BackendSettings(enabled=False)),))
    assert not off.engine_reachable
    assert off.switched_off.startswith("backends.mlx.enabled is false in the configuration")
    assert off.engine_off == off.switched_off
    assert off.reachable == frozenset()


@pytest.mark.parametrize(
    ("routes", "reached"),
    [
        ('targets = ["lm-studio/m"]', False),
        ('targets = ["lm-studio/m", "mlx"]', True),
        ('targets = ["lm-studio/m"]\nfallback = ["mlx"]', True),
        ('targets = ["lm-studio/m"]\nfallback_context = ["mlx"]', True),
        ('targets = ["lm-studio/m"]\nfallback_overloaded = ["mlx"]', True),
        ('targets = ["far", "lm-studio/mlx"]', False),
    ],
)
def test_the_engine_is_reachable_by_a_route_alone(here: Path, routes: str, reached: bool) -> None:
    found = load(here, f'{LM}{FAR}[[routes]]\nmatch = "*"\n{routes}\n')
    assert found.engine_reachable is reached
    assert found.switched_off == ""
    expected = "" if reached else "no route leads to the engine (backends.mlx)"
    assert found.engine_off.startswith(expected) and bool(found.engine_off) is not reached


def test_a_backend_of_small_calls_is_reachable_without_a_route(here: Path) -> None:
    small = load(here, LM + '[model]\nsmall = "lm-studio/m"\n')
    assert small.reachable == {"mlx", "lm-studio"}
    local = load(here, LM + '[model]\nsmall = "mlx"\n' + ROUTE)
    assert local.engine_reachable
    assert local.model.small == "mlx"


def test_an_engine_that_is_off_or_has_another_name(here: Path) -> None:
    text = LM + '[[routes]]\nmatch = "*"\ntargets = ["lm-studio/m", "own"]\n[backends.own]\n'
    own = load(here, text)
    assert (own.engine, own.engine_reachable) == ("own", True)
    assert [name for name, _ in own.backends] == ["lm-studio", "own"]
    off = load(here, text + "enabled = false\n")
    assert (off.engine, off.engine_reachable, off.switched_off) == ("own", False, "")
    assert off.engine_off.startswith("no backend of type mlx is switched on")
    named = LM.replace("lm-studio", "mlx") + ROUTE.replace("lm-studio", "mlx")
    none = load(here, named)
    assert (none.engine, none.engine_reachable) == ("", False)
    nothing = replace(off, backends=tuple((n, replace(b, enabled=False)) for n, b in off.backends))
    assert nothing.switched_off.startswith("every backend that a route leads to is switched off")


def test_a_target_is_a_backend_and_a_model() -> None:
    assert Target.parse("lm") == Target("lm", "")
    assert Target.parse("lm/org/model") == Target("lm", "org/model")


# ---------------------------------------------------------------------------- virtual keys


def test_keys_of_the_command_lie_beneath_the_configuration(here: Path) -> None:
    data = here / "data"
    other = "cd" * 32
    with changing_keys(data) as keys:
        keys["mine"] = KeySettings(DIGEST, rpm=5, models=("claude-*",))
    assert keys_path(data).stat().st_mode & 0o777 == 0o600
    found = load(here, f"data_dir = 'data'\n[keys.fixed]\nsha256 = '{other}'\nbudget_usd = 2\n")
    assert dict(found.keys) == {
        "mine": KeySettings(DIGEST, rpm=5, models=("claude-*",)),
        "fixed": KeySettings(other, budget_usd=2.0),
    }
    assert dict(found.sources)["keys.mine.rpm"] == str(keys_path(data))
    assert own_keys(found) == {"fixed": KeySettings(other, budget_usd=2.0)}
    assert read_keys(data) == {"mine": KeySettings(DIGEST, rpm=5, models=("claude-*",))}


def test_a_key_of_the_command_opens_the_door(here: Path) -> None:
    text = "data_dir = 'data'\n[server]\nhost = '0.0.0.0'\n"
    with pytest.raises(ConfigError, match="which others can reach"):
        load(here, text)
    with changing_keys(here / "data") as keys:
        keys["mine"] = KeySettings(DIGEST)
    assert load(here, text).server.host == "0.0.0.0"


def test_the_keys_file_holds_nothing_else(here: Path) -> None:
    file = keys_path(here / "data")
    file.parent.mkdir()
    file.write_text(f"[server]\nport = 1\n[keys.me]\nsha256 = '{DIGEST}'\nrmp = 5\n")
    with pytest.raises(ConfigError) as caught:
        load(here, "data_dir = 'data'\n")
    expected = [
        f"{file}: server has no place in it; expected [keys.NAME] alone",
        f"{file}: keys.me.rmp is unknown; the nearest known key is keys.me.rpm",
    ]
    assert str(caught.value).splitlines() == expected
    with pytest.raises(ConfigError) as caught, changing_keys(here / "data"):
        pytest.fail("there was something to change")
    assert str(caught.value).splitlines() == expected
    assert "rmp" in file.read_text()


def test_a_failed_change_leaves_the_file(here: Path) -> None:
    with changing_keys(here) as keys:
        keys["mine"] = KeySettings(DIGEST)
    with pytest.raises(RuntimeError), changing_keys(here) as keys:
        del keys["mine"]
        raise RuntimeError
    assert list(read_keys(here)) == ["mine"]


# --------------------------------------------------------------------------- and back again


def _value(key: schema.Key) -> st.SearchStrategy[Any]:
    rule: Any = key.rule
    if "enum" in rule:
        return st.sampled_from(rule["enum"])
    match key.kind:
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(rule.get("minimum", 0), min(rule.get("maximum", 10**6), 10**6))
        case "number":
            low = rule.get("exclusiveMinimum", rule.get("minimum", 0))
            return st.floats(low + 0.001, min(rule.get("maximum", 1e6), 1e6), allow_nan=False)
        case "array":
            items = rule["items"]
            item = st.sampled_from(items["enum"]) if "enum" in items else st.text(min_size=1)
            return st.lists(item, unique=True, max_size=3)
        case "object":
            return st.dictionaries(st.text(min_size=1), st.text(min_size=1), max_size=2)
        case _:
            return st.text(min_size=1)


_MADE_UP = {"type", "base_url", "api_key_env", "script", "headers", "sha256", "enabled"}
_NEEDED: dict[str, dict[str, str]] = {
    "openai": {"base_url": "http://127.0.0.1:1/v1"},
    "anthropic": {"base_url": "http://127.0.0.1:2"},
    "mlx": {},
}


def _table(names: str, extra: set[str], type: str = "") -> st.SearchStrategy[dict[str, Any]]:
    keys = [k for k in schema.all_keys() if k.section == names and (not type or k.fits_type(type))]
    free = {k.name.rpartition(".")[2]: _value(k) for k in keys}
    return st.fixed_dictionaries({}, optional={n: v for n, v in free.items() if n not in extra})


@st.composite
def _documents(draw: st.DrawFn) -> dict[str, Any]:
    backends = {
        type: {"type": type, **needed, **draw(_table("backends.*", _MADE_UP, type))}
        for type, needed in _NEEDED.items()
    }
    backends["openai"]["headers"] = draw(
        st.dictionaries(st.from_regex(r"x-[a-z]{1,5}", fullmatch=True), st.just("v"), max_size=2)
    )
    route_keys = {k.name.rpartition(".")[2]: _value(k) for k in schema.entry_keys()}
    kept = ("affinity", "roles", "tools", "min_tokens")
    routes = [
        {"match": f"m{at}", "targets": targets, **draw(_optional(route_keys, kept))}
        for at, targets in enumerate(
            draw(st.lists(st.sampled_from([["openai/m"], ["mlx", "anthropic"]]), max_size=3))
        )
    ] or [{"match": "*", "targets": ["openai/m", "mlx", "anthropic"]}]
    named = {name: {"sha256": f"{at:064x}"} for at, name in enumerate(("a", "b-c"), 1)}
    return {
        "backends": backends,
        "routes": routes,
        "keys": {n: {**key, **draw(_table("keys.*", _MADE_UP))} for n, key in named.items()},
        "resilience": draw(_table("resilience", {"backoff_s", "backoff_max_s"})),
        "log": draw(_table("log", set())),
    }


def _optional(keys: dict[str, Any], kept: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: keys[name] for name in kept})


@settings(max_examples=60, deadline=None)
@given(_documents())
def test_a_document_of_the_settings_gives_the_settings(document: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first, second = folder / "first.toml", folder / "second.toml"
        document["data_dir"] = str(folder)
        first.write_text(tomli_w.dumps(document), "utf-8")
        read = load_settings(config=first, env={}, cwd=folder)
        write_settings(second, read)
        again = load_settings(config=second, env={}, cwd=folder)
        assert replace(again, sources=()) == replace(read, sources=())
        assert to_document(again) == to_document(read)
        held = dict(values_of(read))
        for key, value in schema.leaves(document):
            if key == "routes":
                for given, found in zip(value, held[key], strict=True):  # type: ignore[call-overload]
                    assert given.items() <= found.items()
            elif key != "data_dir":
                assert held[key] == value, key


@settings(max_examples=150, deadline=None)
@given(_documents(), st.data())
def test_the_sound_part_has_no_problems(document: dict[str, Any], data: st.DataObject) -> None:
    """Whatever is broken, what is left can be built and checked."""
    spots = [(section, key) for section in ("resilience", "log") for key in document[section]]
    spots += [("routes", at) for at in range(len(document["routes"]))]
    broken = data.draw(st.lists(st.sampled_from(spots), unique=True)) if spots else []
    for section, key in broken:
        if section == "routes":
            inner = data.draw(st.sampled_from(["match", "targets", "unknown", "roles"]))
            document["routes"][key][inner] = {"no": "way"}
        else:
            document[section][key] = ["no way"]
    found = schema.problems(document)
    assert bool(found) is bool(broken)
    left = schema.sound_part(document, found)
    assert [p for p in schema.problems(left) if "is missing" not in p.text] == []
    assert len(left["routes"]) == len(document["routes"])  # type: ignore[arg-type]

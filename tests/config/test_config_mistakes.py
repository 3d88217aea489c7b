"""Each kind of mistake in a gateway's configuration gets a line: file, key, what was expected."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from anyclaude.config.checks import cache as cache_checks
from anyclaude.config.checks.routes import covers
from anyclaude.config.load import check_file, load_settings
from anyclaude.config.settings import Settings
from anyclaude.errors import ConfigError

EVERYTHING = """
[server]
host = "0.0.0.0"
port = 70000
gzip = false
gzip_streams = true

[cache]
l2 = false
response_disk = true
semantic = true
semantic_threshold = 0.8
embeddings = "nobody/model"
vectors = "ftp://127.0.0.1"
redis_url = "http://user:sesame@127.0.0.1"
cache_marks = ["system", "tools"]

[resilience]
backoff_s = 10.0
retry = 3

[backends.engine]
max_concurrency = 2

[backends.second]
type = "mlx"

[backends.lm]
type = "openai"
script = "a.toml"
base_url = "http://user:sesame@127.0.0.1:1234/v1"

[backends.far]
type = "anthropic"
profile = "ollama"
api_key_env = "NOT_THERE"

[backends.away]
type = "openai"
base_url = "127.0.0.1:1234"
weight = 0

[backends.acted]
type = "scripted"

[backends.other]
type = "vllm"

[[routes]]
match = "slot:opus"
targets = ["nobody/model"]
fallback = ["lm/a", "ghost"]

[[routes]]
match = "slot:medium"
targets = ["lm/a"]
strategy = "fastest"

[[routes]]
match = "*"
targets = ["lm/a"]

[[routes]]
match = "claude-*"
targets = []

[[routes]]
match = "late-*"
targets = ["lm/b"]
min_tokens = 10
max_tokens = 5
headers = { x-api-key = "sesame*" }

[[routes]]
targets = ["lm"]

[keys.me]
rpm = 5

[keys.you]
sha256 = "sesame"
"""

_EXPECTED = """
backends.other.type is "vllm"; expected "mlx" or "anthropic" or "openai" or "scripted"
backends.away.weight is 0; expected a number above 0
cache.cache_marks is ["tools"]; expected a list of different words out of "system", "last_user"
cache.semantic_threshold is 0.8; expected a number from 0.97 to 1
keys.you.sha256 is ********; expected 64 small hexadecimal digits
resilience.retry is unknown; the nearest known key is resilience.retries
routes.2.strategy is "fastest"; expected "shuffle" or "round-robin" or "priority" or \
"least-busy" or "usage" or "latency" or "cost" or "cache-aware"
routes.4.targets is []; expected a list of one or more strings, none of them empty
routes.6.match is missing; expected a string that is not empty
server.port is 70000; expected an integer from 0 to 65535
server.gzip_streams is true while server.gzip is false; expected both true, or this one false
keys.me.sha256 is missing; 'anyclaude keys add me' makes a key and writes it down
backends.second.type is "mlx" like that of backends.engine; expected one engine in a process, so \
another type, or enabled = false for one of them
backends.engine.max_concurrency means nothing for type "mlx"; expected type "anthropic" or \
"openai" or "scripted" beside it; the engine has performance.max_running
backends.lm.script means nothing for type "openai"; expected type "scripted" beside it
backends.lm.base_url has a user or password in it; expected an address such as \
"http://127.0.0.1:1234/v1", and the key in a key of its own
backends.far.profile means nothing for type "anthropic"; expected type "openai" beside it
backends.far.base_url is missing; type "anthropic" needs an address such as \
"https://api.anthropic.com"
backends.far.api_key_env is "NOT_THERE", and there is no such environment variable; expected one \
with the key in it
backends.away.base_url has no scheme; expected an address such as "http://127.0.0.1:1234/v1"
backends.acted.script is missing; type "scripted" needs the TOML file with its answers
routes.1.targets has "nobody/model", and there is no such backend; expected engine, second, lm, \
far, away, acted, other
routes.1.fallback has "ghost", and there is no such backend; expected engine, second, lm, far, \
away, acted, other
routes.2.match is "slot:medium"; expected slot: with one of opus, sonnet, haiku, subagent after \
it, or a pattern
routes.5.min_tokens is 10, which no prompt of at most 5 tokens has; expected no more than \
routes.5.max_tokens
routes.5.headers has "x-api-key", which sounds like a secret and is never looked at; expected \
another header
routes.5.match is "late-*" and is never reached, since routes.3 fits every such request before \
it; expected it above that one
resilience.backoff_s is 10.0, more than any wait may be; expected at most \
resilience.backoff_max_s, 8.0
cache.response_disk is true while cache.l2 is false; expected both true, or this one false
cache.redis_url begins with "http://"; expected an address such as \
"redis://:PASSWORD@127.0.0.1:6379/0", or with rediss:// or unix://
cache.vectors begins with "ftp://"; expected an address such as "http://127.0.0.1:6333", or \
"local" or "qdrant"
cache.embeddings is "nobody/model", and there is no such backend; expected "wordllama", or the \
name of an openai backend, / and a model
"""


def test_every_kind_of_mistake_at_once(here: Path) -> None:
    file = here / "anyclaude.toml"
    file.write_text(EVERYTHING)
    found = check_file(file, {})
    expected = [f"{file}: {line}" for line in _EXPECTED.strip().splitlines()]
    assert sorted(found) == sorted(expected)
    assert len(expected) > 30
    assert not any("sesame" in line for line in found)


GOOD: Mapping[str, str] = {
    "lm": '[backends.lm]\ntype = "openai"\nbase_url = "http://127.0.0.1:1234/v1"\n',
    "far": '[backends.far]\ntype = "anthropic"\nbase_url = "https://api.anthropic.com"\n',
    "all": '[[routes]]\nmatch = "*"\ntargets = ["mlx"]\n',
}


def load(here: Path, text: str, /, **env: str) -> Settings:
    (here / "anyclaude.toml").write_text(text)
    return load_settings(env=env, cwd=here)


def wrong(here: Path, text: str, /, **env: str) -> str:
    """The one line that the text gets, without its place."""
    with pytest.raises(ConfigError) as caught:
        load(here, text, **env)
    [line] = str(caught.value).splitlines()
    place = f"{here / 'anyclaude.toml'}: "
    assert line.startswith(place)
    return line.removeprefix(place)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.anthropic.com/v1/messages", 'ends in "/messages", which is added to it'),
        ("https://h/v1/messages/count_tokens/", 'ends in "/messages/count_tokens/", which is'),
        ("https://x@h", "has a user or password in it"),
        ("https://", "names no host"),
        ("https://h?key=sesame", "goes on after its path with ? or #"),
        ("https://h#", "goes on after its path with ? or #"),
        ("https://h:99999", "can't be read as an address"),
        ("https://h:0", "can't be read as an address"),
        ("https://[::1", "can't be read as an address"),
        ("https://h /", "can't be read as an address"),
        ("sk-sesame", "has no scheme"),
        ("file:///sesame", 'begins with "file://"'),
        ("http://localhost:8082", "is the address of this server (server.port 8082)"),
        ("http://[::1]:8082/", "is the address of this server (server.port 8082)"),
    ],
)
def test_addresses_of_backends(here: Path, url: str, expected: str) -> None:
    text = f'[backends.far]\ntype = "anthropic"\nbase_url = "{url}"\n' + GOOD["all"]
    line = wrong(here, text)
    assert line.startswith(f"backends.far.base_url {expected}")
    assert "expected" in line and "sesame" not in line


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (
            'api_key = "sesame"\napi_key_env = "KEY"',
            "backends.lm.api_key_env is there beside backends.lm.api_key; expected one of them",
        ),
        (
            'headers = { "a b" = "sesame" }',
            'backends.lm.headers has "a b"; expected names of headers: letters, digits and hyphens',
        ),
        (
            'headers = { Content-Length = "5" }',
            'backends.lm.headers has "Content-Length", which belongs to the connection; expected'
            " others alone",
        ),
        (
            'headers = { x-a = "sesame\\r\\nx-b: 1" }',
            'backends.lm.headers has a value of "x-a" that no header can have; expected plain'
            " ASCII",
        ),
    ],
)
def test_what_is_sent_to_a_backend(here: Path, extra: str, expected: str) -> None:
    assert wrong(here, f"{GOOD['lm']}{extra}\n{GOOD['all']}", KEY="k") == expected


def test_an_address_of_its_chat_completions(here: Path) -> None:
    text = GOOD["lm"].replace("/v1", "/v1/chat/completions") + GOOD["all"]
    assert wrong(here, text).startswith(
        'backends.lm.base_url ends in "/chat/completions", which is added to it; expected'
    )


def test_a_script_that_is_not_there(here: Path) -> None:
    text = '[backends.acted]\ntype = "scripted"\nscript = "a.toml"\n' + GOOD["all"]
    assert wrong(here, text) == (
        f'backends.acted.script is "{here}/a.toml", and there is no such file'
    )
    (here / "a.toml").write_text("")
    assert dict(load(here, text).backends)["acted"].script == str(here / "a.toml")


def test_a_backend_that_nothing_leads_to(here: Path) -> None:
    assert wrong(here, GOOD["lm"]) == (
        "backends.lm.enabled is true, but without [[routes]] every request goes to the engine;"
        ' expected a route such as match = "*" and targets = ["lm"]'
    )
    load(here, GOOD["lm"] + "enabled = false\n")
    load(here, GOOD["lm"] + '[cache]\nembeddings = "lm/e5"\n')
    load(here, GOOD["lm"] + '[model]\nsmall = "lm/e5"\n')
    load(here, GOOD["lm"] + GOOD["all"])


@pytest.mark.parametrize(
    ("small", "expected"),
    [
        ("ghost/m", 'is "ghost/m", and there is no such backend; expected mlx, lm, off'),
        ("lm/", 'is "lm/"; expected NAME or NAME/model'),
        ("off/m", 'is "off/m", a backend that is switched off; expected another'),
        (
            "mlx/other",
            'is "mlx/other", but the engine answers with the model it has loaded, model.default'
            ' "mine"; expected "mlx"',
        ),
    ],
)
def test_where_small_calls_go(here: Path, small: str, expected: str) -> None:
    off = GOOD["lm"].replace("[backends.lm]", "[backends.off]") + "enabled = false\n"
    text = f'[model]\ndefault = "mine"\nsmall = "{small}"\n{GOOD["lm"]}{off}{GOOD["all"]}'
    assert wrong(here, text) == f"model.small {expected}"
    load(here, text.replace(f'"{small}"', '"lm/m"'))


def test_a_route_whose_backends_are_all_off(here: Path) -> None:
    text = GOOD["lm"] + 'enabled = false\n[[routes]]\nmatch = "*"\ntargets = ["lm/m"]\n'
    assert wrong(here, text) == (
        "routes.1.targets leads nowhere, since lm is switched off; expected a backend with"
        " enabled = true"
    )
    load(here, text + 'fallback = ["mlx"]\n')


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (
            'targets = ["mlx/other"]',
            'routes.1.targets has "mlx/other", but the engine answers with the model it has'
            ' loaded, model.default "mine"; expected "mlx"',
        ),
        ('targets = ["lm/"]', 'routes.1.targets has "lm/"; expected NAME or NAME/model'),
        ('targets = ["lm/ m"]', 'routes.1.targets has "lm/ m"; expected NAME or NAME/model'),
        (
            'targets = ["lm/m"]\nfallback_context = ["lm/m", "mlx"]',
            'routes.1.fallback_context has "lm/m", which is one of routes.1.targets; expected'
            " others",
        ),
        (
            'targets = ["lm/m", "mlx"]\nstrategy = "cost"',
            'routes.1.strategy is "cost", and none of its backends has a price; expected price_in'
            " and price_out in [backends.NAME]",
        ),
        (
            'targets = ["mlx"]\nheaders = { X-Team = "a", x-team = "b" }',
            'routes.1.headers has "x-team" 2 times; expected it once',
        ),
        (
            'targets = ["mlx"]\nroles = ["mian"]',
            'routes.1.roles is ["mian"]; expected a list of different words out of "main",'
            ' "subagent", "title", "count", "search", "compact", "probe"',
        ),
    ],
)
def test_routes(here: Path, route: str, expected: str) -> None:
    text = f'[model]\ndefault = "mine"\n{GOOD["lm"]}[[routes]]\nmatch = "*"\n{route}\n'
    assert wrong(here, text) == expected
    load(here, text[: text.index("[[routes]]")] + GOOD["all"].replace("mlx", "mlx/mine"))


@pytest.mark.parametrize(
    ("wide", "narrow", "is_so"),
    [
        ("*", "claude-*", True),
        ("**", "slot:haiku", True),
        ("*", "[ab]?", True),
        ("claude-*", "claude-*opus*", True),
        ("claude-*", "claude-opus", True),
        ("claude-*opus*", "claude-*", False),
        ("*a*", "*b*", False),
        ("claude-?", "claude-*", False),
        ("claude-?", "claude-?", True),
        ("*a*", "[ab]", False),
        ("s*", "slot:haiku", False),
        ("slot:haiku", "slot:haiku", True),
        ("slot:haiku", "*haiku*", False),
        ("Claude-*", "claude-opus", True),
        ("*a*", "slot:haiku", False),
    ],
)
def test_which_pattern_covers_which(wide: str, narrow: str, is_so: bool) -> None:
    assert covers(wide, narrow) is is_so


def test_a_route_with_conditions_hides_only_its_like(here: Path) -> None:
    first = '[[routes]]\nmatch = "*"\ntargets = ["mlx"]\nroles = ["main", "title"]\n'
    load(here, first + GOOD["all"])
    load(here, first.replace(', "title"', "") + first + GOOD["all"])
    again = first.replace('["main", "title"]', '["title"]').replace('"*"', '"claude-*"')
    assert wrong(here, first + again).startswith(
        'routes.2.match is "claude-*" and is never reached, since routes.1 fits'
    )


@pytest.mark.parametrize(
    ("wide", "narrow", "hidden"),
    [
        ("", 'roles = ["main"]', True),
        ('tools = ["a", "b"]', 'tools = ["b"]', True),
        ('tools = ["b"]', 'tools = ["a", "b"]', False),
        ('tools = ["b"]', "", False),
        ('headers = { x-a = "1" }', 'headers = { x-a = "1", x-b = "2" }', True),
        ('headers = { x-a = "1", x-b = "2" }', 'headers = { x-a = "1" }', False),
        ("min_tokens = 5", "min_tokens = 9", True),
        ("min_tokens = 9", "min_tokens = 5", False),
        ("max_tokens = 9", "max_tokens = 5", True),
        ("max_tokens = 9", "", False),
        ("max_tokens = 5", "max_tokens = 9", False),
    ],
)
def test_which_conditions_leave_nothing(here: Path, wide: str, narrow: str, hidden: bool) -> None:
    one = '[[routes]]\nmatch = "*"\ntargets = ["mlx"]\n'
    text = f"{one}{wide}\n{one}{narrow}\n"
    if hidden:
        assert "routes.2.match" in wrong(here, text) and "routes.1 fits" in wrong(here, text)
    else:
        load(here, text)


@pytest.mark.parametrize(
    ("cache", "missing", "expected"),
    [
        (
            "semantic = true",
            "wordllama",
            "cache.semantic needs the package wordllama, which isn't installed; expected 'pip"
            " install anyclaude[semantic]' before it, or cache.embeddings of a backend",
        ),
        (
            'semantic = true\nvectors = "qdrant"',
            "qdrant_client",
            "cache.vectors needs the package qdrant_client, which isn't installed; expected 'pip"
            ' install anyclaude[qdrant]\' before it, or "local"',
        ),
        (
            'redis_url = "redis://127.0.0.1"',
            "redis",
            "cache.redis_url needs the package redis, which isn't installed; expected 'pip install"
            " anyclaude[shared]' before it, or an empty redis_url",
        ),
    ],
)
def test_what_must_be_installed(
    here: Path, monkeypatch: pytest.MonkeyPatch, cache: str, missing: str, expected: str
) -> None:
    monkeypatch.setattr(cache_checks, "installed", lambda package: package != missing)
    assert wrong(here, f"[cache]\n{cache}\n") == expected
    monkeypatch.setattr(cache_checks, "installed", lambda package: True)
    load(here, f"[cache]\n{cache}\n")


def test_installed_asks_the_interpreter() -> None:
    assert cache_checks.installed("click")
    assert not cache_checks.installed("anyclaude_nowhere")


@pytest.mark.parametrize(
    ("cache", "expected"),
    [
        ('embeddings = "lm"', 'cache.embeddings is "lm", which names no model; expected'),
        (
            'embeddings = "mlx/m"',
            'cache.embeddings is "mlx/m", a backend of type mlx; expected "wordllama", or',
        ),
        ("semantic = true\nl2 = false", "cache.semantic is true while cache.l2 is false and no"),
        ("redis_private = true", "cache.redis_private is true while cache.redis_url is empty;"),
        ('redis_url = "redis:sesame@h"', "cache.redis_url has no scheme; expected"),
        ('redis_url = "redis://:sesame@"', "cache.redis_url names no server; expected"),
        ('redis_url = "redis://:sesame@h:x"', "cache.redis_url can't be read as an address;"),
        ('redis_url = "unix://"', "cache.redis_url names no server; expected"),
        ('vectors = "http://me:sesame@h"', "cache.vectors has a user or password in it; expected"),
    ],
)
def test_caches(here: Path, monkeypatch: pytest.MonkeyPatch, cache: str, expected: str) -> None:
    monkeypatch.setattr(cache_checks, "installed", lambda package: True)
    line = wrong(here, f"{GOOD['lm']}{GOOD['all']}[cache]\n{cache}\n")
    assert line.startswith(expected) and "sesame" not in line


def test_an_embedder_that_is_off(here: Path) -> None:
    text = GOOD["lm"] + 'enabled = false\n[cache]\nembeddings = "lm/e5"\nsemantic = '
    load(here, text + "false\n")
    assert wrong(here, text + "true\n").startswith(
        'cache.embeddings is "lm/e5", a backend that is switched off; expected'
    )


def test_virtual_keys_are_each_ones_own(here: Path) -> None:
    digest = hashlib.sha256(b"sesame").hexdigest()
    first = f'[keys.a]\nsha256 = "{digest}"\n'
    assert wrong(here, first + first.replace("keys.a", "keys.b")) == (
        "keys.b.sha256 is that of keys.a; expected a key of its own"
    )
    assert wrong(here, f'[server]\napi_key = "sesame"\n{first}') == (
        "keys.a.sha256 is that of server.api_key; expected a key of its own"
    )
    assert load(here, f'[server]\nhost = "0.0.0.0"\n{first}').keys[0][1].sha256 == digest


def test_a_wrong_key_is_not_held_against_another(here: Path) -> None:
    """What depends on a value that is wrong by itself says nothing more."""
    for text, key in (
        ('[backends.lm]\ntype = "openai"\nbase_url = 5\n', "backends.lm.base_url is 5"),
        ('[backends.lm]\ntype = "opnai"\nprofile = "auto"\n', 'backends.lm.type is "opnai"'),
        ("[backends]\nlm = 5\n", "backends.lm is 5"),
        ('[server]\nhost = "0.0.0.0"\napi_key = 5\n', "server.api_key is ********"),
        ('[[routes]]\nmatch = "*"\ntargets = ["mlx"]\nroles = ["mian"]\n', "routes.1.roles"),
        ('[server]\nhost = "0.0.0.0"\n[keys]\nme = 5\n', "keys.me is 5"),
    ):
        route = '[[routes]]\nmatch = "x"\ntargets = ["lm/m"]\n' if "lm" in text else ""
        assert wrong(here, text + route).startswith(key)

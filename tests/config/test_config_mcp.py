"""MCP servers in the configuration: read, refused, masked, and written back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from anyclaude.config.document import rows_of, write_settings
from anyclaude.config.load import load_settings
from anyclaude.config.masking import hidden
from anyclaude.config.settings import McpSettings, Settings
from anyclaude.errors import ConfigError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    return tmp_path


def load(here: Path, text: str, /, **env: str) -> Settings:
    (here / "anyclaude.toml").write_text(f"data_dir = '{here}'\n{text}", "utf-8")
    return load_settings(env=env, cwd=here)


FULL = """
[mcp.files]
command = "npx"
args = ["-y", "server", "", "-y"]
env = { TOKEN = "sesame" }
offer = ["read_*"]
run = ["read_text"]
call_timeout_s = 5
[mcp.web]
url = "http://127.0.0.1:3000/mcp"
headers = { authorization = "Bearer sesame" }
[tools]
mcp_file = "servers.json"
"""


def test_servers_are_read_in_order(here: Path) -> None:
    loaded = load(here, FULL)
    assert loaded.mcp == (
        (
            "files",
            McpSettings(
                command="npx",
                args=("-y", "server", "", "-y"),
                env=(("TOKEN", "sesame"),),
                offer=("read_*",),
                run=("read_text",),
                call_timeout_s=5.0,
            ),
        ),
        (
            "web",
            McpSettings(
                url="http://127.0.0.1:3000/mcp", headers=(("authorization", "Bearer sesame"),)
            ),
        ),
    )
    assert loaded.tools.mcp_file == str(here / "servers.json")
    assert "sesame" not in repr(loaded)


def test_a_variable_names_one_server(here: Path) -> None:
    loaded = load(here, FULL, ANYCLAUDE_MCP_FILES_RUN="a,b", ANYCLAUDE_MCP_NEW_COMMAND="x")
    assert dict(loaded.mcp)["files"].run == ("a", "b")
    assert dict(loaded.mcp)["new"] == McpSettings(command="x")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[mcp.a]", "mcp.a.command is missing; expected a program, an address in mcp.a.url, or"),
        (
            '[mcp.a]\ncommand = "x"\nurl = "http://h/"',
            "mcp.a.url is there beside mcp.a.command; expected one of them",
        ),
        (
            '[mcp.a]\nurl = "http://h/"\nargs = ["sesame"]',
            "mcp.a.args means nothing without mcp.a.command; expected that beside it",
        ),
        (
            '[mcp.a]\ncommand = "x"\nheaders = { b = "sesame" }',
            "mcp.a.headers means nothing without mcp.a.url; expected that beside it",
        ),
        ('[mcp.a]\nurl = "sesame"', "mcp.a.url has no scheme; expected an address such as"),
        ('[mcp.a]\nurl = "http://localhost:8082/"', "mcp.a.url is the address of this server"),
        (
            '[mcp.a]\nurl = "http://h/"\nheaders = { "a b" = "sesame" }',
            'mcp.a.headers has "a b"; expected names of headers',
        ),
        (
            '[mcp.a]\ncommand = "x"\nenv = { "A-B" = "sesame" }',
            'mcp.a.env has "A-B"; expected names of environment variables',
        ),
        (
            '[mcp.a]\ncommand = "x"\nenv = { A = "sesame\\u0000" }',
            'mcp.a.env has a NUL in the value of "A"',
        ),
        ('[mcp.a__b]\ncommand = "x"', "mcp.a__b is not a usable name"),
        ('[mcp.a]\ncommand = "x"\nargs = "y"', 'mcp.a.args is "y"; expected a list of strings'),
        ('[mcp.a]\ncommand = "x"\ncall_timeout_s = 0', "mcp.a.call_timeout_s is 0; expected"),
        ("[tools]\nmcp_rounds = 0", "tools.mcp_rounds is 0; expected an integer from 1 to 100"),
    ],
)
def test_mistakes_are_named_without_secrets(here: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(here, text)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{here / 'anyclaude.toml'}: {complaint}")
    if text != '[mcp.a]\nurl = "sesame"':
        assert "sesame" not in line


def test_what_is_switched_off_or_in_the_file_needs_no_command(here: Path) -> None:
    load(here, "[mcp.a]\nenabled = false")
    load(here, '[mcp.a]\nrun = ["x"]\n[tools]\nmcp_file = "f.json"')


def test_secrets_are_masked_where_settings_are_shown(here: Path) -> None:
    rows: Mapping[str, Any] = {name: value for name, value, _ in rows_of(load(here, FULL))}
    assert rows["mcp.files.env"] == {"TOKEN": "********"}
    assert rows["mcp.web.headers"] == {"authorization": "********"}
    assert "sesame" not in repr(rows)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["--api-key", "sesame", "x"], ["--api-key", "********", "x"]),
        (["--token=sesame", "-v"], ["--token=********", "-v"]),
        (["--token", "--verbose"], ["--token", "--verbose"]),
        (["https://user:sesame@h/p"], ["https://********@h/p"]),
        (["/notes", "-y"], ["/notes", "-y"]),
    ],
)
def test_arguments_that_sound_like_secrets_are_masked(given: list[str], shown: list[str]) -> None:
    assert hidden("mcp.a.args", given) == shown


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=9)
_SERVER = st.one_of(
    st.fixed_dictionaries(
        {"command": _TEXT},
        optional={
            "args": st.lists(_TEXT, max_size=3),
            "env": st.dictionaries(st.from_regex(r"[A-Z_]{1,5}", fullmatch=True), _TEXT),
            "offer": st.lists(_TEXT, unique=True, max_size=3),
            "run": st.lists(_TEXT, unique=True, max_size=3),
        },
    ),
    st.fixed_dictionaries(
        {"url": st.just("https://h.example/mcp")},
        optional={
            "headers": st.dictionaries(
                st.from_regex(r"x-[a-z]{1,5}", fullmatch=True), st.just("v")
            ),
            "cache_ttl_s": st.floats(0, 100),
            "max_result_chars": st.integers(200, 10_000),
        },
    ),
)


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.from_regex(r"[a-z0-9]+([_-][a-z0-9]+)*", fullmatch=True), _SERVER, max_size=4
    )
)
def test_servers_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, servers: dict[str, dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("config")
    first, second = folder / "a.toml", folder / "b.toml"
    first.write_text(tomli_w.dumps({"data_dir": str(folder), "mcp": servers}), "utf-8")
    read = load_settings(config=first, env={}, cwd=folder)
    assert [name for name, _ in read.mcp] == list(servers)
    write_settings(second, read)
    assert load_settings(config=second, env={}, cwd=folder).mcp == read.mcp

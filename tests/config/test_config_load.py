"""Which value wins, where it is said to come from, and what a wrong one is answered with."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from anyclaude.config.checks.addresses import is_open
from anyclaude.config.document import masked_document, write_settings
from anyclaude.config.files import user_config_path
from anyclaude.config.layers import variable_of
from anyclaude.config.load import check_file, load_settings
from anyclaude.config.masking import show
from anyclaude.config.settings import BackendSettings, Settings
from anyclaude.errors import ConfigError


def load(here: Path, flags: Mapping[str, object] | None = None, /, **env: str) -> Settings:
    return load_settings(overrides=flags, env=env, cwd=here)


def wrong(here: Path, flags: Mapping[str, object] | None = None, /, **env: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(here, flags, **env)
    return str(caught.value).splitlines()


def test_defaults_alone(here: Path) -> None:
    settings = load(here)
    assert settings.server.port == 8082
    assert settings.db == settings.data_dir / "anyclaude.duckdb"
    assert settings.data_dir.name == "anyclaude"
    assert {origin for _, origin in settings.sources} == {"default"}


def test_each_layer_covers_the_one_below(here: Path) -> None:
    user = user_config_path()
    user.parent.mkdir(parents=True)
    user.write_text("[server]\nport = 1\nmax_body_mb = 1\nhost = '::1'\n[log]\nlevel = 3\n")
    (here / "anyclaude.toml").write_text("[server]\nport = 2\nmax_body_mb = 2\nhost = '::1'\n")
    settings = load(
        here, {"server.port": 4}, ANYCLAUDE_SERVER_PORT="3", ANYCLAUDE_SERVER_MAX_BODY_MB="3"
    )
    origins = dict(settings.sources)
    assert (settings.server.port, origins["server.port"]) == (4, "flag --port")
    assert settings.server.max_body_mb == 3
    assert origins["server.max_body_mb"] == "env ANYCLAUDE_SERVER_MAX_BODY_MB"
    assert (settings.server.host, origins["server.host"]) == ("::1", str(here / "anyclaude.toml"))
    assert (settings.log.level, origins["log.level"]) == (3, str(user))
    assert origins["log.bodies"] == "default"


@pytest.mark.parametrize("by_flag", [True, False])
def test_a_chosen_file_is_read_alone(here: Path, by_flag: bool) -> None:
    (here / "anyclaude.toml").write_text("[server]\nport = 2\n")
    (here / "other.toml").write_text("[log]\nlevel = 0\n")
    chosen = Path("other.toml")
    env = {} if by_flag else {"ANYCLAUDE_CONFIG": str(chosen)}
    settings = load_settings(config=chosen if by_flag else None, env=env, cwd=here)
    assert (settings.server.port, settings.log.level) == (8082, 0)


def test_values_from_the_environment_get_their_types(here: Path) -> None:
    settings = load(
        here,
        ANYCLAUDE_CACHE_L1="off",
        ANYCLAUDE_CACHE_MEMORY_GB="2",
        ANYCLAUDE_MODEL_TEMPERATURE="0.7",
        ANYCLAUDE_PROMPT_DISABLED_RULES="a, b",
        ANYCLAUDE_UI_KEYMAP='{quit = "ctrl+q"}',
        ANYCLAUDE_BACKENDS_MLX_ENABLED="no",
        ANYCLAUDE_BACKENDS_DEMO_TYPE="mlx",
    )
    assert settings.cache.l1 is False
    assert settings.cache.memory_gb == 2.0
    assert settings.model.temperature == 0.7
    assert settings.prompt.disabled_rules == ("a", "b")
    assert settings.ui.keymap == (("quit", "ctrl+q"),)
    assert dict(settings.backends) == {
        "mlx": BackendSettings(enabled=False),
        "demo": BackendSettings(type="mlx"),
    }
    assert not settings.switched_off
    off = load(here, ANYCLAUDE_BACKENDS_MLX_ENABLED="no")
    assert off.switched_off.startswith("backends.mlx.enabled is false")


def test_every_key_has_a_variable_that_is_found_again(here: Path) -> None:
    for name, value in (("server.port", "1"), ("performance.max_waiting", "7")):
        assert dict(load(here, **{variable_of(name): value}).sources)[name].startswith("env ")


def test_paths_count_from_where_they_were_written(here: Path, home: Path) -> None:
    (here / "conf").mkdir()
    (here / "conf" / "a.toml").write_text("data_dir = 'data'\n")
    settings = load_settings(
        config=Path("conf/a.toml"), overrides={"db": "my.duckdb"}, env={}, cwd=here
    )
    assert settings.data_dir == here / "conf" / "data"
    assert settings.db == here / "my.duckdb"
    assert load(here, ANYCLAUDE_DATA_DIR="~/d").data_dir == home / "d"


def test_all_problems_at_once_each_with_its_origin(here: Path) -> None:
    (here / "anyclaude.toml").write_text("[server]\nprot = 1\n[log]\nlevel = 9\n")
    assert wrong(here, {"server.port": 70000}, ANYCLAUDE_CACHE_L1="maybe") == [
        f"{here}/anyclaude.toml: log.level is 9; expected an integer from 0 to 3",
        f"{here}/anyclaude.toml: server.prot is unknown; the nearest known key is server.port",
        'env ANYCLAUDE_CACHE_L1: cache.l1 is "maybe"; expected true or false',
        "flag --port: server.port is 70000; expected an integer from 0 to 65535",
    ]


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("ANYCLAUDE_PORT", "ANYCLAUDE_SERVER_PORT"),
        ("ANYCLAUDE_SERVER_PRT", "ANYCLAUDE_SERVER_PORT"),
        ("ANYCLAUDE_CACHE_L1_ON", "ANYCLAUDE_CACHE_L1"),
        ("ANYCLAUDE_UI_XYZ", "ANYCLAUDE_UI_<KEY>"),
    ],
)
def test_a_misspelt_variable_is_an_error(here: Path, variable: str, nearest: str) -> None:
    assert wrong(here, **{variable: "1"}) == [
        f"env {variable} is unknown; the nearest known variable is {nearest}"
    ]


def test_variables_of_others_are_left_alone(here: Path) -> None:
    load(here, ANYCLAUDE_TEST_CACHE="/x", ANYCLAUDE_CLAUDE="/bin/true", PATH="/bin", ANYCLAUDEX="")


def test_unreadable_files_are_named(here: Path) -> None:
    file = here / "anyclaude.toml"
    file.write_text("[server\n")
    assert wrong(here)[0].startswith(f"{file}: not valid TOML: ")
    file.write_bytes(b"a = '\xff'\n")
    assert wrong(here) == [f"{file}: not UTF-8 at byte 5; save it as UTF-8"]
    file.unlink()
    file.mkdir()
    assert wrong(here) == [f"{file}: can't be read: Is a directory"]
    with pytest.raises(ConfigError, match=r"none\.toml: no such file; 'anyclaude config init'"):
        load_settings(config=Path("none.toml"), env={}, cwd=here)


def test_an_open_address_needs_a_key(here: Path) -> None:
    assert wrong(here, {"server.host": "0.0.0.0"}) == [
        'flag --host: server.host is "0.0.0.0", which others can reach; expected a'
        " server.api_key or a virtual key ('anyclaude keys add') beside it, or a loopback address"
        " such as 127.0.0.1"
    ]
    settings = load(here, {"server.host": "0.0.0.0"}, ANYCLAUDE_SERVER_API_KEY="secret")
    assert settings.server.api_key == "secret"


def test_an_admin_key_is_one_that_clients_have_not(here: Path) -> None:
    keys = {"ANYCLAUDE_SERVER_API_KEY": "secret", "ANYCLAUDE_SERVER_ADMIN_KEY": "secret"}
    with pytest.raises(ConfigError, match=r"^env ANYCLAUDE_SERVER_ADMIN_KEY: .*a key of its own$"):
        load(here, **keys)
    settings = load(here, ANYCLAUDE_SERVER_ADMIN_KEY="mine")
    assert settings.server.admin_key == "mine"
    shown = masked_document(settings)["server"]
    assert isinstance(shown, dict) and (shown["api_key"], shown["admin_key"]) == ("", "********")
    assert show("server.admin_key", "mine") == "********"


@pytest.mark.parametrize(
    ("host", "is_so"),
    [
        ("127.0.0.1", False),
        ("127.1.2.3", False),
        ("::1", False),
        ("[::1]", False),
        ("0.0.0.0", True),
        ("::", True),
        ("10.0.0.1", True),
        ("localhost", False),
        ("fd://3", False),
    ],
)
def test_open_addresses(host: str, is_so: bool) -> None:
    assert is_open(host) is is_so


def test_written_settings_read_back_the_same(here: Path) -> None:
    settings = load(
        here,
        {"model.default": "m", "model.temperature": 0.5, "db": "x.duckdb"},
        ANYCLAUDE_UI_KEYMAP='{quit = "q"}',
        ANYCLAUDE_BACKENDS_DEMO_ENABLED="no",
        ANYCLAUDE_PROMPT_DISABLED_RULES="billing",
    )
    file = here / "anyclaude.toml"
    write_settings(file, settings)
    again = load(here)
    assert again == load_settings(config=file, env={}, cwd=here)
    for name in Settings.__dataclass_fields__:
        if name != "sources":
            assert getattr(again, name) == getattr(settings, name), name
    assert file.stat().st_mode & 0o777 == 0o600
    assert "data_dir" not in tomllib.loads(file.read_text())


def test_a_failed_write_leaves_the_old_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = here / "anyclaude.toml"
    file.write_text("[server]\nport = 5\n")
    settings = load(here)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_settings(file, settings)
    assert [p.name for p in here.iterdir()] == ["anyclaude.toml"]
    assert load(here).server.port == 5


def test_check_file_reports_contradictions_too(here: Path) -> None:
    file = here / "a.toml"
    file.write_text("[server]\nhost = '0.0.0.0'\n")
    [line] = check_file(file, {})
    assert line.startswith(f"{file}: server.host is")
    file.write_text("[server]\nport = 1\n")
    assert check_file(file, {}) == ()

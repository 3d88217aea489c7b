"""``prompt explain``: from the log, whether or not a server runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cli_doubles as doubles
import pytest
from cli_doubles import User

from anyclaude.events import PromptShaped
from anyclaude.logs.log import RequestLog
from anyclaude.records import PromptSection

SHORT = replace(
    doubles.RECORD,
    prompt_tier="strong",
    prompt_id="p'1",
    prompt_tokens_before=200,
    prompt_tokens_after=50,
    window_tokens=1_000,
    overflow="window: 6 messages, 1200 tokens > 1000",
)
PARTS = (
    PromptSection("system.0", "Rules › Never run", "instruction", 0.9, True, "kept", 40, 40),
    PromptSection("tools.Read", "Read", "tool_rule", 0.8, False, "shortened", 160, 10),
)


@pytest.fixture
async def log(user: User) -> Path:
    """Three requests, of which one had its prompt shortened."""
    path = user.data / "anyclaude.duckdb"
    user.data.mkdir(mode=0o700)
    log = await RequestLog.open(path, retention_days=0, bodies=True, report=lambda event: None)
    log.post(PromptShaped(doubles.AT, "req_1", "p'1", "strong", PARTS))
    log.post(PromptShaped(doubles.AT, "req_9", "p'1", "strong", PARTS))
    for number, record in enumerate((SHORT, doubles.RECORD, doubles.RECORD), 1):
        await log.record(replace(record, id=f"req_{number}", started_at=doubles.AT + number))
    await log.close()
    return path


@pytest.mark.parametrize("named", ["req_1", "last"])
def test_every_part_with_its_tokens(user: User, log: Path, named: str) -> None:
    lines = user("prompt", "explain", named).stdout.splitlines()
    assert lines[:4] == [
        "request req_1, model SmolLM2",
        "prompt: 100 tokens, 10 % of 1000",
        "left out of the conversation: window: 6 messages, 1200 tokens > 1000",
        "system texts and tools: tier strong, 200 tokens, 50 shown (25.0 %)",
    ]
    assert [line.split()[0] for line in lines[7:]] == ["system.0", "tools.Read"]
    assert "Rules › Never run" in lines[7] and lines[8].split()[4:7] == ["shortened", "160", "10"]


def test_a_request_whose_prompt_was_left_alone(user: User, log: Path) -> None:
    text = user("prompt", "explain", "req_2").stdout
    assert "left out of the conversation: nothing" in text
    assert "untouched" in text


@pytest.mark.parametrize(
    ("named", "said"),
    [("req_", "several requests begin with 'req_'"), ("x'y", 'no request "x\'y" in the log')],
)
def test_which_request_must_be_clear(user: User, log: Path, named: str, said: str) -> None:
    result = user("prompt", "explain", named)
    assert result.exit_code == 2 and said in result.stderr

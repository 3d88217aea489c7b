"""A conversation over its window, summarised by the engine's own model before it is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anyclaude.config.settings import BackendSettings, ModelSettings, PromptSettings
from tests.gateway.kit import gate

SCRIPT = """
otherwise = "That is not known."
[[answers]]
when = "Tell in at most"
says = "The user wants a parser for invoices."
[[answers]]
when = "The user wants a parser for invoices."
says = "I know."
"""
SESSION = {"x-claude-code-session-id": "long"}


def talk(turns: int) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Begin."}]
    for n in range(turns):
        said = f"In step {n} the file number {n} was read, and there was little of note in it. "
        messages += [
            {"role": "assistant", "content": said * 4},
            {"role": "user", "content": f"Go on with number {n}."},
        ]
    return messages


async def test_its_own_model_tells_what_was_cut_and_the_next_turn_extends_it(
    tmp_path: Path,
) -> None:
    script = tmp_path / "script.toml"
    script.write_text(SCRIPT)
    async with gate(
        tmp_path,
        {"mlx": BackendSettings()},
        model=ModelSettings(default=f"scripted:{script}", context_limit=2_000),
        prompt=PromptSettings(overflow="compress", summaries="model"),
    ) as at:
        messages = talk(25)
        assert (await at.stream(messages=messages, headers=SESSION)).text == "I know."
        messages += [
            {"role": "assistant", "content": "I know."},
            {"role": "user", "content": "And now?"},
        ]
        assert (await at.stream(messages=messages, headers=SESSION)).text == "I know."
        first, second = await at.rows("overflow, cache_read_tokens, input_tokens, status")
        assert first[0].startswith("compress: ") and "; told by the model in " in first[0]
        assert second[0] == ""
        assert second[1] > 500 and second[2] < 100, "what was written down once is read once"
        events = await at.runtime.control.sql("SELECT count(*) FROM events WHERE level = 'warning'")
        assert events.rows[0][0] == 0

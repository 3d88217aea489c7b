"""Titles go to the small model, and are written by the other when that can't."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anyclaude.config.settings import BackendSettings, ModelSettings
from tests.doubles.chaos_upstream import free_port
from tests.gateway.kit import gate, openai

TITLE: dict[str, Any] = {
    "model": "claude-haiku-4-5",
    "max_tokens": 32000,
    "messages": [{"role": "user", "content": "Mend the cache"}],
    "output_config": {
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {"title": {"type": "string"}},
                "required": ["title"],
            },
        }
    },
}


def scripted(folder: Path, name: str, says: str) -> BackendSettings:
    script = folder / f"{name}.toml"
    script.write_text(f"prefill = 0\ndecode = 0\n[[answers]]\nsays = '{says}'\n")
    return BackendSettings("scripted", script=str(script))


async def test_titles_and_nothing_else_go_to_the_small_model(tmp_path: Path) -> None:
    backends = {
        "big": scripted(tmp_path, "big", "I am large."),
        "small": scripted(tmp_path, "small", '{"title": "Mending"}'),
    }
    async with gate(tmp_path, backends, model=ModelSettings(small="small/tiny")) as at:
        assert (await at.stream(TITLE)).text == '{"title": "Mending"}'
        assert (await at.stream()).text == "I am large."
        probe = await at.ask({**TITLE, "max_tokens": 1, "output_config": {}})
        assert probe.status == 200
        rows = await at.rows("role, backend, model, output_tokens, route_reason")
        assert rows[0][:3] == ("title", "small", "tiny")
        assert [row[:2] for row in rows[1:]] == [("main", "big"), ("probe", "big")]
        assert rows[2][3] == 1


async def test_a_small_model_that_is_away_costs_nobody_the_title(tmp_path: Path) -> None:
    backends = {
        "big": scripted(tmp_path, "big", '{"title": "By the large one"}'),
        "small": openai(f"http://127.0.0.1:{free_port()}/v1"),
    }
    async with gate(tmp_path, backends, model=ModelSettings(small="small/tiny")) as at:
        assert (await at.stream(TITLE)).text == '{"title": "By the large one"}'
        assert await at.row("role, backend, status") == ("title", "big", 200)


async def test_a_title_without_an_end_ends(tmp_path: Path) -> None:
    backends = {"big": scripted(tmp_path, "big", "on and on " * 2000)}
    async with gate(tmp_path, backends) as at:
        await at.stream(TITLE)
        assert await at.row("output_tokens, stop_reason") == (512, "max_tokens")
        await at.stream({**TITLE, "output_config": {}})
        assert (await at.row("output_tokens"))[0] > 512

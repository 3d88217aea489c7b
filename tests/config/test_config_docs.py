"""``docs/configuration.md`` says what the schema and the defaults say."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from anyclaude.config import schema
from anyclaude.config.diagnostics import set_level
from anyclaude.config.docs import configuration_markdown
from anyclaude.config.layers import variable_of

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_current() -> None:
    assert DOCS.read_text(encoding="utf-8") == configuration_markdown(), "run: just docs"


def test_every_key_is_there_with_its_default_and_variable() -> None:
    lines = configuration_markdown().splitlines()
    for key in schema.all_keys():
        variable = variable_of(key.name).replace(schema.ANY_NAME, "NAME")
        if key.kind == "tables":
            assert any(line.startswith(f"`{variable}` holds all of them.") for line in lines)
            assert str(key.rule["description"]) in lines
            continue
        (line,) = [line for line in lines if f"`{variable}`" in line]
        assert str(key.rule["description"]) in line
        assert f"`{key.name.rpartition('.')[2]}`" in line
    for key in schema.entry_keys():
        leaf = key.name.rpartition(".")[2]
        assert any(
            line.startswith(f"| `{leaf}` | ") and str(key.rule["description"]) in line
            for line in lines
        )
    assert any("| `8082` | `ANYCLAUDE_SERVER_PORT`, `--port` |" in line for line in lines)


@pytest.fixture
def loggers() -> Iterator[tuple[logging.Logger, ...]]:
    """The root, our own loggers and asyncio's, put back as they were."""
    found = tuple(logging.getLogger(name) for name in (None, "anyclaude", "tui", "asyncio"))
    before = [logger.level for logger in found]
    yield found
    for logger, level in zip(found, before, strict=True):
        logger.setLevel(level)


@pytest.mark.parametrize(
    ("level", "ours", "others"),
    [
        (0, logging.ERROR, logging.ERROR),
        (1, logging.WARNING, logging.WARNING),
        (2, logging.INFO, logging.WARNING),
        (3, logging.DEBUG, logging.WARNING),
    ],
)
def test_the_level_is_ours_and_libraries_stay_quiet(
    loggers: tuple[logging.Logger, ...], level: int, ours: int, others: int
) -> None:
    set_level(level)
    assert [logger.level for logger in loggers] == [others, ours, ours, logging.ERROR]

"""``docs/cli.md`` says what the commands say."""

from __future__ import annotations

from pathlib import Path

import click

from anyclaude.cli.docs import commands_markdown
from tui.docs import markdown

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_page_is_current() -> None:
    assert DOCS.read_text(encoding="utf-8") == markdown(), "run: just docs"


def test_usage_options_and_defaults_of_a_command() -> None:
    @click.group()
    def program() -> None:
        """Does things."""

    @program.command()
    @click.argument("name")
    @click.argument("path", required=False)
    @click.option("--count", type=int, default=3, show_default=True, help="How many.")
    @click.option("--kind", type=click.Choice(["a", "b"]))
    @click.option("--on/--off", help="Whether.")
    def go(**_: object) -> None:
        """Goes.

        And returns.
        """

    page = commands_markdown({"program": program})
    assert "## `program`\n\nDoes things.\n\n```\nprogram COMMAND\n```\n" in page
    assert "### `program go`\n\nGoes.\n\nAnd returns.\n" in page
    assert "```\nprogram go [OPTIONS] NAME [PATH]\n```" in page
    assert "| `--count` N | How many. Default: 3. |" in page
    assert "| `--kind` a/b |  |" in page
    assert "| `--on`, `--off` | Whether. |" in page

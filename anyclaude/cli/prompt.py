"""``anyclaude prompt``: what of a prompt the model was shown."""

from __future__ import annotations

import click

from anyclaude.cli.options import with_settings
from anyclaude.cli.output import table
from anyclaude.cli.sql import query_log
from anyclaude.config.settings import Settings
from anyclaude.errors import UsageError

_REQUEST = """
    SELECT id, model, prompt_tier, prompt_id, prompt_tokens_before, prompt_tokens_after,
           input_tokens + cache_read_tokens + cache_creation_tokens, window_tokens, overflow
    FROM requests WHERE {where} ORDER BY started_at DESC LIMIT 2
"""
_SECTIONS = """
    SELECT place, kind, importance, protected, action, tokens_before, tokens_after, title
    FROM prompt_sections WHERE prompt_id = '{id}' ORDER BY position
"""
_COLUMNS = ("place", "kind", "importance", "protected", "action", "before", "after", "part")
_MOST = 10_000


@click.group()
def prompt() -> None:
    """What of a request the model was shown."""


@prompt.command()
@click.argument("request")
@with_settings
def explain(settings: Settings, request: str) -> None:
    """Print the parts of a request's prompt with their tokens before and after.

    REQUEST is a request's id or how it begins; 'last' is the newest whose prompt was shortened.
    """
    named = "prompt_tier <> ''" if request == "last" else f"starts_with(id, {_quoted(request)})"
    found = query_log(settings, _REQUEST.format(where=named), 2).rows
    if not found:
        raise UsageError(f"no request {request!r} in the log; 'anyclaude logs tail' shows ids")
    if len(found) > 1 and request != "last" and found[0][0] != request:
        raise UsageError(f"several requests begin with {request!r}; give more of the id")
    (id, model, tier, prompt_id, before, after, tokens, window, overflow) = found[0]
    click.echo(f"request {id}, model {model}")
    of = f", {100 * int(str(tokens)) / int(str(window)):.0f} % of {window}" if window else ""
    click.echo(f"prompt: {tokens} tokens{of}")
    click.echo(f"left out of the conversation: {overflow or 'nothing'}")
    if not tier:
        click.echo("system texts and tools: untouched (prompt.tier is off, or nothing to shorten)")
        return
    percent = f" ({100 * int(str(after)) / int(str(before)):.1f} %)" if before else ""
    click.echo(f"system texts and tools: tier {tier}, {before} tokens, {after} shown{percent}")
    rows = query_log(settings, _SECTIONS.format(id=str(prompt_id).replace("'", "''")), _MOST).rows
    click.echo()
    click.echo(table(_COLUMNS, rows))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

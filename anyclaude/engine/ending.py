"""How an answer ended: what the model wrote of it, the prompt's tokens by where they came from,
and the times it took."""

from __future__ import annotations

from anyclaude.backend import Finish
from anyclaude.engine.job import Job
from anyclaude.engine.rows import Ended, Row
from anyclaude.types import Tokens, Usage


def finish_of(
    end: Ended, now: float, eos_ids: frozenset[int], *, kv_bytes: int, token_seconds: float
) -> Finish:
    """The end of a complete row; ``token_seconds`` is what reading a token of a prompt takes."""
    row, job = end.row, end.row.job
    first = row.first_token or now
    written = _answer_tokens(row, eos_ids)
    return Finish(
        reason=end.reason,
        usage=usage_of(job, job.lease.length, len(written)),
        tokens=() if end.stop_sequence else written,
        stop_sequence=end.stop_sequence,
        queue_ms=(row.started - job.submitted) * 1000,
        prefill_ms=(first - row.started) * 1000,
        decode_ms=(now - first) * 1000,
        kv_bytes=kv_bytes,
        time_saved_ms=job.lease.length * token_seconds * 1000,
    )


def _answer_tokens(row: Row, eos_ids: frozenset[int]) -> Tokens:
    """What the model wrote, without the token that ended it."""
    tokens = row.tokens
    return tuple(tokens[:-1] if tokens and tokens[-1] in eos_ids else tokens)


def usage_of(job: Job, reused: int, output_tokens: int) -> Usage:
    """Anthropic's split of the prompt: read, newly written up to the mark, and the rest."""
    created = max(0, job.mark_tokens - reused)
    return Usage(
        input_tokens=len(job.tokens) - reused - created,
        cache_read_tokens=reused,
        cache_creation_tokens=created,
        output_tokens=output_tokens,
    )

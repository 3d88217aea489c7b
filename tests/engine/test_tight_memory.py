"""Jobs that start only after the memory guard has had its way."""

from __future__ import annotations

from pathlib import Path

from anyclaude.backend import Finish
from anyclaude.engine.footprint import Reading
from anyclaude.engine.job import Job, JobReport
from anyclaude.engine.memory import MemoryGuard
from anyclaude.engine.memory_policy import MIB, MemoryLimits
from anyclaude.engine.sampling import ResolvedSampling
from anyclaude.engine.serving import Serving
from anyclaude.types import Tokens
from tests.doubles.token_model import DoubleLoader
from tests.engine.conftest import LIMITS, digest

LIMIT = MemoryLimits(footprint=100 * MIB, buffers=MIB, wired=0, soft_free=0, hard_free=0)
TURN = "<|im_start|>user\nHello there<|im_end|>\n<|im_start|>assistant\n"


def _serving(embedded: Path, probe: list[Serving], told: list[str]) -> Serving:
    def read() -> Reading:
        full = bool(probe) and probe[0].tree.stats().nbytes > 0
        return Reading(95 * MIB if full else 10 * MIB, 1 << 40, 1 << 39)

    guard = MemoryGuard(
        LIMIT, read, lambda level, kind, text: told.append(f"{kind}: {text}"), max_rows=4
    )
    model = DoubleLoader(embedded, digest, width=512)("double", lambda fraction, what: None)
    return Serving(model, LIMITS, lambda nbytes: None, lambda: 0.0, guard)


def _answer(serving: Serving, tokens: Tokens, name: str) -> list[JobReport]:
    reports: list[JobReport] = []
    lease = serving.tree.lease(tokens[:-1])
    sampling = ResolvedSampling()
    serving.submit(Job(name, tokens, lease, 8, sampling, (), 0, 0.0, 0, reports.append))
    for _ in range(40):
        if serving.idle:
            break
        serving.reports(serving.step())
    return reports


def test_a_job_whose_own_prefix_goes_in_a_reset_starts_cold(embedded_model_dir: Path) -> None:
    told: list[str] = []
    probe: list[Serving] = []
    serving = _serving(embedded_model_dir, probe, told)
    encode = serving.model.tokenizer.encode
    first = tuple(encode(TURN))
    (*_, end) = _answer(serving, first, "first")
    assert isinstance(end, Finish)
    probe.append(serving)  # From now on what the tree holds is what is too much.

    again = (*first, *encode("more" + TURN))
    assert serving.tree.match_length(again[:-1]) > 0
    (*_, end) = _answer(serving, again, "again")
    assert isinstance(end, Finish), end
    assert end.usage.cache_read_tokens == 0
    assert told[-1].startswith("reset: ") and "emptied the prefix cache" in told[-1]
    assert serving.idle

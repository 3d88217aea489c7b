"""``python -m tests.soak``: many clients, failing backends, and a server that must not grow."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.soak.stage import Plan, Report, soak
from tests.soak.watch import drift, markdown, memory, wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--think", type=float, default=2.0, help="longest pause between requests")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    plan = Plan(given.clients, given.minutes * 60, think_s=given.think, seed=given.seed)
    with tempfile.TemporaryDirectory(prefix="anyclaude-soak-") as folder:
        report = asyncio.run(soak(Path(folder), plan))
    problems = [*report.wrong, *wrong(report.samples, report.before, report.after, plan.clients)]
    lines = [*told(report), *(problems or ["nothing is wrong"])]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if problems else 0


def told(report: Report) -> list[str]:
    middle, last = (size / 2**20 for size in drift(report.samples, memory))
    most = max(sample.descriptors for sample in report.samples)
    return [
        markdown(report.samples),
        "",
        f"requests: {report.tally.sent:,}, rows in the log: {report.rows:,}",
        f"outcomes: {dict(report.tally.outcomes.most_common())}",
        f"faults: {dict(report.faults.most_common())}",
        f"memory: {middle:.1f} MB in the middle third, {last:.1f} MB in the last",
        f"descriptors: {report.before.descriptors} before, at most {most}, "
        f"{report.after.descriptors} after",
        f"log: {report.log_bytes / 2**20:.0f} MB",
    ]


if __name__ == "__main__":
    sys.exit(main())

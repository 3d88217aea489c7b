"""A long conversation stays at the engine that has read it; what is new goes where it is fast."""

from __future__ import annotations

from pathlib import Path

from anyclaude.config.settings import BackendSettings, ModelSettings, RouteSettings
from tests.doubles.anthropic_upstream import anthropic_double
from tests.gateway.kit import BODY, anthropic, gate
from tests.gateway.test_faults import BEGUN, END

SCRIPT = """
prefill = 500
[[answers]]
says = "Read."
"""
LONG = "word " * 4000


async def test_the_live_prefix_decides(tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_text(SCRIPT)
    backends = {"mlx": BackendSettings(), "claude": BackendSettings()}
    local = RouteSettings("local-*", ("mlx",))
    either = RouteSettings("*", ("mlx", "claude"), "cache-aware", affinity=False)
    async with anthropic_double() as double:
        double.streams = lambda: [BEGUN + END]
        backends["claude"] = anthropic(double.url)
        model = ModelSettings(default=f"scripted:{script}")
        async with gate(tmp_path, backends, local, either, model=model) as at:
            session = {"x-claude-code-session-id": "old"}
            talk = [{"role": "user", "content": "word " * 700}]
            await at.stream(model="local-x", messages=talk, headers=session)
            talk += [
                {"role": "assistant", "content": "Read."},
                {"role": "user", "content": "And now?"},
            ]
            old = await at.stream(messages=talk, headers=session)
            new = await at.stream(
                messages=[{"role": "user", "content": LONG}],
                headers={"x-claude-code-session-id": "new"},
            )
            assert old.headers["x-anyclaude-backend"] == "mlx"
            assert new.headers["x-anyclaude-backend"] == "claude"
            reasons = await at.rows("route_reason, cache_read_tokens > 700")
            assert "tokens in its cache" in reasons[1][0]
            assert reasons[1][1]
            assert reasons[2][0].startswith("cache-aware: first token soonest: ")
    assert len(double.requests) == 1
    assert BODY["model"] == "claude-opus-5"

"""A request as the server took it in, and how routes and other backends are to see it."""

from __future__ import annotations

from dataclasses import dataclass, field

from anyclaude.backend import RelayRequest
from anyclaude.routing.values import Asked
from anyclaude.types import ClientInfo, JsonValue, MessagesRequest, Role

MESSAGES = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
CHARS_PER_TOKEN = 3.8
"""Of Claude Code's requests as JSON, measured on 2.1.330; only routes go by it."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as the server took it in: its id, when, from whom, and the JSON fit for the log.

    ``raw``, ``headers`` and ``query`` are as they came, secrets included, for a backend that the
    request is passed on to, without a key that opened our own door; ``payload`` is ``raw`` as
    values, ``key_name`` names that key if it is a virtual one. ``replay_of`` is the request that is
    run again, without a client: what it tells of the client is known already, and its answer will
    never come back.
    """

    id: str
    started_at: float
    client: ClientInfo
    body: str
    replay_of: str = ""
    raw: bytes = field(default=b"", repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    query: str = ""
    payload: JsonValue = field(default=None, repr=False)
    key_name: str = ""

    @property
    def conversation(self) -> str:
        """Session and agent in one: a subagent carries its parent's session id."""
        client = self.client
        return f"{client.session_id}/{client.agent_id}" if client.agent_id else client.session_id

    def asked(self, request: MessagesRequest, role: Role) -> Asked:
        """The request as the routes see it."""
        return Asked(
            model=request.model,
            role=role,
            headers=self.client.headers,
            prompt_tokens=round(len(self.body) / CHARS_PER_TOKEN),
            body_bytes=len(self.raw) or len(self.body),
            tools=tuple(tool.name for tool in request.tools),
            session=self.conversation,
            id=self.id,
        )

    def as_received(self, path: str) -> RelayRequest:
        """The request as a backend of the client's own API gets it."""
        return RelayRequest(
            self.id,
            path,
            self.query,
            self.headers or self.client.headers,
            self.raw or self.body.encode("utf-8", "replace"),
            session_id=self.client.session_id,
            payload=self.payload,
        )

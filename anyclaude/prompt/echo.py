"""The tokens a model generated, put back in place of the client's rewriting of them.

The client changes what the model wrote before it sends it back, and rendering that would break
the prefix at every call. So the exact tokens of each answer are kept, and stand in for the echo
when, and only when, the echo is the generated turn under the client's own normalisations. All
work, hashing included, runs on one thread of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from anyclaude.backend import EchoTurn
from anyclaude.events import SystemEvent
from anyclaude.prompt.echo_disk import EchoDisk
from anyclaude.prompt.echo_keys import (
    Prefix,
    content_digest,
    pack_content,
    pack_tokens,
    turn_key,
    unpack_content,
    unpack_tokens,
)
from anyclaude.prompt.echo_match import Directories, same_turn
from anyclaude.prompt.echo_turn import StoredTurn
from anyclaude.types import Block, Message, Tokens

T = TypeVar("T")
Fate: TypeAlias = Literal["put_back", "changed", "unknown"]


@dataclass(frozen=True, slots=True)
class Recalled:
    """What is known of a request's assistant messages.

    ``changed`` has the indices of messages whose turn is known but came back different.
    ``newest`` is the fate of the last assistant message, the one whose echo is new.
    """

    echoes: tuple[EchoTurn, ...] = ()
    changed: tuple[int, ...] = ()
    newest: Fate | None = None


class EchoStore:
    """Generated turns by session and call id, in memory and in a file.

    ``path`` ``None`` keeps them in memory alone. Both limits are bytes of packed turns. Trouble
    with the file goes to ``report``, on the loop. The three counters tell the fate of the
    newest assistant message of every :meth:`recall`.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        limit_bytes: int = 256 * 2**20,
        memory_bytes: int = 32 * 2**20,
        report: Callable[[SystemEvent], None] = lambda event: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.put_back = 0
        self.changed = 0
        self.unknown = 0
        self._report = report
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="anyclaude-echo")
        self._vault = _Vault(path, limit_bytes, memory_bytes, self._thread.submit)
        self._closed = False

    async def remember(
        self,
        model_fingerprint: str,
        session_id: str,
        messages_before: Sequence[Message],
        content: Sequence[Block],
        tokens: Tokens,
        *,
        thinking: bool,
    ) -> None:
        """Keeps the ``tokens`` of a turn whose blocks went to the client as ``content``.

        ``messages_before`` are the canonical messages it answered, and ``thinking`` is whether
        their request had it on. A turn that shows nothing is never echoed, so it isn't kept.
        Returns when :meth:`recall` would find it; the file is written after that.
        """
        await self._run(
            lambda vault: vault.remember(
                model_fingerprint, session_id, messages_before, content, tokens, thinking
            ),
            None,
        )

    async def recall(
        self,
        model_fingerprint: str,
        session_id: str,
        messages: Sequence[Message],
        *,
        cwd: str | None = None,
    ) -> Recalled:
        """The tokens to put back into a canonical request.

        ``cwd`` is the client's working directory if the request tells it
        (:func:`~anyclaude.prompt.echo_match.working_directory`).
        """
        if all(message.role != "assistant" for message in messages):
            return Recalled()
        recalled = await self._run(
            lambda vault: vault.recall(model_fingerprint, session_id, messages, cwd), Recalled()
        )
        match recalled.newest:
            case "put_back":
                self.put_back += 1
            case "changed":
                self.changed += 1
            case "unknown":
                self.unknown += 1
        return recalled

    async def close(self) -> None:
        """Finishes what is queued and closes the file. Later calls do nothing."""
        if self._closed:
            return
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._vault.close)
        self._deliver()
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[_Vault], T], otherwise: T) -> T:
        if self._closed:
            return otherwise
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, work, self._vault)
        except RecursionError:
            self._vault.warnings.append("a message is nested too deeply to be compared")
            return otherwise
        finally:
            self._deliver()

    def _deliver(self) -> None:
        while self._vault.warnings:
            message = self._vault.warnings.pop(0)
            self._report(SystemEvent(self._clock(), "warning", "echo", message))


class _Vault:
    """The store's state. Only its own thread calls it; ``warnings`` is read by the loop.

    ``later`` puts work at the end of that thread's queue.
    """

    def __init__(
        self,
        path: Path | None,
        disk_limit: int,
        memory_limit: int,
        later: Callable[[Callable[[], None]], object],
    ) -> None:
        self.warnings: list[str] = []
        self._later = later
        self._unwritten: list[tuple[bytes, str, StoredTurn]] = []
        self._path = path
        self._disk_limit = disk_limit
        self._memory_limit = memory_limit
        self._disk: EchoDisk | None = None
        self._front: OrderedDict[bytes, StoredTurn] = OrderedDict()
        self._front_bytes = 0

    def remember(
        self,
        fingerprint: str,
        session: str,
        before: Sequence[Message],
        content: Sequence[Block],
        tokens: Tokens,
        thinking: bool,
    ) -> None:
        prefix = Prefix()
        for message in before:
            prefix.add(message)
        key = turn_key(fingerprint, session, prefix.digest, content)
        if key is None or not tokens:
            return
        turn = StoredTurn(pack_content(content), pack_tokens(tokens), thinking)
        self._keep(key, turn)
        if self._path is not None:
            self._unwritten.append((key, session, turn))
            self._later(self._write)

    def recall(
        self, fingerprint: str, session: str, messages: Sequence[Message], cwd: str | None
    ) -> Recalled:
        keys = _keys(fingerprint, session, messages)
        turns = self._load([key for key in keys.values() if key], session)
        echoes: list[EchoTurn] = []
        changed: list[int] = []
        newest: Fate | None = None
        directories = Directories(cwd)
        for index, message in enumerate(messages):
            if message.role != "assistant":
                continue
            key = keys.get(index)
            newest = "unknown"
            if key is not None and key in turns:
                newest, tokens = self._judge(key, turns[key], message, directories.known)
                if newest == "put_back":
                    echoes.append(EchoTurn(index, tokens, turns[key].thinking))
                elif newest == "changed":
                    changed.append(index)
            directories.follow(message)
        return Recalled(tuple(echoes), tuple(changed), newest)

    def close(self) -> None:
        self._write()
        if self._disk is not None:
            self._disk.close()

    # ------------------------------------------------------------------------------- inside

    def _judge(
        self, key: bytes, turn: StoredTurn, message: Message, known: frozenset[str] | None
    ) -> tuple[Fate, Tokens]:
        """The turn's tokens if ``message`` is its echo; a damaged turn is forgotten."""
        digest = content_digest(message.content)
        try:
            if turn.accepted != digest:
                if not same_turn(unpack_content(turn.content), message.content, known):
                    return "changed", ()
                turn.accepted = digest
            return "put_back", unpack_tokens(turn.tokens)
        except ValueError as error:
            self.warnings.append(f"a stored turn was damaged ({error}) and is forgotten")
            self._drop(key)
            return "unknown", ()

    def _load(self, keys: Sequence[bytes], session: str) -> dict[bytes, StoredTurn]:
        found: dict[bytes, StoredTurn] = {}
        for key in keys:
            if key in self._front:
                self._front.move_to_end(key)
                found[key] = self._front[key]
        missing = [key for key in keys if key not in found]
        if missing and (disk := self._opened()):
            self._write()
            for key, turn in disk.get(missing, session).items():
                self._keep(key, turn)
                found[key] = turn
        return found

    def _keep(self, key: bytes, turn: StoredTurn) -> None:
        self._evict(key)
        self._front[key] = turn
        self._front_bytes += turn.size
        while self._front_bytes > self._memory_limit:
            self._evict(next(iter(self._front)))

    def _evict(self, key: bytes) -> None:
        old = self._front.pop(key, None)
        if old is not None:
            self._front_bytes -= old.size

    def _drop(self, key: bytes) -> None:
        self._evict(key)
        if disk := self._opened():
            disk.delete(key)

    def _write(self) -> None:
        turns, self._unwritten = self._unwritten, []
        if turns and (disk := self._opened()):
            for key, session, turn in turns:
                disk.put(key, session, turn)

    def _opened(self) -> EchoDisk | None:
        if self._disk is None and self._path is not None:
            self._disk = EchoDisk(self._path, self._disk_limit, self.warnings.append)
        return self._disk


def _keys(fingerprint: str, session: str, messages: Sequence[Message]) -> dict[int, bytes | None]:
    """Names of the assistant messages that are whole turns of one message each.

    The last message is none of them: an assistant message there is to be continued.
    """
    keys: dict[int, bytes | None] = {}
    prefix = Prefix()
    for index, message in enumerate(messages):
        if message.role == "assistant" and index + 1 < len(messages):
            before = messages[index - 1].role if index else "user"
            if "assistant" not in (before, messages[index + 1].role):
                keys[index] = turn_key(fingerprint, session, prefix.digest, message.content)
        prefix.add(message)
    return keys

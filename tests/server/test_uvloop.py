"""How exchanges end on the loop that ``anyclaude serve`` runs on."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial

import pytest

from anyclaude import eventloop
from tests.server import test_endings as endings
from tests.server import test_hostile as hostile

pytest.importorskip("uvloop")


@pytest.mark.parametrize(
    "test",
    [
        partial(endings.test_a_hang_up_stops_the_generation, True),
        partial(endings.test_a_hang_up_stops_the_generation, False),
        endings.test_a_hang_up_between_two_tokens_stops_the_generation,
        endings.test_the_connection_is_kept_after_a_stream,
        endings.test_shutdown_ends_streams_with_an_error_event_at_once,
        endings.test_shutdown_ends_event_streams_and_idle_connections,
        endings.test_shutdown_does_not_wait_for_a_client_that_does_not_read,
        endings.test_cancelling_serve_ends_everything_too,
        partial(endings.test_a_client_that_reads_nothing_is_dropped, True),
        endings.test_a_client_that_reads_slowly_is_kept,
        endings.test_a_refusal_leaves_the_connection_usable,
        hostile.test_two_hundred_connections_at_once,
        hostile.test_pipelined_requests_are_answered_in_turn,
        hostile.test_a_refused_upload_is_read_so_that_the_refusal_can_be,
    ],
)
def test_on_uvloop(test: Callable[[], Coroutine[object, object, None]]) -> None:
    eventloop.run(test())

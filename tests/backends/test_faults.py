"""Error answers of every known shape, and how long to wait after them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.backends import faults
from anyclaude.errors import UpstreamError

NOW = 1_780_000_000.0


def answered(status: int, body: object = b"", **headers: str) -> UpstreamError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return faults.answered("there", status, pairs, raw, now=NOW)


SHAPES: list[tuple[object, str]] = [
    ({"type": "error", "error": {"type": "api_error", "message": "no"}}, "no"),  # Anthropic
    ({"error": {"message": "no", "type": "t", "param": None, "code": None}}, "no"),  # OpenAI
    ({"error": "no"}, "no"),  # LM Studio, Ollama, mlx_lm.server
    ({"error": "Not Found", "message": "no such route"}, "Not Found: no such route"),
    ({"object": "error", "message": "no", "type": "BadRequestError", "code": 400}, "no"),  # vLLM
    ({"error": {"code": 400, "message": "no", "type": "invalid_request_error"}}, "no"),  # llama.cpp
    ({"detail": "no"}, "no"),  # FastAPI
    (
        {"detail": [{"loc": ["body", "messages", 0], "msg": "Field required", "type": "missing"}]},
        "body.messages.0: Field required",
    ),
    ({"detail": {"error": {"message": "no"}}}, "no"),
    (
        {
            "error": {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {"raw": '{"error":{"message":"bad tool"}}', "provider_name": "x"},
            }
        },
        "Provider returned error: bad tool",
    ),  # OpenRouter
    ([{"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}], "no"),  # Google
    ({"type": "about:blank", "title": "Bad", "status": 400}, "Bad"),
    ({"title": "Bad", "detail": "more of it"}, "more of it"),
    ("no", "no"),
    (b"plain\r\n  text\x00\x1b[31m ", "plain text [31m"),
    (b"<html><head><title>502 Bad\n Gateway</title></head>" + b"x" * 3000, "502 Bad Gateway"),
    (b"<!DOCTYPE html><body><h1>It <b>broke</b> &amp; burnt</h1>", "It broke & burnt"),
    (b"<html><body>nothing</body></html>", "a page without a title"),
    (b"", "there answered with status 418"),
    ({}, "there answered with status 418"),
    (7, "there answered with status 418"),
    (b"[" * 100_000, "[" * 999 + "…"),
    (b"\xff\xfe", "\ufffd\ufffd"),
]


@pytest.mark.parametrize(("body", "message"), SHAPES)
def test_a_message_out_of_any_shape(body: object, message: str) -> None:
    error = answered(418, body)
    assert error.message == message
    assert error.answered
    assert "\n" not in error.message


def test_a_message_has_one_line_of_a_length_that_can_be_shown() -> None:
    error = answered(500, b"word " * 10_000)
    assert len(error.message) == faults.MAX_MESSAGE_CHARS


STATUSES = [
    (400, "invalid_request_error", "invalid_input", False),
    (401, "authentication_error", "invalid_input", False),
    (402, "billing_error", "resource", False),
    (403, "permission_error", "invalid_input", False),
    (404, "not_found_error", "invalid_input", False),
    (405, "invalid_request_error", "not_implemented", False),
    (408, "timeout_error", "timeout", True),
    (409, "invalid_request_error", "resource", True),
    (413, "request_too_large", "invalid_input", False),
    (422, "invalid_request_error", "invalid_input", False),
    (429, "rate_limit_error", "resource", True),
    (500, "api_error", "unknown", True),
    (501, "api_error", "not_implemented", False),
    (502, "api_error", "network", True),
    (503, "overloaded_error", "resource", True),
    (504, "timeout_error", "timeout", True),
    (520, "api_error", "unknown", True),
    (529, "overloaded_error", "resource", True),
]


@pytest.mark.parametrize(("status", "kind", "category", "retryable"), STATUSES)
def test_each_status(status: int, kind: str, category: str, retryable: bool) -> None:
    error = answered(status, {"error": {"message": "no"}})
    assert (error.status, error.type, error.category, error.retryable) == (
        status,
        kind,
        category,
        retryable,
    )
    assert (error.message, error.backend, error.overflow) == ("no", "there", False)


def test_the_servers_own_type_is_kept_where_the_client_knows_it() -> None:
    assert answered(500, {"error": {"type": "overloaded_error"}}).type == "overloaded_error"
    assert answered(500, {"error": {"type": "server_error"}}).type == "api_error"


def test_an_empty_purse_is_no_reason_to_try_again() -> None:
    error = answered(429, {"error": {"message": "You exceeded", "code": "insufficient_quota"}})
    assert not error.retryable


def test_a_server_may_ask_not_to_be_asked_again() -> None:
    assert not answered(500, b"", x_should_retry="false").retryable
    assert not answered(400, b"", x_should_retry="true").retryable


def test_no_memory_is_a_lack_of_resources() -> None:
    error = answered(500, {"error": "[METAL] Command buffer execution failed: Insufficient Memory"})
    assert (error.category, error.retryable) == ("resource", True)


def test_the_answer_is_kept_for_the_client() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    headers = (("retry-after", "3"), ("request-id", "req_1"))
    error = faults.answered("there", 529, headers, body, now=NOW)
    assert (error.raw, error.headers, error.retry_after) == (body, headers, 3.0)
    part = faults.answered("there", 529, headers, body[:50], whole=False, now=NOW)
    assert part.raw == b""


@pytest.mark.parametrize("status", [301, 302, 307, 304])
def test_a_redirect_is_a_wrong_address(status: int) -> None:
    error = answered(status, b"", location="https://elsewhere/v1")
    assert (error.status, error.category, error.retryable, error.answered) == (
        502,
        "schema",
        False,
        False,
    )
    assert "https://elsewhere/v1" in error.message


# ------------------------------------------------------------------------------- overflows


@pytest.mark.parametrize("status", [400, 413, 422, 500, 503])
def test_an_overflow_is_told_in_the_clients_words(status: int) -> None:
    said = "request (5000 tokens) exceeds the available context size (4096 tokens)"
    error = answered(status, {"error": {"message": said, "type": "exceed_context_size_error"}})
    assert error.message == "prompt is too long: 5000 tokens > 4096 maximum"
    assert (error.status, error.type, error.category) == (
        400,
        "invalid_request_error",
        "resource",
    )
    assert error.overflow
    assert not error.retryable


def test_an_overflow_without_figures_begins_as_the_client_expects() -> None:
    error = answered(400, {"error": "Context size has been exceeded."})
    assert error.message == "prompt is too long: Context size has been exceeded."
    assert answered(400, {"error": "prompt is too long"}).message == "prompt is too long"


def test_too_much_output_keeps_the_wording_that_makes_the_client_ask_for_less() -> None:
    said = (
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, "
        "decrease input length or `max_tokens` and try again"
    )
    error = answered(400, {"type": "error", "error": {"message": said}})
    assert error.message == said
    assert error.overflow


@pytest.mark.parametrize("status", [401, 402, 403, 404, 429])
def test_other_refusals_are_no_overflow_whatever_they_say(status: int) -> None:
    error = answered(status, {"error": {"message": "maximum context length is 1 tokens"}})
    assert not error.overflow
    assert error.status == status


# ------------------------------------------------------------------------ errors in streams


@pytest.mark.parametrize(
    ("payload", "status", "kind"),
    [
        ({"error": {"type": "overloaded_error", "message": "m"}}, 529, "overloaded_error"),
        ({"error": {"type": "api_error", "message": "m"}}, 500, "api_error"),
        ({"error": {"message": "m", "code": 429}}, 429, "rate_limit_error"),
        ({"error": {"message": "m", "code": "503"}}, 503, "overloaded_error"),
        ({"error": {"message": "m", "type": "server_error"}}, 500, "api_error"),
        ({"error": {"message": "m", "type": "BadRequestError"}}, 400, "invalid_request_error"),
        ({"error": {"message": "m", "code": 7, "status": "UNAVAILABLE"}}, 503, "overloaded_error"),
        ({"message": "m"}, 500, "api_error"),
        ("m", 500, "api_error"),
    ],
)
def test_an_error_inside_a_stream(payload: object, status: int, kind: str) -> None:
    error = faults.in_stream("there", payload)
    assert (error.message, error.status, error.type) == ("m", status, kind)
    assert error.answered


def test_an_overflow_inside_a_stream() -> None:
    error = faults.in_stream("there", {"error": {"message": "Context size has been exceeded."}})
    assert (error.status, error.overflow) == (400, True)


# ------------------------------------------------------------------------------ Retry-After


def date(offset: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW + offset, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((("retry-after", "7"),), 7.0),
        ((("Retry-After", " 0.25 "),), 0.25),
        ((("retry-after", "0"),), 0.0),
        ((("retry-after-ms", "1500"), ("retry-after", "9")), 1.5),
        ((("x-ms-retry-after-ms", "250"),), 0.25),
        ((("retry-after-ms", "soon"), ("retry-after", "9")), 9.0),
        ((("retry-after", date(30)),), 30.0),
        ((("retry-after", date(-30)),), 0.0),
        ((("retry-after", "Thursday, 28-May-26 20:27:10 GMT"),), 30.0),
        ((("retry-after", "Thu May 28 20:27:10 2026"),), 30.0),
        ((("retry-after", "-1"),), None),
        ((("retry-after", "nan"),), None),
        ((("retry-after", "inf"),), None),
        ((("retry-after", ""),), None),
        ((("retry-after", "a while"),), None),
        ((("retry-after", "Fri, 99 Foo 2026 99:99:99 GMT"),), None),
        ((), None),
    ],
)
def test_how_long_to_wait(headers: faults.Headers, seconds: float | None) -> None:
    assert faults.retry_after(headers, NOW) == seconds


@given(st.text())
def test_no_retry_after_raises(value: str) -> None:
    seconds = faults.retry_after((("retry-after", value),), NOW)
    assert seconds is None or seconds >= 0


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "type", "code", "detail", "metadata", "raw", "loc"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)


@given(_JSON | st.binary(), st.integers(300, 599))
def test_no_answer_raises(body: object, status: int) -> None:
    error = answered(status, body)
    assert error.message
    assert error.message.isprintable()
    assert 400 <= error.status < 600
    assert faults.in_stream("there", body if not isinstance(body, bytes) else None).message

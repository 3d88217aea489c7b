"""Pages of the open web: what may be asked, and what an answer is."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import ResolveResult

from anyclaude.backends import web as client
from anyclaude.backends.http import Timeouts
from anyclaude.backends.web import NotOnTheWeb, WebClient, is_public
from anyclaude.errors import UpstreamError

TIMES = Timeouts(5.0, 5.0, 5.0)


class Site:
    """A server on this machine that takes note of who asks."""

    def __init__(self) -> None:
        self.seen: list[web.Request] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        match request.path:
            case "/moved":
                return web.Response(status=302, headers={"location": "../there?a=b#c"})
            case "/odd":
                return web.Response(status=301, headers={"location": "http://[half"})
            case "/large":
                return web.Response(body=b"x" * 10_000, content_type="text/html")
            case "/gone":
                return web.Response(status=404, text="no")
            case _:
                headers = {"content-type": "Text/HTML; charset='Latin-1'"}
                return web.Response(body=b"<p>hello", headers=headers)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    app = web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def here(address: str) -> bool:
    """In these tests the open web is one address of this machine."""
    return address == "127.0.0.1"


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_what_is_public(address: str) -> None:
    assert is_public(address)
    assert is_public(f"::ffff:{address}") if "." in address else True


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "fe80::1",
        "fe80::1%lo0",
        "fd00::1",
        "ff02::1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "localhost",
        "",
    ],
)
def test_what_is_not(address: str) -> None:
    assert not is_public(address)


async def test_a_page_as_it_came(site: Site) -> None:
    asked = WebClient("tester/1", TIMES, public=here)
    got = await asked.get(f"{site.url}/a b?q=é#part", "text/html", 100)
    assert (got.status, got.content_type, got.charset, got.location) == (
        200,
        "text/html",
        "latin-1",
        "",
    )
    assert (got.body, got.whole) == (b"<p>hello", True)
    (request,) = site.seen
    assert request.raw_path == "/a%20b?q=%C3%A9"
    headers = request.headers
    assert (headers["user-agent"], headers["accept"]) == ("tester/1", "text/html")
    assert not {"cookie", "referer", "authorization"} & {name.lower() for name in headers}


async def test_redirects_are_told_and_bodies_are_bounded(site: Site) -> None:
    asked = WebClient("tester/1", TIMES, public=here)
    moved = await asked.get(f"{site.url}/moved", "*/*", 100)
    assert (moved.status, moved.location) == (302, f"{site.url}/there?a=b#c")
    assert (await asked.get(f"{site.url}/odd", "*/*", 100)).location == ""
    large = await asked.get(f"{site.url}/large", "*/*", 100)
    assert (large.body, large.whole) == (b"x" * 100, False)
    assert (await asked.get(f"{site.url}/gone", "*/*", 100)).status == 404


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:{port}/", "127.0.0.1 is no address of the open web"),
        ("http://[::ffff:127.0.0.1]:{port}/", "is no address of the open web"),
        ("http://localhost:{port}/", "localhost is at no address of the open web"),
        ("http://user:pass@example.com/", "example.com: an address with a user's name in it"),
        ("ftp://example.com/", "an address that isn't on the web"),
        ("file:///etc/passwd", "an address that isn't on the web"),
        ("http://", "an address that"),
        ("http://[half", "an address that can't be read"),
        ("http://example.com:0/", "an address that isn't on the web"),
        ("http://example.com:99999/", "an address that can't be read"),
    ],
)
async def test_nobody_is_asked_who_is_not_on_the_web(site: Site, address: str, said: str) -> None:
    port = site.url.rpartition(":")[2]
    with pytest.raises(NotOnTheWeb) as caught:
        await WebClient("tester/1", TIMES).get(address.format(port=port), "*/*", 100)
    assert said in str(caught.value)
    assert site.seen == []


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1"])
async def test_other_ways_to_write_this_machine(site: Site, host: str) -> None:
    port = site.url.rpartition(":")[2]
    with pytest.raises((NotOnTheWeb, UpstreamError)):
        await WebClient("tester/1", TIMES).get(f"http://{host}:{port}/", "*/*", 100)
    assert site.seen == []


async def test_a_name_that_has_a_private_address_beside_a_public_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was looked at is what is connected to: the other address is never tried."""

    class Names:
        async def resolve(self, host: str, port: int, family: Any) -> list[ResolveResult]:
            return [
                ResolveResult(
                    hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0
                )
                for address in ("10.0.0.1", "127.0.0.1")
            ]

        async def close(self) -> None:
            pass

    monkeypatch.setattr(client, "ThreadedResolver", Names)
    port = site.url.rpartition(":")[2]
    got = await WebClient("t", TIMES, public=here).get(f"http://two.example:{port}/", "*/*", 100)
    assert got.body == b"<p>hello"
    with pytest.raises(NotOnTheWeb, match=r"two.example is at no address of the open web"):
        await WebClient("t", TIMES).get(f"http://two.example:{port}/", "*/*", 100)
    assert len(site.seen) == 1

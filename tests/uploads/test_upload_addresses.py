"""Addresses that a visitor names, and what they must not lead to. Real servers on the loopback's many addresses."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from visiting import CELLS, begun, over, running

from dashboard.upload import addresses
from dashboard.upload.addresses import fetched, is_public
from edge.errors import InputError, InputTooLarge


class Site:
    """A web server that answers as it is told, and notes who asked for what."""

    def __init__(self, host: str) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                status, headers, body = site.answers[self.path]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer((host, 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def inner() -> Iterator[Site]:
    """What must not be reached."""
    site = Site("127.0.0.1")
    site.answers["/secret"] = 200, {}, b"secret"
    yield site
    site.close()


@pytest.fixture
def outer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """What stands for the internet: for this test, 127.0.0.2 is public."""
    monkeypatch.setattr(addresses, "is_public", lambda text: text == "127.0.0.2" or is_public(text))
    site = Site("127.0.0.2")
    yield site
    site.close()


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
     "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "2001::1", "192.0.2.1", "198.18.0.1", "240.0.0.1"],
)  # fmt: skip
def test_what_is_not_the_internet(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::808:808"])
def test_what_is(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "0"]
)
def test_this_machine_is_not_reached_under_any_name(inner: Site, host: str) -> None:
    with pytest.raises(InputError):
        fetched(f"http://{host}:{inner.port}/secret", largest=10**6, private=False)
    assert inner.asked == []


def test_unless_a_setting_allows_it(inner: Site) -> None:
    assert fetched(f"http://127.0.0.1:{inner.port}/secret", largest=10**6, private=True) == b"secret"


def test_a_redirect_leads_nowhere_else(inner: Site, outer: Site) -> None:
    there = f"http://127.0.0.2:{outer.port}"
    outer.answers["/a"] = 302, {"Location": f"http://127.0.0.1:{inner.port}/secret"}, b""
    outer.answers["/b"] = 302, {"Location": "file:///etc/passwd"}, b""
    outer.answers["/c"] = 302, {"Location": "/d"}, b""
    outer.answers["/d"] = 200, {}, b"picture"
    for path in ("/a", "/b"):
        with pytest.raises(InputError):
            fetched(there + path, largest=10**6, private=False)
    assert inner.asked == []
    assert fetched(there + "/c", largest=10**6, private=False) == b"picture"
    with pytest.raises(InputTooLarge):
        fetched(there + "/d", largest=3, private=False)


def test_a_name_that_changes_its_meaning_is_looked_up_once(
    inner: Site, outer: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer.answers["/"] = 200, {}, b"picture"
    answers = iter(["127.0.0.2", "127.0.0.1", "127.0.0.1"])

    def lookup(_host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert fetched(f"http://rebinds.example:{outer.port}/", largest=10**6, private=False) == b"picture"
    assert next(answers) == "127.0.0.1" and inner.asked == []


def test_a_name_with_one_private_address_among_others(outer: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(_host: str, port: int, **_: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in ("127.0.0.2", "10.0.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with pytest.raises(InputError, match="not to be reached"):
        fetched(f"http://mixed.example:{outer.port}/", largest=10**6, private=False)
    assert outer.asked == []


def test_the_systems_proxy_is_no_way_around(inner: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{inner.port}")
    with pytest.raises(InputError):
        fetched("http://127.0.0.1:9/secret", largest=10**6, private=False)
    assert inner.asked == []


def test_what_an_address_answers_with_is_read(tmp_path: Path, inner: Site) -> None:
    inner.answers["/cell.jpg"] = 200, {"Content-Type": "image/jpeg"}, CELLS[0].read_bytes()
    inner.answers["/page"] = 200, {"Content-Type": "text/html"}, b"<!doctype html><script>alert(1)</script>"

    async def go() -> list[str]:
        async with running(tmp_path, private_addresses=True) as uploads:
            job = await begun(uploads)
            for path in ("/cell.jpg", "/page"):
                await job.fetch(f"http://127.0.0.1:{inner.port}{path}")
            await job.fetch("file:///etc/passwd")
            job.end()
            await over(job)
            assert len(job.rows) == 1
            return [picture.error for picture in job.pictures]

    errors = asyncio.run(go())
    assert errors[0] == "" and "web page" in errors[1] and "begins with http" in errors[2]

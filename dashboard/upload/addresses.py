"""Fetching what a visitor names, without lending them this machine's place in the network.

The name is looked up once, every address that it has is judged, and the connection goes to one of those that
were judged: a name that means something else a moment later leads nowhere. Redirects pass the same way.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import urllib.request
from typing import Any, Final, Self

from edge.errors import InputError
from edge.pictures.fetch import SILENCE_S, TOTAL_S, fetch

LONGEST_S: Final = TOTAL_S + SILENCE_S
"""All of a fetch, with its redirects."""

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def fetched(address: str, *, largest: int, private: bool) -> bytes:
    """Read what an address answers with.

    Args:
        address: begins with ``http://`` or ``https://``.
        largest: bytes of the answer.
        private: whether this machine and its own network may be reached.

    Raises:
        InputError: it may not be reached, cannot be, or answers with something else than a file.
    """
    if not address.lower().startswith(("http://", "https://")):
        raise InputError("An address begins with http:// or https://")
    if private:
        return fetch(address, largest=largest)
    with _Deadline(LONGEST_S) as deadline:
        data = fetch(address, connect=(_Http(deadline), _Https(deadline)), largest=largest)
        if deadline.passed:  # a connection that was ended looks like an answer that came to its end
            raise InputError(f"{address} cannot be read: it took more than {LONGEST_S:.0f} s")
        return data


class _Deadline:
    """Ends all connections of one fetch after a time: a server that sends its head byte by byte would have no end.

    Args:
        seconds: from the start of the `with` block.

    Attributes:
        passed: the time is over.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._lock = threading.Lock()
        self._made: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def holds(self, connection: socket.socket) -> None:
        """It holds for a connection too.

        Raises:
            TimeoutError: the time is over.
        """
        with self._lock:
            if self.passed:
                raise TimeoutError("it took too long")
            self._made.append(connection)

    def _end(self) -> None:
        with self._lock:
            self.passed = True
            for connection in self._made:
                with contextlib.suppress(OSError):  # it has ended by itself
                    connection.shutdown(socket.SHUT_RDWR)


def is_public(text: str) -> bool:
    """Whether a numeric address lies in the internet, in whatever way it is written into IPv6."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if address.teredo is not None:
            return False
        if inner is not None:
            return is_public(str(inner))
    site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return address.is_global and not (address.is_multicast or address.is_reserved or site_local)


def _connected(host: str, port: int, timeout: float | None) -> socket.socket:
    """A connection to a host, all of whose addresses are public.

    Raises:
        InputError: one of them is not.
        OSError: it has none, or none answers.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not all(is_public(str(place[4][0])) for place in found):
        raise InputError(
            f"{host} is this machine or on its own network, which is not to be reached from here: "
            "upload the file itself"
        )
    problem: OSError | None = None
    for family, kind, protocol, _, place in found:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(timeout)
            connection.connect(place)
        except OSError as error:
            connection.close()
            problem = error
        else:
            return connection
    raise problem or OSError(f"{host} has no address")


class _Http(urllib.request.HTTPHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, req: urllib.request.Request) -> Any:
        deadline = self._deadline

        class Connection(http.client.HTTPConnection):
            def connect(self) -> None:
                self.sock = _connected(self.host, self.port, self.timeout)
                deadline.holds(self.sock)

        return self.do_open(Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def https_open(self, req: urllib.request.Request) -> Any:
        deadline = self._deadline

        class Connection(http.client.HTTPSConnection):
            def connect(self) -> None:
                plain = _connected(self.host, self.port, self.timeout)
                try:
                    deadline.holds(plain)
                    self.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)
                    deadline.holds(self.sock)
                except BaseException:
                    plain.close()
                    raise

        return self.do_open(Connection, req)

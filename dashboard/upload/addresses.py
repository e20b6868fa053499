"""Fetching what a visitor names, without lending them this machine's place in the network.

The name is looked up once, every address that it has is judged, and the connection goes to one of those that
were judged: a name that means something else a moment later leads nowhere. Redirects pass the same way.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import urllib.request
from typing import Any, Final

from edge.errors import InputError
from edge.pictures.fetch import fetch

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
    return fetch(address, connect=(_Http(), _Https()), largest=largest)


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
    return address.is_global and not address.is_multicast and not address.is_reserved


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


class _HttpConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = _connected(self.host, self.port, self.timeout)


class _HttpsConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        plain = _connected(self.host, self.port, self.timeout)
        try:
            self.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_HttpConnection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_HttpsConnection, req)

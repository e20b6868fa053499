"""What a broker's refusals mean, and what to do about them, in words. Reason codes as MQTT 5 numbers them."""

from __future__ import annotations

import socket
import ssl
from typing import Final

_LOGIN: Final = "check [mqtt] username and the password (leukoscope config show says where it is read from)"
_WAITS: Final = "nothing to do but wait; the device tries again by itself"

# Section 2.4 of the standard, https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html
_ADVICE: Final = {
    0x81: "the broker and this device do not understand each other; update the broker",
    0x82: "the broker and this device do not understand each other; update the broker",
    0x84: 'the broker does not know this version of MQTT; try [mqtt] protocol = "3.1.1"',
    0x85: "allow this device's client id on the broker",
    0x86: _LOGIN,
    0x87: "allow this device on the broker (its access rules), or " + _LOGIN,
    0x88: _WAITS,
    0x89: _WAITS,
    0x8A: "the broker has banned this device's name or address; lift that on the broker",
    0x8B: _WAITS,
    0x8C: _LOGIN,
    0x8E: "another client connects under the same name; give each device a [device] name of its own",
    0x90: "allow this topic on the broker",
    0x95: "raise the broker's limit on the size of packets",
    0x96: "raise the broker's limit on the rate of messages",
    0x97: "raise this device's quota on the broker, or make room there",
    0x9A: "allow retained messages on the broker: without them nobody hears what was said before",
    0x9B: "allow QoS 1 on the broker: without it nothing is acknowledged, and so nothing can be delivered for sure",
    0x9C: "the broker wants another server to be used; change [mqtt] host",
    0x9D: "the broker has moved; change [mqtt] host",
    0x9F: "the broker limits how often one may connect; the device waits and tries again by itself",
}
_UNKNOWN: Final = "the broker's log may say more"

ONE_MESSAGE: Final = frozenset({0x90, 0x95, 0x99})
"""Reasons that lie in the message itself (topic, size, content): another of its topic may well be taken."""


def advice(code: int) -> str:
    """What to do about a reason code."""
    return _ADVICE.get(code, _UNKNOWN)


def unreachable(error: Exception) -> tuple[str, str]:
    """Why no connection came about, and what to do about it.

    Args:
        error: what connecting raised.

    Returns:
        The reason in few words, the same for the same cause; and the advice.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted: {error.verify_message} (CERTIFICATE_VERIFY_FAILED)",
            "[mqtt.tls] ca must be the authority that signed it, [mqtt] host the name it was made for, "
            "and the device's clock right",
        )
    if isinstance(error, ssl.SSLError):
        reason = error.reason or "the encrypted connection failed"
        return f"TLS: {reason}", "check that [mqtt] port is the encrypted one, and the files of [mqtt.tls]"
    if isinstance(error, socket.gaierror | UnicodeError):
        return "its name is not known", "check [mqtt] host, and the network's name server"
    if isinstance(error, TimeoutError):
        return "it does not answer", "check [mqtt] host, the network and the firewalls on the way"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused", "check that the broker runs, and [mqtt] port"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror, "check the network"
    return str(error) or type(error).__name__, "check [mqtt] host, port and transport"

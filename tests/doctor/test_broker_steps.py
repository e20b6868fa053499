"""The broker step by step, against a real Mosquitto: well, away, locked, encrypted, with access rules."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from helpers import WAIT_S, Subscriber, until
from paho.mqtt.enums import CallbackAPIVersion
from patients import marks, one, patient

from edge.config import PASSWORD_VARIABLE
from edge.daemon import Daemon
from edge.doctor import Finding, Mark, broker, camera, login
from edge.mqtt.broker import PrivateBroker

GOOD, BAD, UNSURE = Mark.GOOD, Mark.BAD, Mark.UNSURE


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long wait for a status where there is none, and no time in which a busy machine must have answered."""
    monkeypatch.setattr(login, "RETAINED_S", 0.3)
    monkeypatch.setattr(login, "ANSWER_S", WAIT_S)
    monkeypatch.setattr(login, "SLOW_MS", 1000 * WAIT_S)
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device has said something of itself, which is waited for."""
    monkeypatch.setattr(login, "RETAINED_S", WAIT_S)


def walk(folder: Path, port: int, *, device: str = "bench-1", **mqtt: Any) -> list[Finding]:
    told = {"host": "127.0.0.1", "port": port, **mqtt}
    return list(broker.look(patient(folder, device={"name": device}, mqtt=told)))


def readable(*paths: Path) -> None:
    """Mosquitto, started by root, reads its files as another user."""
    for path in paths:
        path.chmod(0o644)
        for parent in path.parents:
            if parent != Path("/") and parent.stat().st_uid == os.getuid():
                parent.chmod(parent.stat().st_mode | 0o755)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_broker_that_is_well(broker: PrivateBroker, tmp_path: Path, protocol: str) -> None:
    found = walk(tmp_path, broker.port, device="doctored-1", protocol=protocol)
    assert marks(found) == dict.fromkeys(("name", "tcp", "login", "commands", "publish", "round trip"), GOOD)


def test_nothing_of_the_visit_stays_with_the_broker(
    broker: PrivateBroker, tmp_path: Path, subscribe: Callable[..., Subscriber]
) -> None:
    walk(tmp_path, broker.port, device="doctored-2")
    late = subscribe(broker)
    late.catch_up()
    assert not [message for message in late.received if "/doctored-2/" in message.topic]


def test_the_running_daemons_connection_is_left_alone(broker: PrivateBroker, tmp_path: Path) -> None:
    ended: list[object] = []
    daemon = paho.Client(CallbackAPIVersion.VERSION2, "leukoscope-bench-1", protocol=paho.MQTTv5)
    daemon.on_disconnect = lambda *what: ended.append(what)
    daemon.connect(broker.host, broker.port)
    daemon.loop_start()
    try:
        until(daemon.is_connected, "the daemon is connected")
        assert one(walk(tmp_path, broker.port), "login").mark is GOOD
        kept = daemon.publish("leukoscope/bench-1/reply/trial", "{}", qos=1)
        kept.wait_for_publish(WAIT_S)  # which comes after whatever would have ended the connection
        assert kept.is_published()
        assert daemon.is_connected()
        assert not ended
    finally:
        daemon.disconnect()
        daemon.loop_stop()


def test_a_name_that_nobody_knows(tmp_path: Path) -> None:
    found = list(broker_at(tmp_path, "no-such-host.invalid"))
    assert marks(found) == {"name": BAD}
    assert "[mqtt] host" in found[0].advice


def broker_at(folder: Path, host: str) -> Iterator[Finding]:
    return broker.look(patient(folder, mqtt={"host": host}))


def test_a_port_at_which_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as taken:  # and nobody listens; no other program can take it meanwhile
        taken.bind(("127.0.0.1", 0))
        found = walk(tmp_path, taken.getsockname()[1])
    assert marks(found) == {"name": GOOD, "tcp": BAD}
    assert "refused" in found[1].text


def test_something_that_is_no_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "ANSWER_S", 0.3)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:  # takes connections, and says nothing
        found = walk(tmp_path, server.getsockname()[1])
    assert marks(found) == {"name": GOOD, "tcp": GOOD, "login": BAD}


def test_a_wrong_password_and_the_right_one_beside_the_configuration(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.touch()
    subprocess.run(["mosquitto_passwd", "-b", passwords, "pi", "right"], check=True, capture_output=True)
    readable(passwords)
    with PrivateBroker(f"allow_anonymous false\npassword_file {passwords}") as locked:
        refused = one(walk(tmp_path, locked.port, username="pi"), "login")
        assert refused.mark is BAD
        assert "as pi" in refused.text and "password" in refused.advice
        (tmp_path / "environment").write_text(f"# the broker\n{PASSWORD_VARIABLE}='wrong'\n")
        assert one(walk(tmp_path, locked.port, username="pi"), "login").mark is BAD
        (tmp_path / "environment").write_text(f"{PASSWORD_VARIABLE}=right\n")
        assert one(walk(tmp_path, locked.port, username="pi"), "login").mark is GOOD
        (tmp_path / "environment").unlink()
        (tmp_path / "mqtt-password").write_text("right\n")
        found = walk(tmp_path, locked.port, username="pi")
        assert one(found, "login").mark is GOOD
        assert not [finding for finding in found if "right" in finding.text + finding.advice]


@pytest.mark.parametrize(
    ("protocol", "rules", "published", "back"),
    [
        ("5", "topic read leukoscope/#", BAD, None),
        ("5", "topic write leukoscope/bench-1/reply/#", GOOD, UNSURE),
        ("3.1.1", "topic write leukoscope/bench-1/reply/#", GOOD, UNSURE),  # refuses without saying so
    ],
)
def test_what_the_brokers_access_rules_forbid(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
    rules: str,
    published: Mark,
    back: Mark | None,
) -> None:
    if protocol == "3.1.1":
        monkeypatch.setattr(login, "ANSWER_S", 3.0)  # what is refused does not come back, and is waited for
    acl = tmp_path / "acl"
    acl.write_text(f"{rules}\n")
    readable(acl)
    with PrivateBroker(f"allow_anonymous true\nacl_file {acl}") as strict:
        found = walk(tmp_path, strict.port, protocol=protocol)
    assert one(found, "publish").mark is published
    assert marks(found).get("round trip") is back
    if published is BAD:
        assert "leukoscope/bench-1/" in one(found, "publish").advice


def status(broker: PrivateBroker, payload: str) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect(broker.host, broker.port)
    client.loop_start()
    kept = client.publish("leukoscope/bench-1/status", payload, qos=1, retain=True)
    kept.wait_for_publish(WAIT_S)
    assert kept.is_published()
    client.disconnect()
    client.loop_stop()


@pytest.mark.usefixtures("said")
@pytest.mark.parametrize(
    ("payload", "check", "mark"),
    [
        ({"state": "online"}, "device", GOOD),
        ({"state": "offline"}, "device", UNSURE),
        ({"state": "online", "problems": [{"code": "camera", "text": "it stalls"}]}, "device 1", BAD),
        ({"state": "online", "problems": ["\x1b[2J"]}, "device", UNSURE),
        (["nothing"], "device", UNSURE),
    ],
)
def test_what_the_device_says_of_itself(tmp_path: Path, payload: object, check: str, mark: Mark) -> None:
    with PrivateBroker() as own:
        status(own, json.dumps(payload))
        assert one(walk(tmp_path, own.port), check).mark is mark


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificates with openssl")
def test_an_encrypted_broker_trusted_and_not(tmp_path: Path) -> None:
    for name in ("server", "other"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", tmp_path / f"{name}.key", "-out", tmp_path / f"{name}.pem", "-days", "90",
                "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1")  # fmt: skip
    readable(tmp_path / "server.key", tmp_path / "server.pem")
    files = f"certfile {tmp_path}/server.pem\nkeyfile {tmp_path}/server.key"
    with PrivateBrokerTls(files) as locked:
        found = walk(tmp_path, locked.port, tls={"ca": str(tmp_path / "server.pem")})
        assert one(found, "tls").mark is GOOD
        assert "TLSv1" in one(found, "tls").text
        assert one(found, "round trip").mark is GOOD
        distrusted = walk(tmp_path, locked.port, tls={"ca": str(tmp_path / "other.pem")})
        assert marks(distrusted) == {"name": GOOD, "tcp": GOOD, "tls": BAD}
        assert "[mqtt.tls] ca" in distrusted[-1].advice
        unencrypted = walk(tmp_path, locked.port)
        assert one(unencrypted, "login").mark is BAD


class PrivateBrokerTls(PrivateBroker):
    """Answers TLS only, which its base class would take for not answering."""

    def __init__(self, files: str) -> None:
        super().__init__(f"{files}\nallow_anonymous true")

    def _answers(self, port: int) -> bool:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with socket.create_connection((self.host, port), 1) as plain, context.wrap_socket(plain):
                return True
        except OSError:
            return False


@pytest.mark.usefixtures("said")
def test_a_running_daemon_is_asked_what_it_sees_and_its_camera_is_left_to_it(
    tmp_path: Path, subscribe: Callable[..., Subscriber]
) -> None:
    with PrivateBroker() as own:
        heard = subscribe(own)
        mqtt = {"host": own.host, "port": own.port}
        told = patient(tmp_path, mqtt=mqtt, source={"kind": "virtual_slide", "cells": 500, "interval_s": 0.2})
        assert told.settings is not None
        daemon = Daemon.of(told.settings)
        thread = threading.Thread(target=daemon.run)
        thread.start()
        try:
            until(lambda: daemon.gauges.frames > 1, "it reads")
            until(lambda: heard.of("/bench-1/status"), "it is online")
            found = list(broker.look(told))
            assert one(found, "device").mark is GOOD
            assert "cells in its camera's newest frame (960 × 720)" in one(found, "picture").text
            camera_settings = patient(tmp_path, source={"kind": "video", "input": "/dev/video99"})
            left = one(camera.look(camera_settings), "source")
            assert left.mark is UNSURE
            assert "is left to it" in left.text
        finally:
            daemon.stop()
            thread.join()
        found = list(broker.look(told))
        assert one(found, "device").mark is UNSURE
        assert "picture" not in marks(found)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read every file")
def test_a_password_that_this_user_may_not_read(broker: PrivateBroker, tmp_path: Path) -> None:
    (tmp_path / "mqtt-password").write_text("secret")
    (tmp_path / "mqtt-password").chmod(0)
    found = one(walk(tmp_path, broker.port, username="pi"), "login")
    assert found.mark is UNSURE
    assert "sudo" in found.advice

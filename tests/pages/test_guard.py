"""What every request passes, seen from outside: a real server, asked with httpx."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers import WAIT_S
from stand import PASSWORD, Stand, dashboard_settings, running_server, running_stand

from dashboard import hub
from dashboard import settings as told
from dashboard.auth import limit
from dashboard.pages import live
from edge.mqtt.broker import PrivateBroker

ADDRESSES = ["/", "/sign-in", "/static/style.css", "/data/live", "/nowhere", "/events", "/set-up"]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with running_stand(tmp_path_factory.mktemp("stand"), sign_in=True, device=False) as stand:
        yield stand


@pytest.fixture
def client(stand: Stand) -> Iterator[httpx.Client]:
    with asking(stand.address) as client:
        yield client


def asking(address: str, **options: Any) -> httpx.Client:
    """A client that has patience with a busy machine."""
    return httpx.Client(base_url=address, timeout=WAIT_S, **options)


def origin(client: httpx.Client) -> dict[str, str]:
    return {"origin": str(client.base_url).rstrip("/")}


def enter(client: httpx.Client, name: str, password: str = PASSWORD, **more: str) -> httpx.Response:
    return client.post(
        "/sign-in", data={"name": name, "password": password}, headers={**origin(client), **more}
    )


@pytest.mark.parametrize("path", ADDRESSES)
def test_every_answer_tells_browsers_what_to_refuse(client: httpx.Client, path: str) -> None:
    with client.stream("GET", path) as answer:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers


def test_nobody_gets_to_anything_but_the_sign_in(client: httpx.Client, stand: Stand) -> None:
    from starlette.routing import Route

    open_to_all = {"sign_in", "sign_out", "set_up"}
    seen = 0
    for route in stand.server.application.routes:
        if not isinstance(route, Route) or route.name in open_to_all:
            continue
        path = re.sub(r"{\w+}", "x", re.sub(r"{\w+:int}", "1", route.path))
        for method in (route.methods or set()) - {"HEAD"}:
            answer = client.request(method, path, headers=origin(client))
            assert answer.status_code == 401, f"{method} {route.path}"
            seen += 1
    assert seen > 10


def test_the_cookie_is_for_the_server_alone(client: httpx.Client) -> None:
    answer = enter(client, "Vera")
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    assert {"httponly", "samesite=lax", "path=/"} <= {part.strip() for part in cookie.split(";")}
    assert client.get("/data/live").status_code == 200


def test_a_stream_ends_with_the_sign_in(
    client: httpx.Client, stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "PING_S", 0.05)
    monkeypatch.setattr(live, "LOOK_S", 0.1)
    enter(client, "Vera")
    with client.stream("GET", "/events", timeout=60) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        assert next(lines) == "retry: 2000"
        token = client.cookies["leukoscope"]
        assert stand.server.services.sessions is not None
        stand.server.services.sessions.end(token)
        assert all(line in ("", ": still here") for line in lines)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
    ],
)
def test_what_another_site_sends_is_refused(client: httpx.Client, headers: dict[str, str]) -> None:
    enter(client, "Ada")
    answer = client.post("/sign-out", headers=headers)
    assert answer.status_code == 403
    assert client.get("/data/live").status_code == 200
    assert client.post("/sign-out", headers={"sec-fetch-site": "same-origin"}).status_code == 303
    assert client.get("/data/live").status_code == 401


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example/", "/\\evil.example/", "https://evil.example/", "javascript:alert(1)", "/a\r\nb: c"],
)
def test_signing_in_leads_to_no_other_host(client: httpx.Client, wanted: str) -> None:
    answer = client.post(
        "/sign-in",
        params={"next": wanted},
        data={"name": "Vera", "password": PASSWORD},
        headers=origin(client),
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_guessing_is_slowed_down_and_an_overlong_form_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limit, "PAUSE_S", 10 * limit.PAUSE_S)  # which a busy machine may need for two tries
    with (
        running_stand(tmp_path, sign_in=True, device=False) as stand,
        asking(stand.address) as client,
    ):
        codes = [enter(client, "Ada", "wrong password").status_code for _ in range(6)]
        assert codes == [401] * 5 + [429]
        assert enter(client, "Ada").status_code == 429
        assert enter(client, "x" * 100_000).status_code == 413


def test_the_first_user_is_made_at_this_machine_only(tmp_path: Path) -> None:
    with PrivateBroker() as broker:
        settings = dashboard_settings(broker, tmp_path, sign_in=True)
        with running_server(settings, people=False) as server:
            with asking(server.address, follow_redirects=True) as client:
                assert "The first user" in client.get("/", headers={"accept": "text/html"}).text
                from_afar = client.get("/set-up", headers={"x-forwarded-for": "192.0.2.7"})
                assert "The first user" not in from_afar.text
                named = client.get("/set-up", headers={"host": "evil.example"})
                assert "The first user" not in named.text
                form = {"name": "Ann", "password": PASSWORD, "again": PASSWORD + "x"}
                assert "are not the same" in client.post("/set-up", data=form, headers=origin(client)).text
                form["again"] = PASSWORD
                assert client.post("/set-up", data=form, headers=origin(client)).url.path == "/"
            with asking(server.address) as other:
                assert other.get("/set-up").status_code == 303
                form["name"] = "Eve"
                assert (
                    other.post("/set-up", data=form, headers=origin(other)).headers["location"] == "/sign-in"
                )
        assert [user.name for user in server.services.users.all()] == ["Ann"]


def test_without_sign_in_only_names_of_this_machine_are_answered_to(
    running_dashboard: Stand,
) -> None:
    with asking(running_dashboard.address) as client:
        assert client.get("/data/live").status_code == 200
        assert client.get("/data/live", headers={"host": "evil.example"}).status_code == 403
        assert client.get("/data/live", headers={"host": "localhost:80"}).status_code == 200


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_https_with_a_certificate_of_ones_own(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    with PrivateBroker() as broker:
        settings = dashboard_settings(broker, tmp_path, sign_in=True)
        server_settings = told.Server(port=0, certificate=certificate, key=key)
        settings = settings.model_copy(update={"server": server_settings})
        with running_server(settings) as server:
            assert server.address.startswith("https://")
            trust = ssl.create_default_context(cafile=certificate)
            with asking(server.address, verify=trust) as client:
                cookie = enter(client, "Vera").headers["set-cookie"]
                assert cookie.startswith("__Host-")
                assert "secure" in cookie.lower()
                assert client.get("/data/live").status_code == 200


def test_behind_a_proxy_that_is_trusted_and_one_that_is_not(tmp_path: Path) -> None:
    forwarded = {"x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.7", "host": "lab.example"}
    with PrivateBroker() as broker:
        plain = dashboard_settings(broker, tmp_path, sign_in=True)
        proxied = told.Server(port=0, trusted_proxies=("127.0.0.1",), root_path="/leukoscope")
        for settings, believed in ((plain.model_copy(update={"server": proxied}), True), (plain, False)):
            root = settings.server.root_path
            with running_server(settings) as server:
                with asking(server.address.replace("/leukoscope", "")) as client:
                    scheme = "https" if believed else "http"
                    answer = client.post(
                        "/sign-in",
                        data={"name": "Vera", "password": PASSWORD},
                        headers={**forwarded, "origin": f"{scheme}://lab.example"},
                    )
                    assert (answer.status_code, answer.headers["location"]) == (303, f"{root}/")
                    assert ("secure" in answer.headers["set-cookie"].lower()) is believed
                    client.cookies.clear()
                    page = client.get("/sign-in", headers={**forwarded, "accept": "text/html"}).text
                    assert f'href="{root}/static/style.css"' in page
                attempts = server.services.attempts
                with asking(server.address.replace("/leukoscope", "")) as client:
                    headers = {**forwarded, "origin": f"{scheme}://lab.example"}
                    client.post("/sign-in", data={"name": "Vera", "password": "wrong one"}, headers=headers)
                    known = {key for key in attempts._failed if key.startswith("address")}
                    assert known == {"address 192.0.2.7" if believed else "address 127.0.0.1"}

"""What strangers send: refused with a sentence, nothing of it run, nothing else lost; and who may do what."""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stand import PASSWORD, Stand, running_stand

import edge
from edge.inference.bundle import resolve

SAMPLES = Path(edge.__file__).parent / "samples"
CELLS = sorted((SAMPLES / "acevedo").glob("*.jpg"))
MARKUP = '"><img src=x onerror=document.title=`run`>.jpg'
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>document.title="run"</script></svg>'


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with running_stand(tmp_path_factory.mktemp("stand"), sign_in=True, device=False) as stand:
        yield stand


@pytest.fixture
def upload(stand: Stand, page: Any, sign_in: Callable[[Any, Stand, str], None]) -> Any:
    """The page, for somebody who may only view."""
    sign_in(page, stand, "Vera")
    page.goto(stand.address + "upload")
    page.locator("#model option").first.wait_for(state="attached")
    return page


def done(page: Any) -> str:
    page.get_by_role("button", name="New upload").wait_for()
    return str(page.locator("#status").inner_text())


def test_hostile_files_among_good_ones(upload: Any, tmp_path: Path) -> None:
    page = upload
    (tmp_path / MARKUP).write_bytes(CELLS[0].read_bytes())
    (tmp_path / "drawing.svg").write_bytes(SVG)
    (tmp_path / "drawing.jpg").write_bytes(SVG)
    (tmp_path / "large.png").write_bytes(announcing(60_000, 60_000))
    with zipfile.ZipFile(tmp_path / "climbs.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../../climbs.jpg", CELLS[1].read_bytes())
        archive.writestr("bomb.bmp", bytes(100_000_000))
        archive.writestr("=cmd|' /C calc'!A0.jpg", CELLS[2].read_bytes())
        archive.writestr("good.jpg", CELLS[3].read_bytes())
    names = [MARKUP, "drawing.svg", "drawing.jpg", "large.png", "climbs.zip"]
    page.set_input_files("#choose-files", [tmp_path / name for name in names])
    assert "8 pictures read" in done(page)
    assert page.locator("#shown").inner_text() == "3"
    failed = page.locator("#failed-list").inner_text()
    for said in (
        "drawing.svg",
        "drawing.jpg",
        "no picture",
        "megapixels",
        "leads out of the archive",
        "was not unpacked",
    ):
        assert said in failed
    assert MARKUP in page.locator("#cells").inner_text()
    page.get_by_role("option", name=MARKUP).click()
    assert page.locator("#detail-facts").get_by_text(MARKUP).is_visible()
    assert page.title().startswith("Upload") and page.locator("img[src=x]").count() == 0
    page.get_by_role("button", name="Close").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    text = Path(download.value.path()).read_text("utf-8")
    assert not re.search(r"(^|,)\"?[=+@]", text, re.MULTILINE)


def announcing(width: int, height: int) -> bytes:
    """A PNG whose head announces more pixels than there is memory for."""
    import struct
    import zlib

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


def test_labels_with_markup(upload: Any, tmp_path: Path, watch: Any) -> None:
    watch.allow("409")
    page = upload
    page.get_by_role("button", name="8 cells of no class").click()
    done(page)
    bad = tmp_path / "bad.csv"
    bad.write_text("something,else\n1,2\n")
    page.set_input_files("#choose-labels", bad)
    page.locator("#labels-status", has_text="needs the columns filename and class").wait_for()
    markup = tmp_path / "labels.csv"
    files = sorted(path.name for path in (SAMPLES / "acevedo_other").glob("*.jpg"))
    markup.write_text(
        "filename,class\n" + "".join(f"{name},<img src=x onerror=alert(1)>\n" for name in files)
    )
    page.set_input_files("#choose-labels", markup)
    page.locator("#evaluation").get_by_text("onerror").first.wait_for()
    assert page.locator("img[src=x]").count() == 0


def asked(page: Any, method: str, path: str, **options: Any) -> Any:
    """What the page's own origin gets when it asks."""
    return page.evaluate(
        """async ([method, path, body]) => {
          const answer = await fetch(path, { method, body });
          return { status: answer.status, text: await answer.text() };
        }""",
        [method, path, options.get("body")],
    )


def test_who_may_bring_a_model(upload: Any, watch: Any) -> None:
    page = upload
    watch.allow("403")
    assert page.get_by_text("Bring another model").count() == 0
    for method, path in (
        ("POST", "/upload/models?name=x.tflite"),
        ("DELETE", "/upload/models/own-0123456789abcdef"),
    ):
        refused = asked(page, method, path, body="x" if method == "POST" else None)
        assert refused["status"] == 403 and "administer" in refused["text"]


def test_an_administrator_brings_models_and_bad_ones_are_refused(
    stand: Stand,
    page: Any,
    sign_in: Callable[[Any, Stand, str], None],
    axe: Callable[[Any], None],
    tmp_path: Path,
    watch: Any,
) -> None:
    watch.allow("409")
    sign_in(page, stand, "Ada")
    page.goto(stand.address + "upload")
    page.get_by_text("Bring another model").click()
    marker = tmp_path / "ran"

    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.write_text, (marker, "ran")

    def bring(name: str, data: bytes) -> None:
        (tmp_path / name).write_bytes(data)
        page.get_by_label("File", exact=True).set_input_files(tmp_path / name)
        page.get_by_role("button", name="Check and add").click()
        page.get_by_role("button", name="Check and add", disabled=False).wait_for()

    for name, data in (
        ("evil.keras", pickle.dumps(Runs())),
        ("evil.tflite", b"\x1c\x00\x00\x00TFL3" + b"\xff" * 500),
    ):
        bring(name, data)
        assert page.locator("#model-form .problem").inner_text()
    axe(page)
    assert not marker.exists()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path in resolve("cnn-int8").iterdir():
            archive.write(path, path.name)
        archive.writestr("../../climbs.py", "x")
    bring("cnn.zip", out.getvalue())
    page.get_by_text("cnn-int8 can be chosen now.").wait_for()
    chosen = page.locator("#model")
    assert chosen.locator("option:checked").inner_text() == "cnn-int8 (uploaded)"
    page.get_by_role("button", name="30 single cells").click()
    assert "30 pictures read" in done(page)
    page.get_by_role("button", name="New upload").click()
    page.get_by_role("button", name="Remove cnn-int8").click()
    page.get_by_role("button", name="Remove cnn-int8").wait_for(state="detached")
    assert chosen.locator("option", has_text="(uploaded)").count() == 0


def test_an_upload_is_nobody_elses(
    stand: Stand,
    upload: Any,
    new_page: Callable[..., Any],
    sign_in: Callable[[Any, Stand, str], None],
    watch: Any,
) -> None:
    watch.allow("410")
    upload.get_by_role("button", name="6 fields").click()
    done(upload)
    key = upload.url.rsplit("/", 1)[1]
    other = new_page()
    sign_in(other, stand, "Ada")
    other.goto(f"{stand.address}upload/of/{key}")
    other.get_by_text("This upload is not here any more").wait_for()
    for path in ("", "/figures", "/download.csv", "/cells/0/0.jpg", "/pictures/0.jpg", "/events"):
        assert asked(other, "GET", f"/upload/jobs/{key}{path}")["status"] == 410


def test_without_a_sign_in_nothing_is_told_or_taken(stand: Stand, page: Any, watch: Any) -> None:
    watch.allow("401")
    page.goto(stand.address + "sign-in")
    for method, path in (
        ("GET", "/upload/models"),
        ("POST", "/upload/jobs"),
        ("GET", "/upload/jobs/x/events"),
    ):
        assert asked(page, method, path)["status"] == 401


def test_requests_that_no_page_sends(upload: Any, watch: Any) -> None:
    watch.allow("status of 4")
    page = upload
    for body in (
        "",
        "[]",
        "{",
        "[" * 5000,
        json.dumps({"view": "x"}),
        json.dumps({"um_per_pixel": "1"}),
        "x" * 20_000,
    ):
        assert asked(page, "POST", "/upload/jobs", body=body)["status"] in (400, 413)
    assert asked(page, "POST", "/upload/jobs", body=json.dumps({"model": "../../etc"}))["status"] == 409
    model = json.dumps({"model": "cnn-int8"})
    key = json.loads(asked(page, "POST", "/upload/jobs", body=model)["text"])["key"]
    at = f"/upload/jobs/{key}"
    for path, body in (("files", "x" * 50), ("address", "{}"), ("samples", '{"set": "../.."}')):
        assert asked(page, "POST", f"{at}/{path}", body=body)["status"] in (400, 413)
    for path in ("figures?threshold=nan", "figures?threshold=2", "download.csv?threshold=x"):
        assert asked(page, "GET", f"{at}/{path}")["status"] == 400
    for path in ("cells/99/0.jpg", "cells/0/0/saliency", "pictures/99.jpg", "download.exe"):
        assert asked(page, "GET", f"{at}/{path}")["status"] == 404
    assert asked(page, "DELETE", at)["status"] == 200


def test_another_site_cannot_upload(stand: Stand, upload: Any) -> None:
    cookies = {cookie["name"]: cookie["value"] for cookie in upload.context.cookies()}
    assert cookies and PASSWORD not in str(cookies)
    answer = upload.context.request.post(
        f"{stand.address}upload/jobs",
        data={"model": "cnn-int8"},
        headers={"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
    )
    assert answer.status == 403


def test_a_session_that_ended_says_so_and_keeps_the_page(upload: Any, watch: Any) -> None:
    watch.allow("401")
    page = upload
    page.context.clear_cookies()
    page.get_by_role("button", name="6 fields").click()
    page.get_by_text("You are signed out").first.wait_for()
    assert page.get_by_role("heading", name="Drop pictures here").is_visible()

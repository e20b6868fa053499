"""Cameras and films through OpenCV."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import WAIT_S
from mjpeg import MjpegServer, noisy

from edge.assembly import make_source
from edge.config import VideoSettings, camera_login
from edge.errors import ConfigError, SourceError
from edge.health.problems import Health
from edge.sources.address import video_address
from edge.sources.base import SourceEnded
from edge.sources.video import FilmSource, VideoCamera, VideoOptions
from edge.store import Store

RED = np.full((48, 64, 3), (200, 40, 90), np.uint8)


def film(path: Path, pictures: list[np.ndarray]) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for each in pictures:
        writer.write(each[..., ::-1])
    writer.release()
    return path


def test_colours_are_red_green_and_blue(tmp_path: Path) -> None:
    source = FilmSource(film(tmp_path / "red.avi", [RED] * 3))
    source.open()
    frame = source.read(0)
    assert frame is not None
    assert np.abs(frame.image.astype(int) - RED).max() < 12
    source.close()
    with MjpegServer(lambda _: RED) as server:
        camera = VideoCamera(VideoOptions(video_address(server.address)))
        camera.open()
        assert np.abs(camera.shoot().image.astype(int) - RED).max() < 12
        camera.close()


def test_no_frame_of_a_film_is_lost_not_even_equal_ones(tmp_path: Path) -> None:
    pictures = [noisy(0), *[noisy(1)] * 20, np.zeros((48, 64, 3), np.uint8), noisy(2)]
    source = FilmSource(film(tmp_path / "film.avi", pictures))
    assert (source.live, source.continuous) == (False, True)
    source.open()
    for number in range(len(pictures)):
        frame = source.read(0)
        assert frame is not None
        assert frame.number == number
    with pytest.raises(SourceEnded):
        source.read(0)
    source.close()


def test_a_film_that_is_cut_off_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = film(tmp_path / "film.avi", [noisy(number) for number in range(30)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = FilmSource(path)
    source.open()
    read = 0
    with pytest.raises(SourceEnded):
        while source.read(0):
            read += 1
    assert 5 < read < 25
    with pytest.raises(SourceEnded):
        source.read(0)
    assert caplog.messages == [f"{path} ends after {read} of 30 frames"]
    source.close()


@pytest.mark.parametrize("content", [b"", b"no film", bytes(range(256)) * 100])
def test_what_is_no_film_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="no film that OpenCV can read"):
        FilmSource(path).open()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("/dev/video77", "is not there; leukoscope cameras lists those that are"),
        ("/dev/null", "another program uses it, or it is none"),
        ("http://no-such-host.invalid/x", "cannot be reached"),
    ],
)
def test_why_a_camera_cannot_be_opened(text: str, why: str) -> None:
    camera = VideoCamera(VideoOptions(video_address(text)))
    with pytest.raises(SourceError, match=why):
        camera.open()
    camera.close()
    with pytest.raises(SourceError, match="not open"):
        camera.shoot()


WATCH = """
import logging, sys
from pathlib import Path
from edge.assembly import make_source
from edge.config import VideoSettings
from edge.store import Store
logging.basicConfig(level=logging.DEBUG)
source = make_source(VideoSettings(kind="video", input=sys.argv[1], stall_s=30.0, give_up_s=float(sys.argv[3])),
                     Store(Path(sys.argv[2])))
try:
    source.open()
    while source.read(0.1) is None:
        pass
    print("watched")
finally:
    source.close()
"""


def watch(address: str, login: str, tmp_path: Path, give_up_s: float) -> subprocess.CompletedProcess[str]:
    """What a process of its own says, FFmpeg's words to standard error included."""
    return subprocess.run(
        [sys.executable, "-c", WATCH, address, str(tmp_path / "db.sqlite"), str(give_up_s)],
        env={"LEUKOSCOPE_CAMERA_LOGIN": login, "PATH": ""},
        capture_output=True,
        text=True,
        timeout=5 * WAIT_S,
        check=False,
    )


def test_a_login_opens_the_camera_and_is_never_shown(tmp_path: Path) -> None:
    with MjpegServer(login="ann:se:cr@et") as server:
        address = server.address + "?token=hidden"
        done = watch(address, "ann:se:cr@et", tmp_path, give_up_s=WAIT_S)
        assert done.stdout == "watched\n", done.stderr
        refused = watch(address, "ann:wrongsecret", tmp_path, give_up_s=1.0)
        assert "cannot be opened: it answers, but with no video" in refused.stderr
    gone = watch(address, "ann:wrongsecret", tmp_path, give_up_s=1.0)
    assert "cannot be reached" in gone.stderr
    for said in (done, refused, gone):
        for secret in ("cr@et", "cr%40et", "wrongsecret", "hidden"):
            assert secret not in said.stdout + said.stderr


def settings(**more: object) -> VideoSettings:
    return VideoSettings.model_validate({"kind": "video", "input": "http://h/", **more})


def test_where_a_login_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert camera_login(settings()) is None
    monkeypatch.setenv("LEUKOSCOPE_CAMERA_LOGIN", "env:1")
    assert camera_login(settings()) == "env:1"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert camera_login(settings()) == "env:1"
    (tmp_path / "camera-login").write_text("credential:2\n")
    assert camera_login(settings()) == "credential:2"
    named = tmp_path / "mine"
    with pytest.raises(ConfigError, match="cannot be read"):
        camera_login(settings(login_file=named))
    named.write_text("file:3:with colons\n")
    assert camera_login(settings(login_file=named)) == "file:3:with colons"
    named.write_text("nocolon\n")
    with pytest.raises(ConfigError, match="user:password") as refused:
        camera_login(settings(login_file=named))
    assert "nocolon" not in str(refused.value)


def test_a_film_is_a_source_of_its_own(tmp_path: Path) -> None:
    made = make_source(settings(input=str(tmp_path / "film.avi")), Store(tmp_path / "db"), Health())
    assert isinstance(made, FilmSource)

"""What the setting `input` is taken for, and that no login is ever shown."""

from __future__ import annotations

import pytest

from edge.sources.address import VideoKind, video_address


@pytest.mark.parametrize(
    ("text", "kind", "target", "name"),
    [
        ("0", VideoKind.DEVICE, "/dev/video0", "the camera /dev/video0"),
        ("/dev/v4l/by-id/usb-x", VideoKind.DEVICE, "/dev/v4l/by-id/usb-x", "the camera /dev/v4l/by-id/usb-x"),
        ("film.avi", VideoKind.FILM, "film.avi", "the film film.avi"),
        (
            "http://microscope/stream?token=secret",
            VideoKind.STREAM,
            "http://microscope/stream?token=secret",
            "the camera at http://microscope:80/stream",
        ),
        ("rtsp://10.0.0.2/1", VideoKind.STREAM, "rtsp://10.0.0.2/1", "the camera at rtsp://10.0.0.2:554/1"),
        ("rtsp://h:8554/1", VideoKind.STREAM, "rtsp://h:8554/1", "the camera at rtsp://h:8554/1"),
    ],
)
def test_an_input_is_understood(text: str, kind: VideoKind, target: str, name: str) -> None:
    address = video_address(text)
    assert (address.kind, address.target, address.name) == (kind, target, name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "ftp://host/x",
        "file:///etc/passwd",
        "http://",
        "http://[::1/x",
        "http://h:99999/",
        "concat://a",
    ],
)
def test_what_it_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|device"):
        video_address(text)


@pytest.mark.parametrize(
    "text", ["http://ann:secret@h/", "rtsp://secret@h/", "http://ann:s@cret@h/", "http://:secret@[h"]
)
def test_a_login_in_an_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"login_file|valid") as refused:
        video_address(text)
    assert "secret" not in str(refused.value)
    assert "cret" not in str(refused.value)


def test_a_login_is_put_in_where_it_is_needed() -> None:
    assert video_address("rtsp://h:1/x").with_login("ann:p@ss/w:rd") == "rtsp://ann:p%40ss%2Fw%3Ard@h:1/x"
    assert video_address("rtsp://h/x").with_login(None) == "rtsp://h/x"
    assert video_address("/dev/video0").with_login("ann:x") == "/dev/video0"

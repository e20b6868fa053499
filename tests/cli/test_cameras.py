"""`leukoscope cameras`, here where none is connected, or libcamera's virtual one is."""

from __future__ import annotations

import json
import struct
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge.cli import main
from edge.cli.cameras import Connected, _video
from edge.config import load
from edge.sources import v4l2
from edge.sources.v4l2 import VideoDevice, VideoFormat, video_devices


def test_what_is_there_is_listed_with_a_configuration_that_loads(tmp_path: Path) -> None:
    listed = json.loads(CliRunner().invoke(main, ["cameras", "--json"], catch_exceptions=False).stdout)
    shown = CliRunner().invoke(main, ["cameras"], catch_exceptions=False)
    assert shown.exit_code == 0
    if not listed["cameras"]:
        assert shown.stdout == ""
        assert "No camera was found" in shown.stderr
        hint = shown.stderr[shown.stderr.index("[source]") :].split("\n\n")[0]
        (tmp_path / "hint.toml").write_text(hint)
        assert load(tmp_path / "hint.toml").source.kind == "video"
    for number, camera in enumerate(listed["cameras"]):
        lines = shown.stdout.strip().split("\n\n")[number]
        assert tomllib.loads(lines)["source"] == camera["source"]
        (tmp_path / "one.toml").write_text(lines)
        assert load(tmp_path / "one.toml").source.kind == camera["source"]["kind"]


def test_what_a_usb_camera_is_called_and_how_it_is_used() -> None:
    formats = (
        VideoFormat("YUYV", ((640, 480),)),
        VideoFormat("MJPG", ((1920, 1080), (640, 480))),
        VideoFormat("H264", ()),
        VideoFormat("NV12", ((1280, 720), (640, 480))),
        VideoFormat("RGB3", ((3840, 2160),)),
        VideoFormat("GREY", ()),
    )
    lasting = "/dev/v4l/by-id/usb-x-video-index0"
    device = VideoDevice("/dev/video2", lasting, "Microscope", "uvcvideo", formats)
    assert _video(device) == Connected(
        "Microscope",
        "/dev/video2 (uvcvideo): YUYV 640x480; MJPG 1920x1080, 640x480; H264; NV12 1280x720, 640x480; "
        "2 more formats",
        {"kind": "video", "input": lasting, "width": 1280, "height": 720},
    )


def test_what_is_no_camera_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "video0").write_bytes(b"a file")
    (tmp_path / "video1").symlink_to("/dev/null")
    (tmp_path / "video2").symlink_to(tmp_path / "nowhere")
    (tmp_path / "videos").mkdir()
    assert video_devices(tmp_path) == ()


@pytest.mark.parametrize(
    ("number", "made_of"),
    [
        (v4l2._QUERYCAP, (2, v4l2._CAPABILITY, 0)),
        (v4l2._ENUM_FMT, (3, v4l2._FORMAT, 2)),
        (v4l2._ENUM_FRAMESIZES, (3, v4l2._FRAME_SIZE, 74)),
    ],
)
def test_requests_and_structures_agree(number: int, made_of: tuple[int, struct.Struct, int]) -> None:
    direction, structure, request = made_of
    assert number == direction << 30 | structure.size << 16 | ord("V") << 8 | request

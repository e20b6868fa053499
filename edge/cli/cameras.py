"""`leukoscope cameras`: what is connected, and the configuration that uses it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import click

from edge.cli.groups import examples
from edge.text import printable

if TYPE_CHECKING:
    from edge.sources.v4l2 import VideoDevice

Toml = dict[str, str | int]

_USUAL_PIXELS = 1280 * 960  # what a Raspberry Pi reads at a good rate
_MOST_FORMATS = 4

_NONE = """No camera was found.
- One in the Raspberry Pi's camera socket: see that the cable sits at both ends, contacts to the right side, and
  start again. `rpicam-hello --list-cameras` is the maker's own look at it.
- One on USB: `lsusb` should show it. It is left out here where this user may not use it: be in the group video.
- One on the network is not looked for. If it is at http://192.168.1.20/stream, for example:

[source]
kind = "video"
input = "http://192.168.1.20/stream"
"""


class Connected(NamedTuple):
    """A camera that is there."""

    name: str
    about: str
    source: Toml


@click.command(
    epilog=examples(
        "leukoscope cameras",
        "leukoscope cameras --json",
    )
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(as_json: bool) -> None:
    """List the cameras that are connected, each with the lines of the configuration that use it.

    Looks at cameras of the Raspberry Pi (picamera2) and at USB cameras and capture cards (V4L2). Nothing is
    recorded, and a camera that is in use is not disturbed.
    """
    from edge.errors import SourceUnusable
    from edge.sources.v4l2 import video_devices

    notes = []
    cameras: list[Connected] = []
    try:
        cameras += _picamera2()
    except SourceUnusable as error:
        notes.append(f"Cameras of the Raspberry Pi are not looked for: {error}")
    cameras += [_video(device) for device in video_devices()]
    if as_json:
        listed = [{"name": each.name, "about": each.about, "source": each.source} for each in cameras]
        click.echo(json.dumps({"cameras": listed, "notes": notes}, indent=2, ensure_ascii=False))
        return
    for each in cameras:
        click.echo(f"# {printable(each.name)}: {printable(each.about)}")
        click.echo("[source]")
        for key, value in each.source.items():
            click.echo(f"{key} = {json.dumps(value, ensure_ascii=False)}")
        click.echo()
    if not cameras:
        click.echo(_NONE, err=True)
    for note in notes:
        click.echo(printable(note), err=True)


def _picamera2() -> Iterator[Connected]:
    """What libcamera knows, but for USB cameras, which V4L2 lists with more about them.

    Raises:
        SourceUnusable: picamera2 is not installed.
    """
    from edge.sources.picamera2 import library

    for number, camera in enumerate(library().global_camera_info()):
        if "/usb" not in camera["Id"]:
            yield Connected(
                str(camera.get("Model", "camera")), camera["Id"], {"kind": "picamera2", "camera": number}
            )


def _video(device: VideoDevice) -> Connected:
    source: Toml = {"kind": "video", "input": device.lasting_path}
    sizes = {size for each in device.formats for size in each.sizes}
    if sizes:
        source["width"], source["height"] = min(
            sizes, key=lambda size: abs(size[0] * size[1] - _USUAL_PIXELS)
        )
    formats = [
        f"{each.code} {', '.join(f'{width}x{height}' for width, height in each.sizes)}".strip()
        for each in device.formats
    ]
    if len(formats) > _MOST_FORMATS:
        formats[_MOST_FORMATS:] = [f"{len(formats) - _MOST_FORMATS} more formats"]
    return Connected(device.name, f"{device.path} ({device.driver}): {'; '.join(formats)}", source)

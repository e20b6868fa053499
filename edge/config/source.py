"""Where pictures come from: a table for each kind of source."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from edge.config.table import TOLD, Table
from edge.errors import ConfigError
from edge.sources.address import VideoAddress, VideoKind, video_address
from edge.sources.slide_scan import Way

LOGIN_VARIABLE = "LEUKOSCOPE_CAMERA_LOGIN"
LOGIN_CREDENTIAL = "camera-login"
"""The name of the systemd credential (``LoadCredential=camera-login:…``)."""


class FolderSettings(Table):
    """Pictures that appear in a folder; each is read once, across restarts."""

    kind: Literal["folder"]
    path: Path = Field(description="The folder.")


class VirtualSlideSettings(Table):
    """A camera that moves over a made-up smear of real cells. For trying out."""

    kind: Literal["virtual_slide"]
    seed: int = Field(default=1, ge=0, le=2**31 - 1, description="The same seed lays the same slide.")
    cells: int = Field(default=300, ge=1, le=1_000_000, description="White cells on the slide.")
    interval_s: float = Field(
        default=0.5, ge=0.0, le=60.0, description="The least time from one field to the next."
    )
    scan: Way = Field(
        default="step",
        description="step: each field once. meander, back_and_forth, random_walk: a moving stage, many frames.",
    )


class CameraSettings(Table):
    """What cameras of every kind have in common: when they are not well."""

    stall_s: float = Field(
        default=5.0, ge=1.0, le=600.0, description="Without a new picture for so long, it is opened again."
    )
    give_up_s: float = Field(
        default=300.0,
        ge=0.0,
        le=86_400.0,
        description="After so long without one the daemon ends, for systemd to start it anew.",
    )


class Picamera2Settings(CameraSettings):
    """A camera of the Raspberry Pi. Exposure and colour settle at the start, and are locked."""

    kind: Literal["picamera2"]
    camera: int = Field(default=0, ge=0, le=15, description="Its number, as `leukoscope cameras` lists it.")
    width: int = Field(default=1280, ge=64, le=16_384, description="Of its pictures, in pixels.")
    height: int = Field(default=960, ge=64, le=16_384, description="Likewise.")
    fps: float = Field(default=15.0, ge=0.5, le=240.0, description="Pictures a second.")
    exposure_us: int | None = Field(
        default=None, ge=1, le=10_000_000, description="Exposure time. Default: as it settles."
    )
    gain: float | None = Field(
        default=None, ge=1.0, le=64.0, description="Of the sensor. Default: as it settles."
    )
    red_gain: float | None = Field(
        default=None, ge=0.1, le=32.0, description="White balance. Default: as it settles."
    )
    blue_gain: float | None = Field(default=None, ge=0.1, le=32.0, description="Likewise.")


class VideoSettings(CameraSettings):
    """A USB camera, a camera on the network, or a film in a file."""

    kind: Literal["video"]
    input: str = Field(
        description="/dev/video0, or 0; http://… (MJPEG) or rtsp://…; or a film's path.",
    )
    login_file: Path | None = Field(
        default=None,
        description="A file with user:password for an address. Else the systemd credential "
        f"{LOGIN_CREDENTIAL}, else the environment variable {LOGIN_VARIABLE}.",
    )
    width: int | None = Field(
        default=None, ge=64, le=16_384, description="Of a device's pictures. Default: as it gives them."
    )
    height: int | None = Field(default=None, ge=64, le=16_384, description="Likewise.")
    fps: float | None = Field(
        default=None, ge=0.5, le=240.0, description="Pictures a second of a device. Default: its own."
    )
    pixel_format: str | None = Field(
        default=None,
        pattern=r"^[A-Z0-9]{4}$",
        description="Of a device: MJPG, YUYV and others of V4L2. Default: its own.",
    )

    @field_validator("input")
    @classmethod
    def _understood(cls, value: str) -> str:
        try:
            video_address(value)
        except ValueError as error:
            raise PydanticCustomError(TOLD, "{why}", {"why": str(error)}) from None
        return value

    @field_validator("width", "height", "fps", "pixel_format")
    @classmethod
    def _of_a_device(cls, value: object, info: ValidationInfo) -> object:
        given = info.data.get("input")
        if value is not None and given is not None and video_address(given).kind is not VideoKind.DEVICE:
            raise PydanticCustomError(TOLD, "can only be asked of a camera that is connected to this machine")
        return value

    @property
    def address(self) -> VideoAddress:
        """The input, understood."""
        return video_address(self.input)


def camera_login(settings: VideoSettings) -> str | None:
    """The login for a camera's address, as `user:password`; from the file named, the credential or the environment.

    Raises:
        ConfigError: the file that should hold it cannot be read, or holds none.
    """
    file = settings.login_file
    credential = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent"), LOGIN_CREDENTIAL)
    if file is None and credential.exists():
        file = credential
    if file is None:
        return os.environ.get(LOGIN_VARIABLE) or None
    try:
        login = file.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: the camera's login cannot be read: {error}") from error
    if login and ":" not in login:
        raise ConfigError(f"{file}: a camera's login is written user:password, in one line")
    return login or None


SOURCES: dict[str, type[Table]] = {
    "picamera2": Picamera2Settings,
    "video": VideoSettings,
    "folder": FolderSettings,
    "virtual_slide": VirtualSlideSettings,
}
Source = Annotated[
    Picamera2Settings | VideoSettings | FolderSettings | VirtualSlideSettings, Field(discriminator="kind")
]

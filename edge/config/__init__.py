"""One TOML file → validated, frozen settings. Every default stands here, once.

An unknown key is refused, an illegal value is answered with the legal interval, in a sentence that names
file, table and key. Passwords are not settings: the file says at most where one is found.
"""

from edge.config.device import Device, Store
from edge.config.file import load
from edge.config.home_assistant import HomeAssistant
from edge.config.metrics import Metrics
from edge.config.mqtt import (
    PASSWORD_CREDENTIAL,
    PASSWORD_VARIABLE,
    Mqtt,
    Thumbnails,
    Tls,
    password,
    password_origin,
)
from edge.config.reading import Frames, Model, Sample
from edge.config.settings import Settings
from edge.config.source import (
    SOURCES,
    CameraSettings,
    FolderSettings,
    Picamera2Settings,
    Source,
    VideoSettings,
    VirtualSlideSettings,
    camera_login,
)

__all__ = [
    "PASSWORD_CREDENTIAL",
    "PASSWORD_VARIABLE",
    "SOURCES",
    "CameraSettings",
    "Device",
    "FolderSettings",
    "Frames",
    "HomeAssistant",
    "Metrics",
    "Model",
    "Mqtt",
    "Picamera2Settings",
    "Sample",
    "Settings",
    "Source",
    "Store",
    "Thumbnails",
    "Tls",
    "VideoSettings",
    "VirtualSlideSettings",
    "camera_login",
    "load",
    "password",
    "password_origin",
]

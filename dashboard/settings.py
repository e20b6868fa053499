"""What the dashboard is told: one TOML file → validated, frozen settings. Every default stands here, once."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

from pydantic import Field

from dashboard.mirror.mirror import PICTURES_KEPT
from dashboard.upload.limits import UploadLimits
from edge.config import Mqtt
from edge.config.file import read
from edge.config.table import Table
from edge.errors import ConfigError

CONFIG_VARIABLE = "LEUKOSCOPE_DASHBOARD_CONFIG"

Range = tuple[float, float]


def _data_folder() -> Path:
    """Where systemd lets the service write, else the user's own place for what programs remember."""
    if directory := os.environ.get("STATE_DIRECTORY"):
        return Path(directory.split(":")[0])
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "leukoscope-dashboard"


class Server(Table):
    """Where browsers find it."""

    host: str = Field(
        default="127.0.0.1", min_length=1, max_length=253, description="The address to listen on."
    )
    port: int = Field(default=8080, ge=0, le=65535, description="0: any that is free.")
    certificate: Path | None = Field(default=None, description="The server's certificate (PEM): HTTPS.")
    key: Path | None = Field(default=None, description="The key of that certificate (PEM).")
    trusted_proxies: tuple[str, ...] = Field(
        default=(), description="Addresses whose X-Forwarded-For and -Proto are believed."
    )
    root_path: str = Field(
        default="", pattern=r"^(/[A-Za-z0-9._~-]+)*$", description="The path under which a proxy shows it."
    )
    plain_http: bool = Field(
        default=False, description="Serve other machines without HTTPS: passwords cross the network readable."
    )

    @property
    def loopback(self) -> bool:
        """Only this machine reaches it."""
        return is_loopback(self.host)


class SignIn(Table):
    """How long a sign-in holds."""

    idle_minutes: int = Field(
        default=30, ge=1, le=24 * 60, description="Without a request for so long, it ends."
    )
    hours: int = Field(default=12, ge=1, le=7 * 24, description="It ends after so long in any case.")
    required: bool = Field(default=True, description="false: everybody on this machine may do everything.")


class Data(Table):
    """What the dashboard remembers."""

    folder: Path = Field(default_factory=_data_folder, description="For its databases and uploads.")
    pictures_mb: int = Field(
        default=PICTURES_KEPT // 10**6,
        ge=10,
        le=1_000_000,
        description="Cells' pictures that are kept, about 5 kB each; the oldest are given up beyond.",
    )


class Reference(Table):
    """Adult reference ranges, percent of white cells: something to compare with, no diagnosis.

    The defaults are those of Dacie and Lewis, Practical Haematology, table of haematological values for
    normal adults. A laboratory has its own.
    """

    source: str = Field(default="Dacie and Lewis, Practical Haematology", max_length=200)
    ranges: dict[str, Range] = Field(
        default={
            "neutrophil": (40.0, 80.0),
            "lymphocyte": (20.0, 40.0),
            "monocyte": (2.0, 10.0),
            "eosinophil": (1.0, 6.0),
            "basophil": (0.0, 2.0),
        },
        description="Lowest and highest, by class.",
    )


class Settings(Table):
    """Everything that the dashboard is told."""

    server: Server = Field(default_factory=Server)
    sign_in: SignIn = Field(default_factory=SignIn)
    data: Data = Field(default_factory=Data)
    mqtt: Mqtt = Field(default_factory=Mqtt)
    reference: Reference = Field(default_factory=Reference)
    upload: UploadLimits = Field(default_factory=UploadLimits)


def load(path: Path | None) -> Settings:
    """Read and check a configuration file; without one, the defaults.

    Raises:
        ConfigError: it is missing, is no TOML, or says something it must not say; one sentence a mistake.
    """
    return Settings() if path is None else read(path, Settings, variable=CONFIG_VARIABLE)


def check(settings: Settings) -> None:
    """See whether the settings go together.

    Raises:
        ConfigError: they would let somebody in who must not be, or passwords out.
    """
    server = settings.server
    if (server.certificate is None) != (server.key is None):
        raise ConfigError("[server] certificate and key belong together: name both or none")
    if not settings.sign_in.required and not server.loopback:
        raise ConfigError(
            f"[sign_in] required = false is for this machine alone, and [server] host is {server.host}; "
            "listen on 127.0.0.1, or have people sign in"
        )
    safe = server.certificate is not None or server.trusted_proxies or server.plain_http
    if not server.loopback and not safe:
        raise ConfigError(
            f"[server] host {server.host} is seen from other machines, and passwords would cross the network "
            "readable; name certificate and key, or the proxy that encrypts in trusted_proxies, or accept it "
            "with plain_http = true"
        )


def is_loopback(host: str) -> bool:
    """Whether a name or address can only be this machine's own."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"

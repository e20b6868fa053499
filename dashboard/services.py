"""What the pages work with, put together once for each application."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.auth.limit import Attempts
from dashboard.auth.sessions import Sessions
from dashboard.auth.users import Users
from dashboard.fields import Fields
from dashboard.hub import Hub
from dashboard.likeness import Likeness
from dashboard.link import Link
from dashboard.mirror import Mirror
from dashboard.settings import Settings
from dashboard.upload.jobs import Uploads


@dataclass(frozen=True)
class Services:
    """What the pages work with.

    Attributes:
        settings: what the dashboard was told.
        mirror: what devices said.
        link: the broker; gives commands.
        fields: what devices' cameras see.
        hub: tells browsers of changes.
        users: everybody who may sign in.
        sessions: who has; None: no sign-in is asked for.
        attempts: how often somebody may try.
        uploads: pictures that visitors dropped in.
        likeness: finds cells that look alike.
    """

    settings: Settings
    mirror: Mirror
    link: Link
    fields: Fields
    hub: Hub
    users: Users
    sessions: Sessions | None
    attempts: Attempts
    uploads: Uploads
    likeness: Likeness

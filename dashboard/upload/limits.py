"""How much a visitor may bring, and how long it is kept."""

from __future__ import annotations

from pydantic import Field

from edge.config.table import Table


class UploadLimits(Table):
    """Limits of the upload page. Each protects the machine that the dashboard shares with a device."""

    files: int = Field(
        default=10_000, ge=1, le=100_000, description="Pictures of one job, with those in archives."
    )
    cells: int = Field(
        default=20_000, ge=1, le=200_000, description="Cells of a job; no more pictures are read then."
    )
    file_bytes: int = Field(default=200_000_000, ge=1000, description="Of one file, packed or unpacked.")
    job_bytes: int = Field(default=2_000_000_000, ge=1000, description="Of a job's files together, unpacked.")
    all_bytes: int = Field(default=6_000_000_000, ge=1000, description="Of all jobs together.")
    jobs_a_user: int = Field(
        default=4, ge=1, le=100, description="Kept for a user; the oldest makes room for a new one."
    )
    jobs: int = Field(default=32, ge=1, le=1000, description="Kept for everybody.")
    models: int = Field(default=16, ge=0, le=1000, description="Uploaded models that are kept.")
    keep_minutes: float = Field(
        default=60, gt=0, le=7 * 24 * 60, description="A job that nobody looks at is kept so long."
    )
    answer_s: float = Field(default=60, gt=0, le=3600, description="What one picture may take to be read.")
    private_addresses: bool = Field(
        default=False, description="Pictures may be fetched from this machine and its own network."
    )

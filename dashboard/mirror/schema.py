"""The mirror's tables. What it holds can be had again from the devices, so an older layout is not migrated
but dropped: a new dashboard fetches what it needs.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 4
"""Raise it with every change of the tables."""

# A message's place in the order of things is one number, its stream's in the upper bits and its `seq` in the lower
# ones: a device that lost its database counts from 1 again, in a new stream, and its later messages stay the later.
SEQ_BITS: Final = 32
MOST_STREAMS: Final = 2**20
"""Below 2^53 together with `SEQ_BITS`: browsers count exactly no further."""

TABLES: Final = (
    """CREATE TABLE streams (
        stream INTEGER PRIMARY KEY,
        device TEXT NOT NULL,
        store TEXT NOT NULL,
        reach INTEGER NOT NULL,
        floor INTEGER NOT NULL,
        UNIQUE (device, store)
    ) STRICT""",
    # The numbers that arrived, as spans that do not touch.
    """CREATE TABLE spans (
        stream INTEGER NOT NULL,
        low INTEGER NOT NULL,
        high INTEGER NOT NULL,
        PRIMARY KEY (stream, low)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE devices (
        name TEXT PRIMARY KEY,
        heard_at TEXT NOT NULL,
        status TEXT,
        metrics TEXT
    ) STRICT""",
    # Where cells of a sample arrive before anything is said of it, `number` is 0 and `record` NULL.
    """CREATE TABLE samples (
        device TEXT NOT NULL,
        id TEXT NOT NULL,
        number INTEGER NOT NULL,
        started_at TEXT NOT NULL,
        state TEXT NOT NULL,
        named INTEGER NOT NULL,
        operator TEXT NOT NULL,
        record TEXT,
        PRIMARY KEY (device, id)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE cells (
        number INTEGER PRIMARY KEY,
        device TEXT NOT NULL,
        id TEXT NOT NULL,
        sample TEXT NOT NULL,
        class TEXT NOT NULL,
        confidence REAL NOT NULL,
        verdict TEXT NOT NULL,
        threshold REAL,
        record TEXT NOT NULL,
        saliency TEXT,
        reviewed TEXT,
        standing TEXT NOT NULL AS (coalesce(reviewed, iif(verdict = 'accepted', class, 'waiting'))) VIRTUAL,
        UNIQUE (device, id)
    ) STRICT""",
    "CREATE INDEX cells_in_order ON cells (device, sample)",
    "CREATE INDEX cells_by_verdict ON cells (device, sample, verdict)",
    "CREATE INDEX cells_by_standing ON cells (device, sample, standing)",
    "CREATE INDEX cells_counted ON cells (device, sample, standing, reviewed, threshold)",
    # Given up in the order of arrival when they take too much room.
    """CREATE TABLE pictures (
        arrival INTEGER PRIMARY KEY,
        cell INTEGER NOT NULL UNIQUE,
        size INTEGER NOT NULL,
        jpeg BLOB NOT NULL
    ) STRICT""",
    "CREATE INDEX picture_sizes ON pictures (arrival, size)",
    """CREATE TABLE reviews (
        number INTEGER PRIMARY KEY,
        device TEXT NOT NULL,
        cell TEXT NOT NULL,
        sample TEXT NOT NULL,
        reading TEXT,
        reviewed TEXT,
        operator TEXT NOT NULL,
        reviewed_at TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX reviews_of_cell ON reviews (device, cell)",
    "CREATE INDEX reviews_of_sample ON reviews (device, sample)",
    # What was said of a sample when something was done to it: its target reached, finished, signed.
    """CREATE TABLE results (
        number INTEGER PRIMARY KEY,
        device TEXT NOT NULL,
        sample TEXT NOT NULL,
        record TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX results_of_sample ON results (device, sample)",
    # What a cell looks like to a model, for finding its like.
    """CREATE TABLE embeddings (
        cell INTEGER NOT NULL,
        model_sha256 TEXT NOT NULL,
        vector BLOB NOT NULL,
        PRIMARY KEY (cell, model_sha256)
    ) STRICT, WITHOUT ROWID""",
)

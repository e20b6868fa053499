"""The tables, version by version. `PRAGMA user_version` says which version a database has."""

from __future__ import annotations

# One entry a schema version: the statements that lead there from the version before. Never edit an entry
# that was released; add one.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE meta (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            store_id TEXT NOT NULL,
            boot INTEGER NOT NULL,
            seq INTEGER NOT NULL
        ) STRICT""",
        """CREATE TABLE samples (
            id TEXT PRIMARY KEY,
            started_at TEXT NOT NULL,
            target INTEGER NOT NULL
        ) STRICT""",
        """CREATE TABLE cells (
            seq INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            sample TEXT NOT NULL REFERENCES samples (id),
            file TEXT NOT NULL,
            cell INTEGER NOT NULL,
            box TEXT,
            class TEXT NOT NULL,
            confidence REAL NOT NULL,
            verdict TEXT NOT NULL CHECK (verdict IN ('accepted', 'flagged')),
            reasons TEXT NOT NULL,
            probabilities TEXT NOT NULL,
            model TEXT NOT NULL,
            model_sha256 TEXT NOT NULL,
            captured_at TEXT NOT NULL,
            elapsed_ms REAL NOT NULL
        ) STRICT""",
        "CREATE INDEX cells_of_sample ON cells (sample, verdict, class)",
        """CREATE TABLE outbox (
            seq INTEGER PRIMARY KEY,
            topic TEXT NOT NULL,
            payload TEXT NOT NULL,
            published_at TEXT
        ) STRICT""",
        "CREATE INDEX outbox_pending ON outbox (seq) WHERE published_at IS NULL",
        "CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL",
        """CREATE TABLE files_read (
            name TEXT NOT NULL,
            size INTEGER NOT NULL,
            mtime_ns INTEGER NOT NULL,
            PRIMARY KEY (name, size, mtime_ns)
        ) STRICT, WITHOUT ROWID""",
    ),
    (
        # A sample that nobody started (a device's day) is not named, and neither opened nor finished.
        "ALTER TABLE samples ADD COLUMN named INTEGER NOT NULL DEFAULT 0 CHECK (named IN (0, 1))",
        "ALTER TABLE samples ADD COLUMN operator TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE samples ADD COLUMN reached_at TEXT",
        "ALTER TABLE samples ADD COLUMN finished_at TEXT",
        "CREATE UNIQUE INDEX one_open_sample ON samples (named) WHERE named = 1 AND finished_at IS NULL",
        "ALTER TABLE cells ADD COLUMN region INTEGER",
        "ALTER TABLE cells ADD COLUMN x REAL",
        "ALTER TABLE cells ADD COLUMN y REAL",
        "ALTER TABLE cells ADD COLUMN views INTEGER NOT NULL DEFAULT 1",
        # What a person says of it: the reading of its newest review that was not withdrawn.
        "ALTER TABLE cells ADD COLUMN reviewed TEXT",
        "DROP INDEX cells_of_sample",
        "CREATE INDEX cells_of_sample ON cells (sample, verdict, class, reviewed)",
        """CREATE TABLE crops (
            seq INTEGER PRIMARY KEY REFERENCES cells (seq),
            jpeg BLOB NOT NULL
        ) STRICT""",
        """CREATE TABLE keyframes (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            sample TEXT NOT NULL REFERENCES samples (id),
            region INTEGER NOT NULL,
            x REAL NOT NULL,
            y REAL NOT NULL,
            height INTEGER NOT NULL,
            width INTEGER NOT NULL,
            grey BLOB NOT NULL
        ) STRICT""",
        "CREATE INDEX keyframes_of_sample ON keyframes (sample)",
        """CREATE TABLE skipped (
            sample TEXT NOT NULL REFERENCES samples (id),
            reason TEXT NOT NULL,
            frames INTEGER NOT NULL,
            PRIMARY KEY (sample, reason)
        ) STRICT, WITHOUT ROWID""",
        # A reading of NULL withdraws the review before it.
        """CREATE TABLE reviews (
            seq INTEGER PRIMARY KEY,
            cell INTEGER NOT NULL REFERENCES cells (seq),
            reading TEXT,
            operator TEXT NOT NULL,
            reviewed_at TEXT NOT NULL,
            withdrawn INTEGER NOT NULL DEFAULT 0 CHECK (withdrawn IN (0, 1))
        ) STRICT""",
        "CREATE INDEX reviews_of_cell ON reviews (cell)",
        """CREATE TABLE audit (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            at TEXT NOT NULL,
            author TEXT NOT NULL,
            via TEXT NOT NULL,
            action TEXT NOT NULL,
            sample TEXT REFERENCES samples (id),
            detail TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX audit_of_sample ON audit (sample)",
        """CREATE TABLE answers (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            request TEXT NOT NULL UNIQUE,
            payload TEXT NOT NULL
        ) STRICT""",
    ),
    (
        # Changes at each start, and is part of every id: a database that was put back to an older state, by a card
        # that lost its last writes or from a copy, gives numbers twice, but no id.
        "ALTER TABLE meta ADD COLUMN nonce TEXT NOT NULL DEFAULT ''",
        # Of cells that an older program decided the threshold is not known.
        "ALTER TABLE cells ADD COLUMN threshold REAL",
        "ALTER TABLE cells ADD COLUMN throttled TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE samples ADD COLUMN signed_by TEXT",
        "ALTER TABLE samples ADD COLUMN signed_at TEXT",
        # The threshold that somebody set, and what it stands in for: where that changes, it holds no longer.
        """CREATE TABLE threshold (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            value REAL NOT NULL,
            model_sha256 TEXT NOT NULL,
            configured REAL NOT NULL
        ) STRICT""",
        "DROP INDEX cells_of_sample",
        "CREATE INDEX cells_of_sample ON cells (sample, verdict, class, reviewed, threshold)",
        # By sample, then seq: where a sample begins is asked with every frame.
        "CREATE INDEX cells_in_order ON cells (sample)",
        # What is said goes apart from where it stands, so that an acknowledgement does not rewrite the message.
        """CREATE TABLE delivery (
            seq INTEGER PRIMARY KEY,
            topic TEXT NOT NULL,
            bytes INTEGER NOT NULL,
            picture INTEGER NOT NULL CHECK (picture IN (0, 1, 2)),
            put_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
            published_at TEXT
        ) STRICT""",
        # A picture of an accepted cell (1) is given up before one that a person is to see (2).
        """INSERT INTO delivery (seq, topic, bytes, picture, published_at)
            SELECT seq, topic, length(CAST(payload AS BLOB)),
                (payload LIKE '%"thumbnail":%') * (1 + (topic <> 'cell/accepted')), published_at
            FROM outbox""",
        "DROP INDEX outbox_pending",
        "DROP INDEX outbox_published",
        "ALTER TABLE outbox DROP COLUMN published_at",
        "ALTER TABLE outbox DROP COLUMN topic",
        "CREATE INDEX delivery_waiting ON delivery (seq, topic) WHERE published_at IS NULL",
        "CREATE INDEX delivery_of_topic ON delivery (topic, seq) WHERE published_at IS NULL",
        "CREATE INDEX delivery_pictures ON delivery (picture, seq) WHERE published_at IS NULL AND picture > 0",
        "CREATE INDEX delivery_published ON delivery (published_at) WHERE published_at IS NOT NULL",
        """CREATE TABLE outbox_totals (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            waiting INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            pictures_dropped INTEGER NOT NULL,
            replays INTEGER NOT NULL
        ) STRICT""",
        """INSERT INTO outbox_totals
            SELECT 1, count(*) FILTER (WHERE published_at IS NULL), coalesce(sum(bytes), 0), 0, 0 FROM delivery""",
        """CREATE TRIGGER delivery_inserted AFTER INSERT ON delivery BEGIN
            UPDATE outbox_totals SET waiting = waiting + (NEW.published_at IS NULL), bytes = bytes + NEW.bytes;
        END""",
        """CREATE TRIGGER delivery_updated AFTER UPDATE ON delivery BEGIN
            UPDATE outbox_totals SET
                waiting = waiting + (NEW.published_at IS NULL) - (OLD.published_at IS NULL),
                bytes = bytes + NEW.bytes - OLD.bytes,
                pictures_dropped = pictures_dropped + (OLD.picture > NEW.picture);
        END""",
        """CREATE TRIGGER delivery_deleted AFTER DELETE ON delivery BEGIN
            UPDATE outbox_totals SET waiting = waiting - (OLD.published_at IS NULL), bytes = bytes - OLD.bytes;
        END""",
        # What failed at the broker, by kind.
        """CREATE TABLE failures (
            what TEXT NOT NULL,
            reason TEXT NOT NULL,
            times INTEGER NOT NULL,
            first_at TEXT NOT NULL,
            last_at TEXT NOT NULL,
            PRIMARY KEY (what, reason)
        ) STRICT, WITHOUT ROWID""",
    ),
)

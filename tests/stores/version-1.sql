BEGIN TRANSACTION;
CREATE TABLE cells (
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
        ) STRICT;
INSERT INTO "cells" VALUES(1,'82db7367-1','bench-2026-01-31','',0,'[83, 90, 190, 184]','neutrophil',0.9931,'accepted','[]','{"basophil": 0.0017250000000000043, "eosinophil": 0.0017250000000000043, "lymphocyte": 0.0017250000000000043, "monocyte": 0.0017250000000000043, "neutrophil": 0.9931}','cnn-int8','abababababababababababababababababababababababababababababababab','2026-01-31T10:20:30.123Z',1.4321);
INSERT INTO "cells" VALUES(2,'82db7367-2','bench-2026-01-31','',0,'[83, 90, 190, 184]','neutrophil',0.9931,'accepted','[]','{"basophil": 0.0017250000000000043, "eosinophil": 0.0017250000000000043, "lymphocyte": 0.0017250000000000043, "monocyte": 0.0017250000000000043, "neutrophil": 0.9931}','cnn-int8','abababababababababababababababababababababababababababababababab','2026-01-31T10:20:30.123Z',1.4321);
INSERT INTO "cells" VALUES(3,'82db7367-3','bench-2026-01-31','a.jpg',1,'[83, 90, 190, 184]','monocyte',0.9931,'flagged','["ambiguous"]','{"basophil": 0.0017250000000000043, "eosinophil": 0.0017250000000000043, "lymphocyte": 0.0017250000000000043, "monocyte": 0.9931, "neutrophil": 0.0017250000000000043}','cnn-int8','abababababababababababababababababababababababababababababababab','2026-01-31T10:20:30.123Z',1.4321);
INSERT INTO "cells" VALUES(4,'82db7367-4','bench-2026-01-31','',0,NULL,'basophil',0.9931,'accepted','[]','{"basophil": 0.9931, "eosinophil": 0.0017250000000000043, "lymphocyte": 0.0017250000000000043, "monocyte": 0.0017250000000000043, "neutrophil": 0.0017250000000000043}','cnn-int8','abababababababababababababababababababababababababababababababab','2026-01-31T10:20:30.123Z',1.4321);
CREATE TABLE files_read (
            name TEXT NOT NULL,
            size INTEGER NOT NULL,
            mtime_ns INTEGER NOT NULL,
            PRIMARY KEY (name, size, mtime_ns)
        ) STRICT, WITHOUT ROWID;
INSERT INTO "files_read" VALUES('a.jpg',10,20);
CREATE TABLE meta (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            store_id TEXT NOT NULL,
            boot INTEGER NOT NULL,
            seq INTEGER NOT NULL
        ) STRICT;
INSERT INTO "meta" VALUES(1,'82db7367',1,4);
CREATE TABLE outbox (
            seq INTEGER PRIMARY KEY,
            topic TEXT NOT NULL,
            payload TEXT NOT NULL,
            published_at TEXT
        ) STRICT;
INSERT INTO "outbox" VALUES(1,'cell/accepted','{"seq": 1}','2026-01-31T10:20:30.123Z');
INSERT INTO "outbox" VALUES(2,'cell/accepted','{"seq": 2}','2026-01-31T10:20:30.123Z');
INSERT INTO "outbox" VALUES(3,'cell/flagged','{"seq": 3}',NULL);
INSERT INTO "outbox" VALUES(4,'cell/accepted','{"seq": 4}',NULL);
CREATE TABLE samples (
            id TEXT PRIMARY KEY,
            started_at TEXT NOT NULL,
            target INTEGER NOT NULL
        ) STRICT;
INSERT INTO "samples" VALUES('bench-2026-01-31','2026-01-31T10:20:30.123Z',100);
CREATE INDEX cells_of_sample ON cells (sample, verdict, class);
CREATE INDEX outbox_pending ON outbox (seq) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;
COMMIT;

BEGIN TRANSACTION;
CREATE TABLE answers (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            request TEXT NOT NULL UNIQUE,
            payload TEXT NOT NULL
        ) STRICT;
INSERT INTO "answers" VALUES(1,'q1','{"ok": true}');
CREATE TABLE audit (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            at TEXT NOT NULL,
            author TEXT NOT NULL,
            via TEXT NOT NULL,
            action TEXT NOT NULL,
            sample TEXT REFERENCES samples (id),
            detail TEXT NOT NULL
        ) STRICT;
INSERT INTO "audit" VALUES(1,'2026-01-31T10:20:30.123Z','Ann','mqtt','sample/start','S-1','target 2');
INSERT INTO "audit" VALUES(2,'2026-01-31T10:21:30.123Z','Bob','mqtt','review','S-1','cell 8c458bc8-4: monocyte: eosinophil');
INSERT INTO "audit" VALUES(3,'2026-01-31T10:22:30.123Z','bench','device','sample/target','S-1','2 cells accepted, as many as wanted');
INSERT INTO "audit" VALUES(4,'2026-01-31T10:22:30.123Z','Ann','cli','sample/finish','S-1','3 cells accepted, 0 flagged');
INSERT INTO "audit" VALUES(5,'2026-01-31T10:23:30.123Z','pi','cli','sample/start','S-2','target 2');
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
        , region INTEGER, x REAL, y REAL, views INTEGER NOT NULL DEFAULT 1, reviewed TEXT) STRICT;
INSERT INTO "cells" VALUES(1,'8c458bc8-1','bench-2026-01-31','a.jpg',0,'[83, 90, 190, 184]','neutrophil',0.9931,'accepted','[]','{"basophil": 0.0017250000000000043, "eosinophil": 0.0017250000000000043, "lymphocyte": 0.0017250000000000043, "monocyte": 0.0017250000000000043, "neutrophil": 0.9931}','cnn-int8','abababababababababababababababababababababababababababababababab','2026-01-31T10:20:30.123Z',1.4321,NULL,NULL,NULL,1,NULL);
INSERT INTO "cells" VALUES(2,'8c458bc8-2','S-1','',0,'[83, 90, 190, 184]','neutrophil',0.9931,'accepted','[]','{"basophil": 0.0017250000000000043, "eosinophil": 0.0017250000000000043, "lymphocyte": 0.0017250000000000043, "monocyte": 0.0017250000000000043, "neutrophil": 0.9931}','cnn-int8','abababababababababababababababababababababababababababababababab','2026-01-31T10:20:30.123Z',1.4321,0,0.0,5.0,3,NULL);
INSERT INTO "cells" VALUES(3,'8c458bc8-3','S-1','',1,'[83, 90, 190, 184]','lymphocyte',0.9931,'accepted','[]','{"basophil": 0.0017250000000000043, "eosinophil": 0.0017250000000000043, "lymphocyte": 0.9931, "monocyte": 0.0017250000000000043, "neutrophil": 0.0017250000000000043}','cnn-int8','abababababababababababababababababababababababababababababababab','2026-01-31T10:20:30.123Z',1.4321,0,10.0,5.0,3,NULL);
INSERT INTO "cells" VALUES(4,'8c458bc8-4','S-1','',2,'[83, 90, 190, 184]','monocyte',0.9931,'flagged','["ambiguous"]','{"basophil": 0.0017250000000000043, "eosinophil": 0.0017250000000000043, "lymphocyte": 0.0017250000000000043, "monocyte": 0.9931, "neutrophil": 0.0017250000000000043}','cnn-int8','abababababababababababababababababababababababababababababababab','2026-01-31T10:20:30.123Z',1.4321,0,20.0,5.0,3,'eosinophil');
CREATE TABLE crops (
            seq INTEGER PRIMARY KEY REFERENCES cells (seq),
            jpeg BLOB NOT NULL
        ) STRICT;
INSERT INTO "crops" VALUES(1,X'FFD8FFD9');
INSERT INTO "crops" VALUES(2,X'FFD8FFD9');
INSERT INTO "crops" VALUES(3,X'FFD8FFD9');
INSERT INTO "crops" VALUES(4,X'FFD8FFD9');
CREATE TABLE files_read (
            name TEXT NOT NULL,
            size INTEGER NOT NULL,
            mtime_ns INTEGER NOT NULL,
            PRIMARY KEY (name, size, mtime_ns)
        ) STRICT, WITHOUT ROWID;
INSERT INTO "files_read" VALUES('a.jpg',10,20);
CREATE TABLE keyframes (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            sample TEXT NOT NULL REFERENCES samples (id),
            region INTEGER NOT NULL,
            x REAL NOT NULL,
            y REAL NOT NULL,
            height INTEGER NOT NULL,
            width INTEGER NOT NULL,
            grey BLOB NOT NULL
        ) STRICT;
INSERT INTO "keyframes" VALUES(1,'S-2',0,0.0,0.0,2,3,X'7801636000010000060001');
CREATE TABLE meta (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            store_id TEXT NOT NULL,
            boot INTEGER NOT NULL,
            seq INTEGER NOT NULL
        ) STRICT;
INSERT INTO "meta" VALUES(1,'8c458bc8',1,7);
CREATE TABLE outbox (
            seq INTEGER PRIMARY KEY,
            topic TEXT NOT NULL,
            payload TEXT NOT NULL,
            published_at TEXT
        ) STRICT;
INSERT INTO "outbox" VALUES(1,'cell/accepted','{"seq": 1}','2026-01-31T10:20:30.123Z');
INSERT INTO "outbox" VALUES(2,'cell/accepted','{"seq": 2}','2026-01-31T10:20:30.123Z');
INSERT INTO "outbox" VALUES(3,'cell/accepted','{"seq": 3}',NULL);
INSERT INTO "outbox" VALUES(4,'cell/flagged','{"seq": 4}',NULL);
INSERT INTO "outbox" VALUES(5,'review','{"schema":"leukoscope.review/1","device":"bench","boot_id":"8c458bc8-b1","seq":5,"id":"8c458bc8-5","cell":"8c458bc8-4","sample":"S-1","class":"monocyte","verdict":"flagged","reading":"eosinophil","reviewed":"eosinophil","operator":"Bob","reviewed_at":"2026-01-31T10:21:30.123Z"}',NULL);
INSERT INTO "outbox" VALUES(6,'sample/target','{"schema":"leukoscope.sample/1","device":"bench","boot_id":"8c458bc8-b1","seq":6,"id":"8c458bc8-6","sample":"S-1","started_at":"2026-01-31T10:20:30.123Z","target":2,"accepted":3,"flagged":0,"counts":{"basophil":0,"eosinophil":1,"lymphocyte":1,"monocyte":0,"neutrophil":1},"percentages":{"basophil":0.0,"eosinophil":33.3,"lymphocyte":33.3,"monocyte":0.0,"neutrophil":33.3},"limits":{"basophil":[0.0,70.8],"eosinophil":[0.8,90.6],"lymphocyte":[0.8,90.6],"monocyte":[0.0,70.8],"neutrophil":[0.8,90.6]},"state":"open","named":true,"operator":"Ann","reached_at":"2026-01-31T10:22:30.123Z","finished_at":null,"simultaneous_limits":{"basophil":[0.0,82.9],"eosinophil":[0.2,95.9],"lymphocyte":[0.2,95.9],"monocyte":[0.0,82.9],"neutrophil":[0.2,95.9]},"more_cells":{"basophil":69,"eosinophil":376,"lymphocyte":376,"monocyte":69,"neutrophil":376},"reviewed":1,"not_white_cells":0,"cannot_tell":0}',NULL);
INSERT INTO "outbox" VALUES(7,'sample/finished','{"schema":"leukoscope.sample/1","device":"bench","boot_id":"8c458bc8-b1","seq":7,"id":"8c458bc8-7","sample":"S-1","started_at":"2026-01-31T10:20:30.123Z","target":2,"accepted":3,"flagged":0,"counts":{"basophil":0,"eosinophil":1,"lymphocyte":1,"monocyte":0,"neutrophil":1},"percentages":{"basophil":0.0,"eosinophil":33.3,"lymphocyte":33.3,"monocyte":0.0,"neutrophil":33.3},"limits":{"basophil":[0.0,70.8],"eosinophil":[0.8,90.6],"lymphocyte":[0.8,90.6],"monocyte":[0.0,70.8],"neutrophil":[0.8,90.6]},"state":"finished","named":true,"operator":"Ann","reached_at":"2026-01-31T10:22:30.123Z","finished_at":"2026-01-31T10:22:30.123Z","simultaneous_limits":{"basophil":[0.0,82.9],"eosinophil":[0.2,95.9],"lymphocyte":[0.2,95.9],"monocyte":[0.0,82.9],"neutrophil":[0.2,95.9]},"more_cells":{"basophil":69,"eosinophil":376,"lymphocyte":376,"monocyte":69,"neutrophil":376},"reviewed":1,"not_white_cells":0,"cannot_tell":0}',NULL);
CREATE TABLE reviews (
            seq INTEGER PRIMARY KEY,
            cell INTEGER NOT NULL REFERENCES cells (seq),
            reading TEXT,
            operator TEXT NOT NULL,
            reviewed_at TEXT NOT NULL,
            withdrawn INTEGER NOT NULL DEFAULT 0 CHECK (withdrawn IN (0, 1))
        ) STRICT;
INSERT INTO "reviews" VALUES(5,4,'eosinophil','Bob','2026-01-31T10:21:30.123Z',0);
CREATE TABLE samples (
            id TEXT PRIMARY KEY,
            started_at TEXT NOT NULL,
            target INTEGER NOT NULL
        , named INTEGER NOT NULL DEFAULT 0 CHECK (named IN (0, 1)), operator TEXT NOT NULL DEFAULT '', reached_at TEXT, finished_at TEXT) STRICT;
INSERT INTO "samples" VALUES('bench-2026-01-31','2026-01-31T10:20:30.123Z',2,0,'',NULL,NULL);
INSERT INTO "samples" VALUES('S-1','2026-01-31T10:20:30.123Z',2,1,'Ann','2026-01-31T10:22:30.123Z','2026-01-31T10:22:30.123Z');
INSERT INTO "samples" VALUES('S-2','2026-01-31T10:23:30.123Z',2,1,'',NULL,NULL);
CREATE TABLE skipped (
            sample TEXT NOT NULL REFERENCES samples (id),
            reason TEXT NOT NULL,
            frames INTEGER NOT NULL,
            PRIMARY KEY (sample, reason)
        ) STRICT, WITHOUT ROWID;
INSERT INTO "skipped" VALUES('S-1','moving',3);
CREATE INDEX outbox_pending ON outbox (seq) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;
CREATE UNIQUE INDEX one_open_sample ON samples (named) WHERE named = 1 AND finished_at IS NULL;
CREATE INDEX cells_of_sample ON cells (sample, verdict, class, reviewed);
CREATE INDEX keyframes_of_sample ON keyframes (sample);
CREATE INDEX reviews_of_cell ON reviews (cell);
CREATE INDEX audit_of_sample ON audit (sample);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('audit',5);
INSERT INTO "sqlite_sequence" VALUES('answers',1);
INSERT INTO "sqlite_sequence" VALUES('keyframes',1);
COMMIT;

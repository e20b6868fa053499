-- Everything that devices said, each message once, and views of it for those who ask in SQL.

CREATE TABLE IF NOT EXISTS message (
    device text NOT NULL,
    id text NOT NULL,
    epoch text NOT NULL,          -- numbers are gapless within one database of the device
    seq bigint NOT NULL,
    topic text NOT NULL,          -- below <prefix>/<device>/
    body jsonb NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (device, id)
);
CREATE INDEX IF NOT EXISTS message_seq ON message (device, epoch, seq);
CREATE INDEX IF NOT EXISTS message_sample ON message (device, (body ->> 'sample'));

CREATE TABLE IF NOT EXISTS device (
    device text PRIMARY KEY,
    epoch text NOT NULL DEFAULT '',       -- of its newest message
    last_seq bigint NOT NULL DEFAULT 0,   -- as it said itself: how far its numbers reach
    complete_to bigint NOT NULL DEFAULT 0,
    status jsonb,
    seen_at timestamptz NOT NULL DEFAULT now()
);

CREATE OR REPLACE VIEW cell AS
SELECT device, id, epoch, seq,
    body ->> 'sample' AS sample,
    body ->> 'class' AS class,
    (body ->> 'confidence')::real AS confidence,
    body ->> 'verdict' AS verdict,
    ARRAY(SELECT jsonb_array_elements_text(body -> 'reasons')) AS reasons,
    (body ->> 'captured_at')::timestamptz AS captured_at,
    body ->> 'model' AS model,
    body ->> 'model_sha256' AS model_sha256,
    received_at
FROM message WHERE topic IN ('cell/accepted', 'cell/flagged');

-- The newest decision of a person on each cell; `reviewed` is null where it was withdrawn.
CREATE OR REPLACE VIEW review AS
SELECT DISTINCT ON (device, body ->> 'cell') device, id, epoch, seq,
    body ->> 'cell' AS cell,
    body ->> 'sample' AS sample,
    body ->> 'class' AS class,
    body ->> 'reviewed' AS reviewed,
    body ->> 'operator' AS operator,
    (body ->> 'reviewed_at')::timestamptz AS reviewed_at
FROM message WHERE topic = 'review'
ORDER BY device, body ->> 'cell', epoch, seq DESC;

-- The newest word on each sample that was finished. Numbers of two databases of a device cannot be compared.
CREATE OR REPLACE VIEW result AS
SELECT DISTINCT ON (device, body ->> 'sample') device, id, epoch, seq,
    body ->> 'sample' AS sample,
    (body ->> 'started_at')::timestamptz AS started_at,
    (body ->> 'finished_at')::timestamptz AS finished_at,
    body ->> 'operator' AS operator,
    (body ->> 'accepted')::numeric AS accepted,
    (body ->> 'flagged')::numeric AS flagged,
    body -> 'counts' AS counts,
    body -> 'percentages' AS percentages,
    body -> 'limits' AS limits,
    body ->> 'signed_by' AS signed_by
FROM message WHERE topic = 'sample/finished'
ORDER BY device, body ->> 'sample', body ->> 'finished_at' DESC NULLS LAST, seq DESC;

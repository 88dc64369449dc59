-- Who is told of changes by HTTP, and what they are still to be told.

CREATE TABLE webhooks (
    id            TEXT NOT NULL PRIMARY KEY,
    url           TEXT NOT NULL,
    -- What messages are signed with.
    secret        BLOB NOT NULL,
    -- Kinds of events between commas, as in ',changed,deleted,'; empty for all.
    kinds         TEXT NOT NULL,
    -- Of this network only. It stays when the network goes, to tell of that.
    network       TEXT,
    created_at    BIGINT NOT NULL,
    -- Since when nothing was taken; NULL if the last message was.
    failing_since BIGINT,
    last_error    TEXT,
    delivered_at  BIGINT,
    -- When it was given up, or turned off; NULL while it is told.
    disabled_at   BIGINT
);

-- The outbox: written in the transaction of what it tells, read by whichever replica is first.
CREATE TABLE deliveries (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook      TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    message      TEXT NOT NULL,
    -- The event, as the stream of events tells it.
    event        TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    attempts     BIGINT NOT NULL,
    due_at       BIGINT NOT NULL,
    leased_until BIGINT NOT NULL
);
CREATE INDEX deliveries_due ON deliveries (due_at);
CREATE INDEX deliveries_of ON deliveries (webhook);

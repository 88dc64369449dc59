-- What came of the last messages to each webhook, to be looked at. Of the moment: it is not copied to other stores.

CREATE TABLE webhook_attempts (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook    TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    message    TEXT NOT NULL,
    -- The event, as the stream of events tells it; empty for a test.
    event      TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    attempt    BIGINT NOT NULL,
    -- NULL if there was no answer.
    status     BIGINT,
    -- NULL if it was taken.
    error      TEXT
);
CREATE INDEX webhook_attempts_of ON webhook_attempts (webhook, id);

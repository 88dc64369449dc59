-- Answers to requests that carry an idempotency key, so that a repeated request is answered and not carried out again.
CREATE TABLE answers (
    -- SHA-256 of who asks and the key.
    id           BLOB   NOT NULL PRIMARY KEY,
    -- SHA-256 of method, path and body.
    request      BLOB   NOT NULL,
    -- Names the request that is being carried out, and until when nobody else takes it over.
    lease        BIGINT NOT NULL,
    leased_until BIGINT NOT NULL,
    -- Encrypted under the token of who asks; NULL while it is being carried out.
    answer       BLOB,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX answers_expiring ON answers (expires_at);

-- When a token was last shown, to the minute.
ALTER TABLE api_tokens ADD COLUMN last_used_at BIGINT;

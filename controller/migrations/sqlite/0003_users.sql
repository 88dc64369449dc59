-- People, what they may do, and who is signed in where.

CREATE TABLE users (
    id         TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL,
    name_key   TEXT   NOT NULL UNIQUE,
    -- Argon2id, in the PHC string format.
    password   TEXT   NOT NULL,
    -- In every network; `none` for those who have roles in some only.
    role       TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE user_roles (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    network TEXT NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
    role    TEXT NOT NULL,
    PRIMARY KEY (user_id, network)
);

-- Only hashes of what the browser holds.
CREATE TABLE sessions (
    id         TEXT   NOT NULL PRIMARY KEY,
    hash       BLOB   NOT NULL,
    user_id    TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    seen_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_of ON sessions (user_id);

-- The link that makes the first user, while there is none.
CREATE TABLE setup_link (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    hash       BLOB   NOT NULL,
    expires_at BIGINT NOT NULL
);

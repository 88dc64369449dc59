-- People, what they may do, and who is signed in where.

CREATE TABLE users (
    id         TEXT COLLATE "C"   NOT NULL PRIMARY KEY,
    name       TEXT COLLATE "C"   NOT NULL,
    name_key   TEXT COLLATE "C"   NOT NULL UNIQUE,
    -- Argon2id, in the PHC string format.
    password   TEXT COLLATE "C"   NOT NULL,
    -- In every network; `none` for those who have roles in some only.
    role       TEXT COLLATE "C"   NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE user_roles (
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    network TEXT COLLATE "C" NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
    role    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, network)
);

-- Only hashes of what the browser holds.
CREATE TABLE sessions (
    id         TEXT COLLATE "C"   NOT NULL PRIMARY KEY,
    hash       BYTEA   NOT NULL,
    user_id    TEXT COLLATE "C"   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    seen_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_of ON sessions (user_id);

-- The link that makes the first user, while there is none.
CREATE TABLE setup_link (
    id         BIGINT PRIMARY KEY CHECK (id = 1),
    hash       BYTEA   NOT NULL,
    expires_at BIGINT NOT NULL
);

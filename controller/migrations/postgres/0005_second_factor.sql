-- Two-step sign-in.

CREATE TABLE second_factors (
    user_id   TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    -- Of the codes, sealed under the user's password.
    secret    BYTEA  NOT NULL,
    -- The time step of the last code that was used: each counts once.
    last_step BIGINT NOT NULL
);

-- Only hashes. Each is deleted when it is used.
CREATE TABLE recovery_codes (
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, hash)
);

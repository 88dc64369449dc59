-- Who signs in with an account at an identity provider. A user without a password has the empty text in its place.

CREATE TABLE identities (
    issuer  TEXT COLLATE "C" NOT NULL,
    -- What the provider knows them by.
    subject TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (issuer, subject),
    UNIQUE (user_id, issuer)
);

-- Who signs in with an account at an identity provider. A user without a password has the empty text in its place.

CREATE TABLE identities (
    issuer  TEXT NOT NULL,
    -- What the provider knows them by.
    subject TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (issuer, subject),
    UNIQUE (user_id, issuer)
);

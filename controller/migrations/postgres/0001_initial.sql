-- Uniqueness is what these constraints say, not what code checked a moment before. The columns mean what they mean in
-- SQLite; flags are 0 or 1, text is ordered by bytes.

-- The clock of the database under SQLite's name for it, so that statements are the same.
CREATE FUNCTION unixepoch() RETURNS BIGINT LANGUAGE sql STABLE
    AS $$ SELECT floor(extract(epoch FROM statement_timestamp()))::BIGINT $$;

CREATE TABLE authority (
    id         BIGINT PRIMARY KEY CHECK (id = 1),
    root_key   BYTEA    NOT NULL,
    epoch      BIGINT  NOT NULL,
    revision   BIGINT  NOT NULL,
    keyring    BYTEA    NOT NULL
);

CREATE TABLE networks (
    id            TEXT COLLATE "C"    NOT NULL PRIMARY KEY,
    number        BIGINT  NOT NULL UNIQUE,
    name          TEXT COLLATE "C"    NOT NULL,
    name_key      TEXT COLLATE "C"    NOT NULL UNIQUE,
    private       BIGINT NOT NULL,
    mtu           BIGINT NOT NULL,
    v4_ranges     TEXT COLLATE "C"    NOT NULL,
    on_link       TEXT COLLATE "C"    NOT NULL,
    subnet_pools  TEXT COLLATE "C"    NOT NULL,
    v6_modes      TEXT COLLATE "C"    NOT NULL,
    member_routes TEXT COLLATE "C"    NOT NULL,
    -- Counts signed changes; nodes see it.
    revision      BIGINT  NOT NULL,
    -- Counts every change; a writer names the one it decided on.
    sequence      BIGINT  NOT NULL
);

CREATE TABLE members (
    network         TEXT COLLATE "C"    NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
    identity        BYTEA    NOT NULL,
    node            TEXT COLLATE "C"    NOT NULL,
    name            TEXT COLLATE "C"    NOT NULL,
    name_key        TEXT COLLATE "C"    NOT NULL,
    transport       BYTEA    NOT NULL,
    transport_epoch BIGINT  NOT NULL,
    state           TEXT COLLATE "C"    NOT NULL,
    tags            TEXT COLLATE "C"    NOT NULL,
    relay           BIGINT NOT NULL,
    serial          BIGINT  NOT NULL,
    issued_at       BIGINT  NOT NULL,
    not_after       BIGINT  NOT NULL,
    PRIMARY KEY (network, identity),
    UNIQUE (network, node),
    UNIQUE (network, name_key)
);

CREATE TABLE member_addresses (
    network  TEXT COLLATE "C" NOT NULL,
    address  TEXT COLLATE "C" NOT NULL,
    identity BYTEA NOT NULL,
    PRIMARY KEY (network, address),
    FOREIGN KEY (network, identity) REFERENCES members (network, identity) ON DELETE CASCADE
);
CREATE INDEX member_addresses_of ON member_addresses (network, identity);

CREATE TABLE requests (
    network         TEXT COLLATE "C"   NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
    identity        BYTEA   NOT NULL,
    node            TEXT COLLATE "C"   NOT NULL,
    name            TEXT COLLATE "C"   NOT NULL,
    transport       BYTEA   NOT NULL,
    transport_epoch BIGINT NOT NULL,
    source          TEXT COLLATE "C"   NOT NULL,
    requested_at    BIGINT NOT NULL,
    PRIMARY KEY (network, identity)
);

CREATE TABLE routes (
    -- Unique in all networks, so that a route can be named by its id alone.
    id        BIGINT  NOT NULL UNIQUE,
    network   TEXT COLLATE "C"    NOT NULL,
    target    TEXT COLLATE "C"    NOT NULL,
    via       BYTEA    NOT NULL,
    mode      TEXT COLLATE "C"    NOT NULL,
    metric    BIGINT  NOT NULL,
    state     TEXT COLLATE "C"    NOT NULL,
    by_member BIGINT NOT NULL,
    PRIMARY KEY (network, id),
    UNIQUE (network, target, via),
    FOREIGN KEY (network, via) REFERENCES members (network, identity) ON DELETE CASCADE
);
CREATE UNIQUE INDEX routes_single ON routes (network, target)
    WHERE mode = 'single' AND state <> 'pending';
CREATE INDEX routes_via ON routes (network, via);

-- What is served to nodes, and nothing else. A revocation outlives its member.
CREATE TABLE documents (
    network   TEXT COLLATE "C"   NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
    kind      TEXT COLLATE "C"   NOT NULL,
    identity  BYTEA   NOT NULL,
    epoch     BIGINT NOT NULL,
    revision  BIGINT NOT NULL,
    issued_at BIGINT NOT NULL,
    entry     BYTEA   NOT NULL,
    PRIMARY KEY (network, kind, identity)
);
CREATE INDEX documents_by_version ON documents (network, epoch, revision);

CREATE TABLE announcements (
    network      TEXT COLLATE "C"   NOT NULL,
    identity     BYTEA   NOT NULL,
    sequence     BIGINT NOT NULL,
    announcement BYTEA   NOT NULL,
    PRIMARY KEY (network, identity),
    FOREIGN KEY (network, identity) REFERENCES members (network, identity) ON DELETE CASCADE
);

CREATE TABLE clashes (
    network  TEXT COLLATE "C" NOT NULL,
    identity BYTEA NOT NULL,
    clashes  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (network, identity),
    FOREIGN KEY (network, identity) REFERENCES members (network, identity) ON DELETE CASCADE
);

CREATE TABLE presence (
    identity  BYTEA   NOT NULL PRIMARY KEY,
    software  TEXT COLLATE "C"   NOT NULL,
    last_seen BIGINT NOT NULL
);

CREATE TABLE join_tokens (
    id         TEXT COLLATE "C"   NOT NULL PRIMARY KEY,
    network    TEXT COLLATE "C"   NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
    hash       BYTEA   NOT NULL,
    uses_left  BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX join_tokens_of ON join_tokens (network);

CREATE TABLE api_tokens (
    id         TEXT COLLATE "C"   NOT NULL PRIMARY KEY,
    name       TEXT COLLATE "C"   NOT NULL UNIQUE,
    hash       BYTEA   NOT NULL,
    scopes     TEXT COLLATE "C"   NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);

CREATE TABLE audit (
    id      BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    at      BIGINT NOT NULL,
    actor   TEXT COLLATE "C"   NOT NULL,
    action  TEXT COLLATE "C"   NOT NULL,
    network TEXT COLLATE "C",
    subject TEXT COLLATE "C"   NOT NULL
);

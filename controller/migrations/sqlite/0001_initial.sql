-- Uniqueness is what these constraints say, not what code checked a moment before.

CREATE TABLE authority (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    root_key   BLOB    NOT NULL,
    epoch      BIGINT  NOT NULL,
    revision   BIGINT  NOT NULL,
    keyring    BLOB    NOT NULL
);

CREATE TABLE networks (
    id            TEXT    NOT NULL PRIMARY KEY,
    number        BIGINT  NOT NULL UNIQUE,
    name          TEXT    NOT NULL,
    name_key      TEXT    NOT NULL UNIQUE,
    private       BOOLEAN NOT NULL,
    mtu           INTEGER NOT NULL,
    v4_ranges     TEXT    NOT NULL,
    on_link       TEXT    NOT NULL,
    subnet_pools  TEXT    NOT NULL,
    v6_modes      TEXT    NOT NULL,
    member_routes TEXT    NOT NULL,
    -- Counts signed changes; nodes see it.
    revision      BIGINT  NOT NULL,
    -- Counts every change; a writer names the one it decided on.
    sequence      BIGINT  NOT NULL
);

CREATE TABLE members (
    network         TEXT    NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
    identity        BLOB    NOT NULL,
    node            TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    name_key        TEXT    NOT NULL,
    transport       BLOB    NOT NULL,
    transport_epoch BIGINT  NOT NULL,
    state           TEXT    NOT NULL,
    tags            TEXT    NOT NULL,
    relay           BOOLEAN NOT NULL,
    serial          BIGINT  NOT NULL,
    issued_at       BIGINT  NOT NULL,
    not_after       BIGINT  NOT NULL,
    PRIMARY KEY (network, identity),
    UNIQUE (network, node),
    UNIQUE (network, name_key)
);

CREATE TABLE member_addresses (
    network  TEXT NOT NULL,
    address  TEXT NOT NULL,
    identity BLOB NOT NULL,
    PRIMARY KEY (network, address),
    FOREIGN KEY (network, identity) REFERENCES members (network, identity) ON DELETE CASCADE
);
CREATE INDEX member_addresses_of ON member_addresses (network, identity);

CREATE TABLE requests (
    network         TEXT   NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
    identity        BLOB   NOT NULL,
    node            TEXT   NOT NULL,
    name            TEXT   NOT NULL,
    transport       BLOB   NOT NULL,
    transport_epoch BIGINT NOT NULL,
    source          TEXT   NOT NULL,
    requested_at    BIGINT NOT NULL,
    PRIMARY KEY (network, identity)
);

CREATE TABLE routes (
    -- Unique in all networks, so that a route can be named by its id alone.
    id        BIGINT  NOT NULL UNIQUE,
    network   TEXT    NOT NULL,
    target    TEXT    NOT NULL,
    via       BLOB    NOT NULL,
    mode      TEXT    NOT NULL,
    metric    BIGINT  NOT NULL,
    state     TEXT    NOT NULL,
    by_member BOOLEAN NOT NULL,
    PRIMARY KEY (network, id),
    UNIQUE (network, target, via),
    FOREIGN KEY (network, via) REFERENCES members (network, identity) ON DELETE CASCADE
);
CREATE UNIQUE INDEX routes_single ON routes (network, target)
    WHERE mode = 'single' AND state <> 'pending';
CREATE INDEX routes_via ON routes (network, via);

-- What is served to nodes, and nothing else. A revocation outlives its member.
CREATE TABLE documents (
    network   TEXT   NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
    kind      TEXT   NOT NULL,
    identity  BLOB   NOT NULL,
    epoch     BIGINT NOT NULL,
    revision  BIGINT NOT NULL,
    issued_at BIGINT NOT NULL,
    entry     BLOB   NOT NULL,
    PRIMARY KEY (network, kind, identity)
);
CREATE INDEX documents_by_version ON documents (network, epoch, revision);

CREATE TABLE announcements (
    network      TEXT   NOT NULL,
    identity     BLOB   NOT NULL,
    sequence     BIGINT NOT NULL,
    announcement BLOB   NOT NULL,
    PRIMARY KEY (network, identity),
    FOREIGN KEY (network, identity) REFERENCES members (network, identity) ON DELETE CASCADE
);

CREATE TABLE clashes (
    network  TEXT NOT NULL,
    identity BLOB NOT NULL,
    clashes  TEXT NOT NULL,
    PRIMARY KEY (network, identity),
    FOREIGN KEY (network, identity) REFERENCES members (network, identity) ON DELETE CASCADE
);

CREATE TABLE presence (
    identity  BLOB   NOT NULL PRIMARY KEY,
    software  TEXT   NOT NULL,
    last_seen BIGINT NOT NULL
);

CREATE TABLE join_tokens (
    id         TEXT   NOT NULL PRIMARY KEY,
    network    TEXT   NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
    hash       BLOB   NOT NULL,
    uses_left  BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX join_tokens_of ON join_tokens (network);

CREATE TABLE api_tokens (
    id         TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL UNIQUE,
    hash       BLOB   NOT NULL,
    scopes     TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      BIGINT NOT NULL,
    actor   TEXT   NOT NULL,
    action  TEXT   NOT NULL,
    network TEXT,
    subject TEXT   NOT NULL
);

-- Every replica that ever started on this store. Whether its key counts is what the signed keyring says, not this table.
CREATE TABLE replicas (
    key           BLOB   NOT NULL PRIMARY KEY,
    endpoints     TEXT   NOT NULL,
    software      TEXT   NOT NULL,
    registered_at BIGINT NOT NULL,
    last_seen     BIGINT NOT NULL,
    -- A revoked key never comes back: 1 if it was revoked.
    revoked       BIGINT NOT NULL DEFAULT 0
);

-- When an announcement came, so that replicas find what others took.
ALTER TABLE announcements ADD COLUMN stored_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX announcements_stored ON announcements (stored_at);

-- The replica that a node is connected to now.
ALTER TABLE presence ADD COLUMN home BLOB;

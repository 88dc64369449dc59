-- The last backup, in one row; none if there was none yet.

CREATE TABLE last_backup (
    id        BIGINT PRIMARY KEY CHECK (id = 1),
    made_at   BIGINT NOT NULL,
    -- As the audit log names whoever made it.
    actor     TEXT COLLATE "C" NOT NULL,
    -- 1 if it is encrypted.
    encrypted BIGINT NOT NULL,
    -- 1 if the root key is in it.
    root_key  BIGINT NOT NULL,
    bytes     BIGINT NOT NULL
);

-- How members say that they reach their peers.

CREATE TABLE links (
    network  TEXT   NOT NULL,
    identity BLOB   NOT NULL,
    told_at  BIGINT NOT NULL,
    -- Bytes per second.
    sent     BIGINT NOT NULL,
    received BIGINT NOT NULL,
    links    BLOB   NOT NULL,
    PRIMARY KEY (network, identity),
    FOREIGN KEY (network, identity) REFERENCES members (network, identity) ON DELETE CASCADE
);

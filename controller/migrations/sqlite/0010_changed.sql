-- Which rows of a network each of its last changes touched, so that other replicas read those alone. A change that is not
-- here makes them read the whole network.
CREATE TABLE changed (
    network  TEXT NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
    sequence BIGINT NOT NULL,
    touched  BLOB   NOT NULL,
    PRIMARY KEY (network, sequence)
);

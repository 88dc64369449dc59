-- The audit log as a chain: each line's hash covers the line and the hash before it. A line of an older controller has no
-- place until a newer one gives it one.

ALTER TABLE audit ADD COLUMN state_before TEXT COLLATE "C";
ALTER TABLE audit ADD COLUMN state_after TEXT COLLATE "C";
ALTER TABLE audit ADD COLUMN place BIGINT;
ALTER TABLE audit ADD COLUMN hash BYTEA;
CREATE UNIQUE INDEX audit_place ON audit (place);
CREATE INDEX audit_of ON audit (network, place);
CREATE INDEX audit_without_place ON audit (id) WHERE place IS NULL;

-- The end of the chain. Whoever appends holds this row, so that there is one order.
CREATE TABLE audit_head (
    id    BIGINT PRIMARY KEY CHECK (id = 1),
    place BIGINT NOT NULL,
    hash  BYTEA  NOT NULL
);
INSERT INTO audit_head (id, place, hash) VALUES (1, 0, decode(repeat('00', 32), 'hex'));

-- What is relayed: by replicas since they started, and how many links of a report go by a relay.

ALTER TABLE replicas ADD COLUMN relay_clients BIGINT NOT NULL DEFAULT 0;
ALTER TABLE replicas ADD COLUMN relay_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE links ADD COLUMN relayed BIGINT NOT NULL DEFAULT 0;

-- What a node's software can do: bits, as it says itself.
ALTER TABLE presence ADD COLUMN capabilities BIGINT NOT NULL DEFAULT 0;

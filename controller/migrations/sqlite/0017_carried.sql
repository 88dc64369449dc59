-- What a member relays for others of the network, as it tells; NULL of members that do not tell.

ALTER TABLE links ADD COLUMN carried_clients BIGINT;
ALTER TABLE links ADD COLUMN carried_bytes BIGINT;

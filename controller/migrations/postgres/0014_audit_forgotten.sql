-- The last line of the audit log that was forgotten on purpose: what is left is verified from there.

ALTER TABLE audit_head ADD COLUMN forgotten_place BIGINT NOT NULL DEFAULT 0;
ALTER TABLE audit_head ADD COLUMN forgotten_hash BYTEA NOT NULL DEFAULT decode(repeat('00', 32), 'hex');

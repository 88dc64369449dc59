-- The last line of the audit log that was forgotten on purpose: what is left is verified from there.

ALTER TABLE audit_head ADD COLUMN forgotten_place BIGINT NOT NULL DEFAULT 0;
ALTER TABLE audit_head ADD COLUMN forgotten_hash BLOB NOT NULL DEFAULT x'0000000000000000000000000000000000000000000000000000000000000000';

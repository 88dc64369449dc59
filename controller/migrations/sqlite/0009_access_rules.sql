-- The access rules of a network as JSON {"default": "allow", "rules": ["deny tcp 22 from any to any"]}, members by key.
-- Empty for none.

ALTER TABLE networks ADD COLUMN access_rules TEXT NOT NULL DEFAULT '';

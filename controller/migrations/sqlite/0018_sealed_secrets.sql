-- The key that a webhook's secret is sealed with; empty while it lies there as it is.

ALTER TABLE webhooks ADD COLUMN sealed_by TEXT NOT NULL DEFAULT '';

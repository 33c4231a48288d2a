-- +goose Up

-- 16 bytes for each of the transaction's messages, in their order: a digest of
-- what the half message has, by which a compensation knows what was committed. Null:
-- written by an earlier version, by another language, or to roll back.
ALTER TABLE holdfast_outcomes ADD COLUMN digest bytea;

-- +goose Down

ALTER TABLE holdfast_outcomes DROP COLUMN digest;

-- +goose Up

-- One row per local transaction: the truth about how it ended. The row is
-- never changed once its transaction is committed.
CREATE TABLE holdfast_outcomes (
    tx_id          text        NOT NULL PRIMARY KEY,
    producer_group text        NOT NULL,
    resolution     text        NOT NULL CHECK (resolution IN ('commit', 'rollback')),
    -- The messages in JSON, if the local transaction changed them. Bytes, not
    -- jsonb: jsonb refuses \u0000 and does not keep what was written.
    messages       bytea,
    created_at     timestamptz NOT NULL DEFAULT now()
);

-- For retention, which takes the oldest rows in small batches. A BRIN index
-- would be smaller, but is read as a whole for each batch, and loses its use
-- once new rows fill the pages that retention has emptied.
CREATE INDEX holdfast_outcomes_created_at ON holdfast_outcomes (created_at);

-- One row per message that a consumer has taken effect of.
CREATE TABLE holdfast_inbox (
    consumer   text        NOT NULL,
    message_id text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, message_id)
);

CREATE INDEX holdfast_inbox_created_at ON holdfast_inbox (created_at);

-- +goose Down

DROP TABLE holdfast_inbox;
DROP TABLE holdfast_outcomes;

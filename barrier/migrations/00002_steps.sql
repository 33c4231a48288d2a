-- +goose Up

-- One row per step that took effect: a compensation, or what a saga did or
-- undid.
CREATE TABLE holdfast_steps (
    -- A message's or a saga's ID.
    owner      text        NOT NULL,
    step       text        NOT NULL,
    op         text        NOT NULL CHECK (op IN ('do', 'undo')),
    -- What the step answered, for those who ask again.
    result     bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, step, op)
);

CREATE INDEX holdfast_steps_created_at ON holdfast_steps (created_at);

-- +goose Down

DROP TABLE holdfast_steps;

-- +goose Up

-- What operators asked for in the console: rows are only ever added. An action has one
-- row before it is sent, and one with what came of it.
CREATE TABLE holdfast_audit (
    id       bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    prefix   text        NOT NULL,
    -- The same in all rows of one action.
    request  text        NOT NULL,
    operator text        NOT NULL,
    role     text        NOT NULL,
    action   text        NOT NULL,
    -- A workflow's ID, and the step that the action is about.
    target   text        NOT NULL,
    step     text        NOT NULL,
    reason   text        NOT NULL,
    outcome  text        NOT NULL,
    detail   text        NOT NULL
);

-- +goose Down

DROP TABLE holdfast_audit;

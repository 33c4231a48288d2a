-- +goose Up

-- Sagas by name: since when each start of one takes a begin row, so that a key
-- without a row is a key that no saga has.
CREATE TABLE holdfast_sagas (
    prefix         text        NOT NULL,
    producer_group text        NOT NULL,
    name           text        NOT NULL,
    -- Null: there are processes that take none.
    rows_since     timestamptz,
    -- No saga of the name is left that was started without one.
    always         boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (prefix, producer_group, name)
);

-- +goose Down

DROP TABLE holdfast_sagas;

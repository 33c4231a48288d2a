-- +goose Up

-- The consumers that the processes of a producer group have seen: what their
-- messages are bound to. RabbitMQ can lose that, and nobody else knows.
CREATE TABLE holdfast_consumers (
    prefix    text        NOT NULL,
    name      text        NOT NULL,
    -- A list in JSON.
    topics    text        NOT NULL,
    seen_at   timestamptz NOT NULL DEFAULT now(),
    -- When its queue was last found missing and made again, and what was lost.
    remade_at timestamptz,
    remade    text        NOT NULL DEFAULT '',
    PRIMARY KEY (prefix, name)
);

-- +goose Down

DROP TABLE holdfast_consumers;

-- +goose Up

-- Checks back many local transactions in one statement: what has no outcome row
-- gets (id, rollback), and then every row is read. A row whose transaction is
-- still open is waited for at most lock_ms, one after the other, and 1 ms each
-- once they have cost a second together; it keeps no other from its answer.
--
-- It has no search_path of its own: it finds the table as its caller would.
--
-- +goose StatementBegin
CREATE FUNCTION holdfast_check_back(ids text[], asking_group text, lock_ms integer, max_bytes bigint)
RETURNS TABLE (id text, is_locked boolean, owner text, decided text, changed boolean, stored bytea, since timestamptz)
LANGUAGE plpgsql VOLATILE
-- What is set in it ends with it.
SET lock_timeout = '20ms'
AS $$
DECLARE
    began    timestamptz := clock_timestamp();
    missing  text[];
    locked   text[] := '{}';
    one      text;
BEGIN
    PERFORM set_config('lock_timeout', greatest(lock_ms, 1) || 'ms', true); -- 0 would wait for ever
    -- In one order everywhere, so that two sweeps never wait for each other
    -- crosswise.
    SELECT coalesce(array_agg(DISTINCT i.tx ORDER BY i.tx), '{}') INTO missing FROM unnest(ids) AS i (tx)
    WHERE NOT EXISTS (SELECT FROM holdfast_outcomes o WHERE o.tx_id = i.tx);
    BEGIN
        INSERT INTO holdfast_outcomes (tx_id, producer_group, resolution)
        SELECT i.tx, asking_group, 'rollback' FROM unnest(missing) AS i (tx)
        ON CONFLICT DO NOTHING;
    EXCEPTION WHEN lock_not_available OR deadlock_detected OR serialization_failure THEN
        -- One of them is in the way of all: so each by itself.
        FOREACH one IN ARRAY missing LOOP
            BEGIN
                INSERT INTO holdfast_outcomes (tx_id, producer_group, resolution)
                VALUES (one, asking_group, 'rollback')
                ON CONFLICT DO NOTHING;
            EXCEPTION WHEN lock_not_available OR deadlock_detected OR serialization_failure THEN
                locked := locked || one;
                IF clock_timestamp() - began > interval '1 second' THEN
                    PERFORM set_config('lock_timeout', '1ms', true);
                END IF;
            END;
        END LOOP;
    END;
    -- In a statement of its own, which sees what the inserts waited for. The
    -- smallest messages come first, as far as max_bytes go.
    RETURN QUERY
    SELECT i.tx, i.tx = ANY (locked), o.producer_group, o.resolution, o.messages IS NOT NULL,
        CASE WHEN sum(octet_length(o.messages)) OVER (ORDER BY octet_length(o.messages), i.tx) <= max_bytes THEN o.messages END,
        o.created_at
    FROM (SELECT DISTINCT u.tx FROM unnest(ids) AS u (tx)) AS i LEFT JOIN holdfast_outcomes o ON o.tx_id = i.tx;
END;
$$;
-- +goose StatementEnd

-- +goose Down

DROP FUNCTION holdfast_check_back(text[], text, integer, bigint);

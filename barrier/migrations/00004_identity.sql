-- +goose Up

-- What tells this database (more exactly: these tables) from every other one that
-- a process could be connected to by mistake. It is data: a replica, a server that
-- took over and a restored backup have the same.
CREATE TABLE holdfast_identity (
    one        boolean     NOT NULL DEFAULT true PRIMARY KEY CHECK (one), -- one row
    id         text        NOT NULL CHECK (id <> ''),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Not gen_random_uuid(), which PostgreSQL 12 lacks.
INSERT INTO holdfast_identity (id)
SELECT md5(concat_ws(' ', random(), random(), clock_timestamp(), pg_postmaster_start_time(), pg_backend_pid(), txid_current(), current_database()))::uuid::text;

-- Whoever may read the outcome rows may read it.
-- +goose StatementBegin
DO $$
DECLARE
    reader oid;
BEGIN
    FOR reader IN
        SELECT DISTINCT a.grantee FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.oid = 'holdfast_outcomes'::regclass AND a.privilege_type = 'SELECT' AND a.grantee <> c.relowner
    LOOP
        IF reader = 0 THEN
            GRANT SELECT ON holdfast_identity TO PUBLIC;
        ELSE
            EXECUTE format('GRANT SELECT ON holdfast_identity TO %I', pg_get_userbyid(reader));
        END IF;
    END LOOP;
END;
$$;
-- +goose StatementEnd

-- As the function with four arguments, for transactions that were begun in the
-- database with the identity expected. In another one it answers nothing, and
-- writes nothing.
--
-- +goose StatementBegin
CREATE FUNCTION holdfast_check_back(ids text[], asking_group text, lock_ms integer, max_bytes bigint, expected text)
RETURNS TABLE (id text, is_locked boolean, owner text, decided text, changed boolean, stored bytea, since timestamptz)
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    here text := (SELECT i.id FROM holdfast_identity i);
BEGIN
    IF here IS DISTINCT FROM expected THEN
        RAISE EXCEPTION 'this database is %, the transactions were begun in %', coalesce(here, 'without an identity'), expected
            USING ERRCODE = 'HF001', DETAIL = coalesce(here, ''),
            HINT = 'give every process of the producer group the same database and search_path';
    END IF;
    RETURN QUERY SELECT * FROM holdfast_check_back(ids, asking_group, lock_ms, max_bytes);
END;
$$;
-- +goose StatementEnd

-- +goose Down

DROP FUNCTION holdfast_check_back(text[], text, integer, bigint, text);
DROP TABLE holdfast_identity;

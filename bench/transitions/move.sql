-- A transition under a key in plpgsql, for this table and lifecycle alone; the
-- keys as in orders/plpgsql.sql.
CREATE TABLE request (
	created_at timestamptz NOT NULL,
	expires_at timestamptz NOT NULL,
	fingerprint bigint NOT NULL,
	key text COLLATE "C" PRIMARY KEY,
	response jsonb NOT NULL
);
CREATE INDEX ON request (expires_at);

CREATE FUNCTION move_order(the_key text, the_id bigint, to_status text,
	expected_version bigint, OUT replayed boolean, OUT result jsonb)
LANGUAGE plpgsql AS $$
DECLARE
	digest bigint := hash_record_extended(ROW(the_id, to_status, expected_version), 0);
	earlier bigint;
	moment timestamptz := clock_timestamp();
	found_order orders;
BEGIN
	PERFORM pg_advisory_xact_lock(hashtextextended(the_key, 0));
	SELECT r.fingerprint, r.response INTO earlier, result
	FROM request AS r WHERE r.key = the_key;
	replayed := FOUND;
	IF replayed THEN
		IF earlier <> digest THEN
			RAISE EXCEPTION 'key % was used for a different request', the_key;
		END IF;
		RETURN;
	END IF;
	SELECT * INTO found_order FROM orders WHERE id = the_id FOR NO KEY UPDATE;
	IF NOT FOUND OR found_order.version <> expected_version THEN
		RAISE EXCEPTION 'no order % of version %', the_id, expected_version;
	END IF;
	UPDATE orders SET status = to_status WHERE id = the_id;
	result := jsonb_build_object('from', found_order.status, 'to', to_status,
		'version', expected_version + 1);
	INSERT INTO request (key, fingerprint, response, created_at, expires_at)
	VALUES (the_key, digest, result, moment, moment + interval '24 hours');
END;
$$;

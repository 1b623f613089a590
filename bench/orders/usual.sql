-- What a user would write by hand: insert the key, do the work, update the key.
CREATE TABLE request (
	key text PRIMARY KEY,
	request jsonb NOT NULL,
	response jsonb,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	expires_at timestamptz NOT NULL
);
CREATE INDEX ON request (expires_at);

CREATE FUNCTION place_order(the_key text, data jsonb,
	OUT replayed boolean, OUT result jsonb)
LANGUAGE plpgsql AS $$
DECLARE
	earlier request;
BEGIN
	INSERT INTO request (key, request, expires_at)
	VALUES (the_key, data, clock_timestamp() + interval '24 hours')
	ON CONFLICT (key) DO NOTHING;
	replayed := NOT FOUND;
	IF replayed THEN
		SELECT * INTO earlier FROM request WHERE key = the_key;
		IF earlier.request <> data THEN
			RAISE EXCEPTION 'key % was used for a different request', the_key;
		END IF;
		result := earlier.response;
		RETURN;
	END IF;
	INSERT INTO orders AS o (id, customer, status, total)
	VALUES ((data->>'id')::bigint, data->>'customer', data->>'status',
		(data->>'total')::numeric)
	ON CONFLICT (id) DO UPDATE SET customer = excluded.customer,
		status = excluded.status, total = excluded.total
	RETURNING to_jsonb(o.*) INTO result;
	UPDATE request SET response = result WHERE key = the_key;
END;
$$;

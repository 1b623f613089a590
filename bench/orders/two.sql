-- The floor for a key that is remembered: the order and a finished row of its
-- key, with nothing learned or checked.
CREATE FUNCTION two_inserts(the_key text, data jsonb, OUT result jsonb)
LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO orders (id, customer, status, total)
	VALUES ((data->>'id')::bigint, data->>'customer', data->>'status',
		(data->>'total')::numeric);
	INSERT INTO request (key, fingerprint, response, created_at, expires_at)
	VALUES (the_key, 0, data, clock_timestamp(), clock_timestamp() + interval '24 hours');
END;
$$;

-- The database of the services in this folder.
CREATE EXTENSION idem;

CREATE TABLE products (
	sku			text PRIMARY KEY,
	available	boolean NOT NULL DEFAULT true
);
INSERT INTO products VALUES ('tea', true), ('sold-out', false);

CREATE TABLE orders (
	id			bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	tenant		text NOT NULL
);
CREATE TABLE order_items (
	order_id	bigint NOT NULL REFERENCES orders,
	sku			text NOT NULL REFERENCES products,
	quantity	integer NOT NULL CHECK (quantity > 0)
);

-- The work of a request, as a service does it that knows nothing of keys.  What it writes before it finds
-- that something is sold out, the service has to undo.
CREATE FUNCTION place_order(tenant text, items jsonb, OUT id bigint, OUT sold_out text)
LANGUAGE plpgsql AS $$
BEGIN
	IF jsonb_typeof(items) IS DISTINCT FROM 'array' THEN
		RAISE EXCEPTION 'items must be a list' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	INSERT INTO orders (tenant) VALUES (place_order.tenant) RETURNING orders.id INTO place_order.id;
	INSERT INTO order_items
	SELECT place_order.id, item.sku, item.quantity FROM jsonb_to_recordset(items) AS item(sku text, quantity int);
	SELECT min(sku) INTO sold_out FROM order_items JOIN products USING (sku)
	WHERE order_id = place_order.id AND NOT available;
END $$;

-- What the draft wants an API to publish about its keys.
CREATE FUNCTION idempotency_policy() RETURNS jsonb LANGUAGE sql STABLE AS $$
	SELECT jsonb_build_object(
		'header', 'Idempotency-Key',
		'required', '["POST", "PATCH"]'::jsonb,
		'syntax', 'a String of RFC 8941 with 1 to 255 characters; a UUID is a good one',
		'lifetime', coalesce(current_setting('idem.ttl', true), '24 hours'),	-- null where the library is not loaded yet
		'fingerprint', 'the method, the path with its query, and the body: JSON by its value, all else by its bytes',
		'final', 'any response but 408, 425, 429 and 5xx: a retry gets it again, with Idempotent-Replayed: true',
		'retry', 'where there is no response, and for 408, 425, 429, 5xx and a 409 with Retry-After: the same request, with the same key')
$$;

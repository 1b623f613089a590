-- The database of the shop: its orders, and the ledger of their sagas.
CREATE EXTENSION idem;
CREATE TABLE orders (id int PRIMARY KEY, amount int NOT NULL, quantity int NOT NULL);

-- An order is placed and its saga started in one transaction.
CREATE FUNCTION place(id int, amount int, quantity int) RETURNS text
LANGUAGE sql AS $$
	INSERT INTO orders VALUES (id, amount, quantity) ON CONFLICT DO NOTHING;
	SELECT status FROM idem_saga_start('order-' || id, '[
		{"do": "charge", "undo": "refund", "attempts": 20, "backoff": "10 ms", "cap": "100 ms"},
		{"do": "reserve", "undo": "unreserve", "attempts": 20, "backoff": "10 ms", "cap": "100 ms"},
		{"do": "ship", "pivot": true, "attempts": 1000, "backoff": "10 ms", "cap": "100 ms"}
	]', jsonb_build_object('order', id, 'amount', amount, 'quantity', quantity));
$$;

CREATE EXTENSION idem;
ALTER TABLE orders ALTER status DROP DEFAULT,
	ALTER status TYPE order_status USING status::order_status,
	ALTER status SET DEFAULT 'PENDING';
SELECT idem_attach('orders', 'order');

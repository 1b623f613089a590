-- A table as they are in business: thirty columns, two that refer to other tables, and
-- two more indexes.
CREATE TABLE customer (name text PRIMARY KEY);
INSERT INTO customer SELECT 'C' || n FROM generate_series(1, 1000) AS n;
CREATE TABLE product (id int PRIMARY KEY);
INSERT INTO product SELECT generate_series(1, 1000);
CREATE TABLE wide (
	id bigint PRIMARY KEY,
	customer text NOT NULL REFERENCES customer,
	product int NOT NULL REFERENCES product,
	status text NOT NULL CHECK (status IN ('PENDING', 'PAID')),
	total numeric(12,2) NOT NULL CHECK (total >= 0),
	placed_at timestamptz NOT NULL DEFAULT now(),
	t1 text, t2 text, t3 text, t4 text, t5 text, t6 text, t7 text, t8 text,
	n1 int, n2 int, n3 int, n4 int, n5 int, n6 int, n7 int, n8 int,
	m1 numeric, m2 numeric, m3 numeric, m4 numeric,
	d1 date, d2 date, b1 boolean, b2 boolean
);
CREATE INDEX ON wide (customer, placed_at);
CREATE INDEX ON wide (product);

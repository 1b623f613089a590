CREATE TABLE orders (
	id bigint PRIMARY KEY,
	customer text NOT NULL,
	status text NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1
);

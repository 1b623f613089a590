-- The database of the orders service.  To be run by its owner; the service itself
-- connects as the role shop, which may not do more than it has to.
CREATE EXTENSION IF NOT EXISTS idem;

-- Stands for whoever says who a client is.  Kept are the digests of tokens.
CREATE TABLE tenant (
    name   text PRIMARY KEY,
    digest bytea NOT NULL UNIQUE
);

CREATE TABLE product (
    sku   text PRIMARY KEY,
    name  text NOT NULL,
    price numeric(10,2) NOT NULL CHECK (price >= 0),
    stock int NOT NULL CHECK (stock >= 0)
);

CREATE TABLE orders (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant    text NOT NULL REFERENCES tenant,
    total     numeric(12,2) NOT NULL,
    address   text NOT NULL DEFAULT '',
    note      text NOT NULL DEFAULT '',
    status    order_status NOT NULL DEFAULT 'PENDING',
    version   bigint NOT NULL DEFAULT 1,
    placed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON orders (tenant, id);
SELECT idem_attach('orders', 'order', history => true);

CREATE TABLE order_item (
    order_id bigint NOT NULL REFERENCES orders,
    line     int NOT NULL,
    sku      text NOT NULL REFERENCES product,
    quantity int NOT NULL CHECK (quantity > 0),
    price    numeric(10,2) NOT NULL,
    PRIMARY KEY (order_id, line)
);

-- One for each order, so that two keys cannot pay it twice: made before the provider
-- is asked, by the key that asks; charge is what the provider answers.
CREATE TABLE payment (
    order_id bigint PRIMARY KEY REFERENCES orders,
    tenant   text NOT NULL REFERENCES tenant,
    key      text NOT NULL,
    amount   numeric(12,2) NOT NULL,
    charge   text UNIQUE,
    paid_at  timestamptz
);

-- A tenant sees its own rows: each transaction says first whose it is.
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
ALTER TABLE payment ENABLE ROW LEVEL SECURITY;
ALTER TABLE order_item ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON orders USING (tenant = current_setting('shop.tenant', true));
CREATE POLICY own ON payment USING (tenant = current_setting('shop.tenant', true));
CREATE POLICY own ON order_item USING (order_id IN (SELECT id FROM orders));

DO $$
BEGIN
    CREATE ROLE shop LOGIN;
EXCEPTION WHEN duplicate_object THEN
    NULL;
END $$;
GRANT SELECT ON tenant, product TO shop;
GRANT UPDATE (stock) ON product TO shop;
GRANT SELECT, INSERT ON order_item TO shop;
GRANT SELECT, INSERT, UPDATE ON orders TO shop;
GRANT SELECT, INSERT, UPDATE, DELETE ON payment TO shop;

INSERT INTO tenant VALUES ('ada', sha256('ada')), ('bob', sha256('bob'));
INSERT INTO product VALUES
    ('tea', 'Darjeeling, 100 g', 8.90, 1000000),
    ('cup', 'Cup, blue', 12.50, 1000000),
    ('pot', 'Teapot, cast iron', 64.00, 1000000),
    ('sold-out', 'Teapot, porcelain', 120.00, 0);

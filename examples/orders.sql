-- What the examples need, in a database of their own.

CREATE EXTENSION IF NOT EXISTS idem;

CREATE TABLE orders (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text NOT NULL,
    total    numeric(10,2) NOT NULL,
    status   order_status NOT NULL DEFAULT 'PENDING',
    version  bigint NOT NULL DEFAULT 1
);
SELECT idem_attach('orders', 'order');

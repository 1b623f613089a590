-- What the programs of the clients need, in a database of their own: orders by
-- integers, parcels by UUIDs.

\ir ../orders.sql

CREATE TABLE parcels (
    id       uuid PRIMARY KEY,
    customer text NOT NULL,
    status   order_status NOT NULL DEFAULT 'PENDING',
    version  bigint NOT NULL DEFAULT 1
);
SELECT idem_attach('parcels', 'order');

-- What the consumers write to. Nothing but idem keeps a payment from being
-- booked twice: the table has no unique column.
CREATE EXTENSION IF NOT EXISTS idem;

-- Remember messages for longer than the broker can keep one that was not acknowledged,
-- while all consumers are down, say. The role that defines it, or members, consume.
SELECT idem_consumer_define('payments', '30 days');

CREATE TABLE payments (
    id      text NOT NULL,      -- the message's
    account int NOT NULL,
    amount  numeric(10,2) NOT NULL
);

-- What the consumers write to. Nothing but idem keeps a payment from being
-- booked twice: the table has no unique column.
CREATE EXTENSION IF NOT EXISTS idem;

CREATE TABLE payments (
    id      text NOT NULL,      -- the message's
    account int NOT NULL,
    amount  numeric(10,2) NOT NULL
);

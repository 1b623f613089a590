-- What the programs of this folder write, in a database of their own.

CREATE EXTENSION IF NOT EXISTS idem;
CREATE TABLE orders (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number   text UNIQUE,
    customer text NOT NULL,
    total    int NOT NULL
);
CREATE TABLE ledger (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text NOT NULL,
    amount  int NOT NULL
);

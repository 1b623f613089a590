-- The database of the payments, a participant.
CREATE EXTENSION idem;
CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0));
CREATE TABLE booking (id bigint GENERATED ALWAYS AS IDENTITY, saga text NOT NULL, amount int NOT NULL);
INSERT INTO account VALUES (1, 1000000);

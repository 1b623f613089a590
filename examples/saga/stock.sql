-- The database of the stock, another participant.
CREATE EXTENSION idem;
CREATE TABLE item (id int PRIMARY KEY, available int NOT NULL CHECK (available >= 0));
CREATE TABLE movement (id bigint GENERATED ALWAYS AS IDENTITY, saga text NOT NULL, quantity int NOT NULL);
INSERT INTO item VALUES (1, 100);

-- Tables that inherit from others: an update of the parent changes rows of its
-- children, and fires the children's triggers for them, not its own
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE SCHEMA test_inherits;
SET search_path = test_inherits, public;
\set SHOW_CONTEXT never

CREATE TABLE claim (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING',
	version int NOT NULL DEFAULT 1);
CREATE TABLE car_claim (plate text, PRIMARY KEY (id)) INHERITS (claim);
CREATE TABLE fleet_claim (fleet text, PRIMARY KEY (id)) INHERITS (car_claim);

-- The parent alone cannot follow.
SELECT idem_attach('claim', 'order');
SELECT idem_attach('car_claim', 'order');
SELECT idem_attach('fleet_claim', 'order');
SELECT idem_attach('claim', 'order');
-- Another machine is not this one, nor a trigger that does not fire.
SELECT idem_machine_define('test inherits', 'PENDING', '{"PENDING": ["DELIVERED"]}');
SELECT idem_attach('car_claim', 'test inherits');
SELECT idem_attach('claim', 'order');
SELECT idem_detach('car_claim');
SELECT idem_attach('car_claim', 'order');
ALTER TABLE fleet_claim DISABLE TRIGGER zz_idem_lifecycle_update;
SELECT idem_attach('claim', 'order');
ALTER TABLE fleet_claim ENABLE TRIGGER zz_idem_lifecycle_update;

-- Once all of its children do, it can, and no row escapes.
SELECT idem_attach('claim', 'order');
INSERT INTO claim VALUES (1);
INSERT INTO car_claim VALUES (2);
INSERT INTO fleet_claim VALUES (3);
UPDATE claim SET status = 'DELIVERED' WHERE id = 1;
UPDATE claim SET status = 'DELIVERED' WHERE id = 2;
UPDATE claim SET status = 'DELIVERED' WHERE id = 3;
UPDATE claim SET status = 'PROCESSING';
SELECT tableoid::regclass, * FROM claim ORDER BY id;

-- A table that has had children is one without any.
CREATE TABLE alone (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING',
	version int NOT NULL DEFAULT 1);
CREATE TABLE child () INHERITS (alone);
DROP TABLE child;
SELECT idem_attach('alone', 'order');

SET client_min_messages = warning;
DROP SCHEMA test_inherits CASCADE;
SELECT idem_machine_drop('test inherits');

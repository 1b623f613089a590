-- The state that a transition expects: compare and swap
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
RESET client_min_messages;
CREATE SCHEMA test_expected;
SET search_path = test_expected, public;
\set SHOW_CONTEXT never

SELECT idem_machine_define('test expected', 'a', '{"a": ["b", "c"], "b": ["c", "a"], "c": ["c", "a"]}');
CREATE TABLE things (id int PRIMARY KEY, status text DEFAULT 'a', version int NOT NULL DEFAULT 1);
SELECT idem_attach('things', 'test expected');
INSERT INTO things VALUES (1), (2), (3);

-- in the state, in another, and where there is no row
SELECT * FROM idem_transition('things', 1, 'b', expected_state => 'a');
SELECT * FROM idem_transition('things', 1, 'c', expected_state => 'a');
SELECT * FROM idem_transition('things', 9, 'b', expected_state => 'a');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM idem_transition('things', 1, 'c', expected_state => 'a');
\echo :LAST_ERROR_SQLSTATE
-- what the machine does not allow, of a row that is in the state
SELECT * FROM idem_transition('things', 1, 'c', expected_state => 'b');
SELECT * FROM idem_transition('things', 1, 'b', expected_state => 'c');
-- and of one that is in another: that it is comes first
SELECT * FROM idem_transition('things', 1, 'b', expected_state => 'a');
-- a state that there is none of
SELECT * FROM idem_transition('things', 1, 'b', expected_state => 'lost');

-- The row is in the wanted state already: it may have been this very call, whose
-- answer was lost.
SELECT * FROM idem_transition('things', 2, 'b', expected_state => 'a');
SELECT * FROM idem_transition('things', 2, 'b', expected_state => 'a');
-- or another, from elsewhere
SELECT * FROM idem_transition('things', 2, 'b', expected_state => 'c');
SELECT * FROM idem_transition('things', 2, 'b', expected_state => 'b');
-- where it may go on to itself, that is what a call means that expects the state
SELECT * FROM idem_transition('things', 1, 'c', expected_state => 'c');
SELECT * FROM idem_transition('things', 1, 'c', expected_state => 'b');
SELECT * FROM idem_transition('things', 1, 'c');

-- with a version beside, which comes first
SELECT * FROM idem_transition('things', 2, 'c', 1, expected_state => 'a');
SELECT * FROM idem_transition('things', 2, 'c', 2, expected_state => 'a');
SELECT * FROM idem_transition('things', 2, 'c', 2, expected_state => 'b');
-- its lost answer: one past the version
SELECT * FROM idem_transition('things', 2, 'c', 2, expected_state => 'b');
-- at the version, it was not this call that brought the row there
SELECT * FROM idem_transition('things', 2, 'c', 3, expected_state => 'b');
SELECT * FROM idem_transition('things', 2, 'c', 1, expected_state => 'b');
SELECT * FROM idem_transition('things', 3, 'b', 1, expected_state => 'a');
SELECT * FROM idem_transition('things', 3, 'b', 1, expected_state => 'b');
SELECT * FROM idem_transition('things', 3, 'b', 2, expected_state => 'b');
SELECT * FROM idem_transition('things', 3, 'b', 2, expected_state => 'a');

-- a row that has no state
ALTER TABLE things DISABLE TRIGGER USER;
INSERT INTO things VALUES (4, NULL);
ALTER TABLE things ENABLE TRIGGER USER;
SELECT * FROM idem_transition('things', 4, 'a', expected_state => 'a');
SELECT * FROM idem_transition('things', 4, 'a');

-- several rows, one state for all
INSERT INTO things VALUES (11), (12), (13);
SELECT * FROM idem_transition_batch('things', '{12, 11, 12}', 'b', expected_state => 'a');
\set SHOW_CONTEXT errors
SELECT * FROM idem_transition_batch('things', '{13, 11}', 'c', expected_state => 'a');
\set SHOW_CONTEXT never
SELECT * FROM idem_transition_batch('things', '{11, 13}', 'a', '{2, null}', expected_state => 'b');
TABLE things ORDER BY id;

-- with a key: the state is part of the request where it is given
SELECT * FROM idem_transition('things', 13, 'c', expected_state => 'a', key => 'k', scope => 'test_expected');
SELECT * FROM idem_transition('things', 13, 'c', expected_state => 'a', key => 'k', scope => 'test_expected');
SELECT * FROM idem_transition_batch('things', '{11}', 'b', expected_state => 'a', key => 's', scope => 'test_expected');
SELECT * FROM idem_transition_batch('things', '{11}', 'b', expected_state => 'a', key => 's', scope => 'test_expected');
\set VERBOSITY sqlstate
SELECT * FROM idem_transition('things', 13, 'c', key => 'k', scope => 'test_expected');
SELECT * FROM idem_transition('things', 13, 'c', expected_state => 'b', key => 'k', scope => 'test_expected');
SELECT * FROM idem_transition_batch('things', '{11}', 'b', key => 's', scope => 'test_expected');
-- one that was refused is not remembered
SELECT * FROM idem_transition('things', 12, 'c', expected_state => 'a', key => 'r', scope => 'test_expected');
\set VERBOSITY default
SELECT * FROM idem_transition('things', 12, 'c', expected_state => 'b', key => 'r', scope => 'test_expected');
-- a state is not taken for the column, nor for a note
INSERT INTO things VALUES (20);
SELECT outcome FROM idem_transition('things', 20, 'b', expected_state => 'a', status => 'status', key => 'p', scope => 'test_expected');
\set VERBOSITY sqlstate
SELECT outcome FROM idem_transition('things', 20, 'b', expected_state => 'a', key => 'p', scope => 'test_expected');
SELECT outcome FROM idem_transition('things', 20, 'b', status => 'status', key => 'p', scope => 'test_expected');
\set VERBOSITY default
-- the fingerprint of a request without either is what it always was
SELECT outcome FROM idem_transition('things', 20, 'c', key => 'f', scope => 'test_expected');
SELECT outcome FROM idem_transition_batch('things', '{20}', 'a', key => 'g', scope => 'test_expected');
SELECT key, fingerprint FROM idem_key WHERE scope = 'test_expected' AND key IN ('f', 'g') ORDER BY key;

-- orders, whose states are of an enum type
CREATE TABLE orders (id int PRIMARY KEY, status order_status NOT NULL DEFAULT 'PENDING', version bigint NOT NULL DEFAULT 1);
SELECT idem_attach('orders', 'order');
INSERT INTO orders VALUES (1);
SELECT * FROM order_transition('orders', 1, 'PROCESSING', expected_state => 'PENDING');
SELECT * FROM order_transition('orders', 1, 'SHIPPED', expected_state => 'PENDING');
SELECT * FROM order_transition('orders', 1, 'SHIPPED', expected_state => 'pending');

DELETE FROM idem_key WHERE scope = 'test_expected';
SET client_min_messages = warning;
DROP SCHEMA test_expected CASCADE;
SELECT idem_machine_drop('test expected');

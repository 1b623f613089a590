-- Rights of consumers: a name is everybody's until a role defines it, which not
-- every role may.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
CREATE SCHEMA idem_test_consume_rights;
SET search_path = idem_test_consume_rights, public;
\set SHOW_CONTEXT never
CREATE ROLE regress_idem_ann;
CREATE ROLE regress_idem_bob;
CREATE ROLE regress_idem_shop;
GRANT regress_idem_shop TO regress_idem_ann;

-- It takes no privilege on any table.
SET ROLE regress_idem_ann;
SELECT idem_consume('test-rights', 'm1');
SELECT idem_consume_batch('test-rights', ARRAY['m2', 'm1', 'm3']);
SELECT idem_advance('test-rights', 'log', 0, 0, 9);
SELECT idem_offset('test-rights', 'log', 0);
\set VERBOSITY terse
SELECT count(*) FROM idem_message;
SELECT count(*) FROM idem_offset;
INSERT INTO idem_consumer VALUES (NULL, 'test-rights', 'apply', 'regress_idem_ann');
DELETE FROM idem_message;
UPDATE idem_offset SET next_offset = 0;
DELETE FROM idem_consumer;
\set VERBOSITY default
-- An undefined consumer is shared by all.
SET ROLE regress_idem_bob;
SELECT idem_consume('test-rights', 'm1');
SELECT idem_advance('test-rights', 'log', 0, 5, 14);

-- Not everybody may define one, or take a definition back: names could be used up.
SELECT idem_consumer_define('test-rights', '1 day');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_consumer_define(NULL, '-1 day');
SELECT idem_consumer_drop('test-rights');
-- It takes the right to insert its name, with which nothing else can be done.
RESET ROLE;
GRANT INSERT (consumer) ON idem_consumer TO regress_idem_ann, regress_idem_bob, regress_idem_shop;
SET ROLE regress_idem_bob;
\set VERBOSITY terse
INSERT INTO idem_consumer (consumer) VALUES ('test-rights');
INSERT INTO idem_consumer (consumer, owner) VALUES ('test-rights', 'regress_idem_ann');
\set VERBOSITY default

-- The role that defines it has it for itself,
SELECT idem_consumer_define('test-rights', '1 day');
SELECT idem_consume('test-rights', 'm4');
SET ROLE regress_idem_ann;
SELECT idem_consume('test-rights', 'm5');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_consume_batch('test-rights', ARRAY['m1']);
SELECT idem_advance('test-rights', 'log', 0, 10, 19);
SELECT idem_offset('test-rights', 'log', 0);
SELECT idem_consumer_define('test-rights', '2 days');
-- even to say the same again, to ask, or to take it back,
SELECT idem_consumer_define('test-rights', '1 day');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_seen('test-rights', 'm1');
SELECT idem_consumer_drop('test-rights');
-- whatever else is wrong.
\set VERBOSITY terse
SELECT idem_consume('test-rights', NULL, '-1 day');
SELECT idem_consume_batch('test-rights', NULL, '-1 day');
SELECT idem_advance('test-rights', NULL, 0, 10, 9);
SELECT idem_offset('test-rights', NULL, 0);
SELECT idem_seen('test-rights', NULL);
\set VERBOSITY default
-- All may see whose it is.
SELECT consumer, ttl, late, owner FROM idem_consumer WHERE consumer = 'test-rights';

-- A role that has members shares it with them: they may use it and define it,
-- and it stays the role's.
SET ROLE regress_idem_shop;
SELECT idem_consumer_define('test-rights-shop');
SET ROLE regress_idem_ann;
SELECT idem_consume('test-rights-shop', 'm1');
SELECT idem_consumer_define('test-rights-shop', '1 hour');
SELECT ttl, owner FROM idem_consumer WHERE consumer = 'test-rights-shop';
SET ROLE regress_idem_bob;
SELECT idem_consume('test-rights-shop', 'm1');
-- Membership counts as it is at the call.
RESET ROLE;
GRANT regress_idem_shop TO regress_idem_bob;
SET ROLE regress_idem_bob;
SELECT idem_consume('test-rights-shop', 'm1');
RESET ROLE;
REVOKE regress_idem_shop FROM regress_idem_bob;
SET ROLE regress_idem_bob;
SELECT idem_consume('test-rights-shop', 'm2');

-- Superusers may do as they like, which does not make it theirs.
RESET ROLE;
SELECT idem_consume('test-rights', 'm6');
SELECT idem_consumer_define('test-rights', '3 days');
SELECT ttl, owner FROM idem_consumer WHERE consumer = 'test-rights';

-- A role that is renamed keeps its consumers; a new one of its name has none of them.
ALTER ROLE regress_idem_shop RENAME TO regress_idem_store;
CREATE ROLE regress_idem_shop;
SELECT owner FROM idem_consumer WHERE consumer = 'test-rights-shop';
SET ROLE regress_idem_ann;
SELECT idem_consume('test-rights-shop', 'm2');
SET ROLE regress_idem_shop;
SELECT idem_consume('test-rights-shop', 'm2');
RESET ROLE;
DROP ROLE regress_idem_shop;
ALTER ROLE regress_idem_store RENAME TO regress_idem_shop;

-- Of a role that is gone, only they may, also when there is a new one of its name.
REVOKE INSERT (consumer) ON idem_consumer FROM regress_idem_shop;
DROP ROLE regress_idem_shop;
SET ROLE regress_idem_ann;
SELECT idem_consume('test-rights-shop', 'm3');
RESET ROLE;
CREATE ROLE regress_idem_shop;
SET ROLE regress_idem_shop;
SELECT idem_consume('test-rights-shop', 'm3');
RESET ROLE;
DROP ROLE regress_idem_shop;
SELECT idem_consume('test-rights-shop', 'm3');

-- A definition can be taken back by whose it is: then the consumer is everybody's
-- again, and its messages and offsets are still known.
SELECT idem_consumer_drop('test-rights-shop');
SET ROLE regress_idem_bob;
SELECT idem_consumer_drop('test-rights');
SELECT idem_consumer_drop('test-rights');
SET ROLE regress_idem_ann;
SELECT idem_consume('test-rights', m) FROM unnest(ARRAY['m1', 'm4', 'm7']) AS m;
SELECT idem_seen('test-rights', m) FROM unnest(ARRAY['m1', 'm4', 'm8']) AS m;
SELECT idem_offset('test-rights', 'log', 0);
-- The role that defines it next has it.
SELECT idem_consumer_define('test-rights', '1 hour');
SELECT owner FROM idem_consumer WHERE consumer = 'test-rights';
SET ROLE regress_idem_bob;
SELECT idem_consume('test-rights', 'm8');
RESET ROLE;

-- A caller's operators never run with the rights of idem's owner.
GRANT USAGE, CREATE ON SCHEMA idem_test_consume_rights TO regress_idem_ann;
SET ROLE regress_idem_ann;
CREATE FUNCTION trap(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'run as %', current_user; END $$;
CREATE OPERATOR idem_test_consume_rights.= (FUNCTION = trap, LEFTARG = text, RIGHTARG = text);
CREATE FUNCTION trap(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'run as %', current_user; END $$;
CREATE OPERATOR idem_test_consume_rights.> (FUNCTION = trap, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR idem_test_consume_rights.<= (FUNCTION = trap, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR idem_test_consume_rights.>= (FUNCTION = trap, LEFTARG = bigint, RIGHTARG = bigint);
SET search_path = idem_test_consume_rights, pg_catalog, public;
DISCARD PLANS;
SELECT idem_consume('test-rights-trap', 'm1', '1 microsecond');
SELECT idem_consumer_define('test-rights-trap', '1 hour');
SELECT idem_consumer_define('test-rights-trap', '2 hours');
SELECT idem_consume_batch('test-rights-trap', ARRAY['m1', 'm2']);
SELECT idem_advance('test-rights-trap', 'log', 0, 0, 9, epoch => 1);
SELECT idem_advance('test-rights-trap', 'log', 0, 0, 19, epoch => 2);
SELECT idem_advance('test-rights-trap', 'log', 0, 0, 19, epoch => 1);
RESET ROLE;
RESET search_path;

DELETE FROM idem_message WHERE consumer LIKE 'test-rights%';
DELETE FROM idem_offset WHERE consumer LIKE 'test-rights%';
DELETE FROM idem_consumer WHERE consumer LIKE 'test-rights%';
DROP SCHEMA idem_test_consume_rights CASCADE;
REVOKE INSERT (consumer) ON idem_consumer FROM regress_idem_ann, regress_idem_bob;
DROP ROLE regress_idem_ann, regress_idem_bob;

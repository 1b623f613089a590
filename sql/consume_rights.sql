--
-- Rights of consumers: a name is everybody's until a role defines it.
--
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
INSERT INTO idem_consumer VALUES (NULL, 'test-rights', 'apply', current_user);
DELETE FROM idem_message;
UPDATE idem_offset SET next_offset = 0;
DELETE FROM idem_consumer;
\set VERBOSITY default
-- An undefined consumer is shared by all.
SET ROLE regress_idem_bob;
SELECT idem_consume('test-rights', 'm1');
SELECT idem_advance('test-rights', 'log', 0, 5, 14);

-- Whoever defines it has it for himself,
SELECT idem_consumer_define('test-rights', '1 day');
SELECT idem_consume('test-rights', 'm4');
SET ROLE regress_idem_ann;
SELECT idem_consume('test-rights', 'm5');
\echo :LAST_ERROR_SQLSTATE
SELECT idem_consume_batch('test-rights', ARRAY['m1']);
SELECT idem_advance('test-rights', 'log', 0, 10, 19);
SELECT idem_offset('test-rights', 'log', 0);
SELECT idem_consumer_define('test-rights', '2 days');
-- even to say the same again.
SELECT idem_consumer_define('test-rights', '1 day');
\echo :LAST_ERROR_SQLSTATE
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

-- Of a role that is gone, only they may.
DROP ROLE regress_idem_shop;
SET ROLE regress_idem_ann;
SELECT idem_consume('test-rights-shop', 'm3');
RESET ROLE;
SELECT idem_consume('test-rights-shop', 'm3');

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
SELECT idem_consumer_define('test-rights-trap', '1 hour');
SELECT idem_consumer_define('test-rights-trap', '2 hours');
SELECT idem_consume('test-rights-trap', 'm1', '1 microsecond');
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
DROP ROLE regress_idem_ann, regress_idem_bob;

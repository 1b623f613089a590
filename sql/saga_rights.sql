-- Sagas: whose they are, with whose rights they run, and the scope of their keys.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS idem;
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE ROLE regress_idem_ann;
CREATE ROLE regress_idem_bob;
CREATE ROLE regress_idem_worker IN ROLE regress_idem_ann;
CREATE TABLE saga_secret (a int);
INSERT INTO saga_secret VALUES (1);
GRANT SELECT ON saga_secret TO regress_idem_worker;
SET idem.scope = 'saga rights';

SET ROLE regress_idem_ann;
SELECT status FROM idem_saga_start('s', '[{"do": "a", "undo": "-a"}, {"do": "b"}]', '"for ann"');
-- Nobody reads the tables, and everybody their own sagas.
SELECT * FROM idem_saga;
SELECT * FROM idem_saga_step;
SELECT saga, status, owner, input FROM idem_saga_status;
-- Another role sees nothing, claims nothing, and is refused by name.
SET ROLE regress_idem_bob;
SELECT * FROM idem_saga_status;
SELECT * FROM idem_saga_work;
SELECT * FROM idem_saga_claim('{a,b,-a}');
SELECT * FROM idem_saga_start('s', '[{"do": "a", "undo": "-a"}, {"do": "b"}]', '"for ann"');
\set VERBOSITY terse
SELECT * FROM idem_saga_start('s', '[{"do": "other"}]');
SELECT idem_saga_cancel('s');
SELECT idem_saga_resolve('s', 1, 'skip', NULL);
SELECT * FROM idem_saga_do('s', 'a', 'SELECT 1');
SELECT status FROM idem_saga_start('bob', '[{"do": "a"}]');
SELECT saga FROM idem_saga_claim('{a}', max => 5);
-- A member of the owner works for it, and another member goes on.
SET ROLE regress_idem_worker;
SELECT saga, work, fence FROM idem_saga_claim('{a,b,-a}', max => 5);
SELECT held_by FROM idem_saga_work;
SET ROLE regress_idem_bob;
SELECT idem_saga_done(idem_derive_key('saga rights', 's', '1', 'do'), 1);
SELECT idem_saga_fail(idem_derive_key('saga rights', 's', '1', 'do'), 1, NULL);
SELECT idem_extend(idem_derive_key('saga rights', 's', '1', 'do'), 1, '1 h', 'idem.saga');
SELECT * FROM idem_lookup(idem_derive_key('saga rights', 's', '1', 'do'), 'idem.saga');
SET ROLE regress_idem_ann;
SELECT idem_saga_done(idem_derive_key('saga rights', 's', '1', 'do'), 1);
RESET ROLE;
SELECT version, to_state, changed_by FROM idem_history('idem_saga_step', '{"saga": "s", "scope": "saga rights", "step": 1}');
-- The statement of a step runs with the rights of its caller.
SET ROLE regress_idem_ann;
SELECT * FROM idem_saga_do('s', 'b', 'SELECT a FROM saga_secret');
SET ROLE regress_idem_worker;
SELECT * FROM idem_saga_do('s', 'b', 'SELECT a, current_user FROM saga_secret');

-- The scope of the keys: claimed and ended by sagas only.
SELECT outcome FROM idem_claim('k', lease => '1 h', scope => 'idem.saga');
\echo :LAST_ERROR_SQLSTATE
SELECT outcome FROM idem_execute('k', 'SELECT 1', scope => 'idem.saga');
SELECT outcome FROM idem_execute('k', 'SELECT 1', scope => 'idem.');
SELECT outcome FROM idem_execute('k', 'SELECT 1', scope => 'idem');
SET idem.scope = 'idem.saga';
SELECT outcome FROM idem_claim('k', lease => '1 h');
SELECT * FROM idem_saga_start('s', '[{"do": "a"}]');
SET idem.scope = 'saga rights';
SELECT status FROM idem_saga_start('t', '[{"do": "a"}]');
SELECT saga FROM idem_saga_claim('{a}');
\set key 'idem_derive_key(''saga rights'', ''t'', ''1'', ''do'')'
SELECT idem_complete(:key, NULL, 1, 'idem.saga');
SELECT idem_fail(:key, NULL, 1, 'idem.saga');
SELECT idem_release(:key, 1, 'idem.saga');
SELECT idem_forget(:key, 'idem.saga');
SELECT * FROM idem_forget_scope('idem.saga');
SELECT idem_scope_define('idem.saga');
RESET ROLE;
SELECT idem_scope_define('idem.saga');
SELECT idem_scope_define('idem.x');
SELECT idem_forget(:key, 'idem.saga');
\set VERBOSITY default
SELECT outcome FROM idem_claim('k', lease => '1 h', scope => 'idem.saga');
\set VERBOSITY terse

-- A scope that a role has defined is for its members, with its sagas.
SELECT idem_scope_define('saga bob');
UPDATE idem_scope SET owner = 'regress_idem_bob' WHERE scope = 'saga bob';
SET ROLE regress_idem_bob;
SELECT status FROM idem_saga_start('b', '[{"do": "a"}]', scope => 'saga bob');
SET ROLE regress_idem_ann;
SELECT status FROM idem_saga_start('x', '[{"do": "a"}]', scope => 'saga bob');
SELECT * FROM idem_saga_claim('{a}', scope => 'saga bob');
SELECT idem_saga_cancel('b', scope => 'saga bob');

-- Code attached to the tables runs as their owner, restricted; 42501 for temporary objects.
RESET ROLE;
CREATE FUNCTION saga_spy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE WARNING 'as %, path %', current_user = 'regress_idem_ann', current_setting('search_path');
	RETURN NEW;
END $$;
CREATE TRIGGER saga_spy AFTER INSERT ON idem_saga FOR EACH ROW EXECUTE FUNCTION saga_spy();
SET ROLE regress_idem_ann;
SELECT status FROM idem_saga_start('spied', '[{"do": "spied"}]');
RESET ROLE;
DROP TRIGGER saga_spy ON idem_saga;
-- Who looks at the views runs nothing of theirs.
CREATE FUNCTION saga_index() RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'evaluated'; RETURN 1; END $$;
SET client_min_messages = error;
CREATE INDEX saga_index ON idem_saga_step ((step + saga_index()));
CREATE INDEX saga_index_2 ON idem_saga ((version + saga_index()));
SET client_min_messages = warning;
SELECT count(*) > 0 AS seen FROM idem_saga_status;
SELECT count(*) > 0 AS seen FROM idem_saga_work;
DROP INDEX saga_index, saga_index_2;
DROP FUNCTION saga_index;
-- A trigger that lets nothing pass is said so.
CREATE OR REPLACE FUNCTION saga_spy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER saga_spy BEFORE INSERT ON idem_saga_step FOR EACH ROW EXECUTE FUNCTION saga_spy();
SELECT status FROM idem_saga_start('kept out', '[{"do": "a"}]');
DROP TRIGGER saga_spy ON idem_saga_step;
CREATE TRIGGER saga_spy BEFORE UPDATE ON idem_saga_step FOR EACH ROW EXECUTE FUNCTION saga_spy();
SELECT saga FROM idem_saga_claim('{spied}');
DROP TRIGGER saga_spy ON idem_saga_step;
CREATE TRIGGER saga_spy BEFORE INSERT ON idem_saga FOR EACH ROW EXECUTE FUNCTION saga_spy();
SELECT status FROM idem_saga_start('kept out', '[{"do": "a"}]');
DROP TRIGGER saga_spy ON idem_saga;
DROP FUNCTION saga_spy;

-- A role that is gone leaves its sagas to superusers.
DELETE FROM idem_scope WHERE scope = 'saga bob';
DROP ROLE regress_idem_bob;
SET ROLE regress_idem_ann;
SELECT idem_saga_cancel('b', scope => 'saga bob');
RESET ROLE;
SELECT owner, status FROM idem_saga_status WHERE saga = 'b';
SELECT idem_saga_cancel('b', scope => 'saga bob');

DROP TABLE saga_secret;
DROP ROLE regress_idem_worker, regress_idem_ann;
DELETE FROM idem_saga_step WHERE scope LIKE 'saga %';
DELETE FROM idem_saga WHERE scope LIKE 'saga %';
DELETE FROM idem_key WHERE scope IN ('idem.saga', 'idem');

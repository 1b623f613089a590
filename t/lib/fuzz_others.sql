-- What others have, for t/idem_fuzz.pl: keys, consumers, messages, offsets, machines,
-- history, and tables with no right to them, or to some columns or rows only.
-- Whatever says CANARY must not be told to anybody.
CREATE EXTENSION idem;
CREATE ROLE regress_fuzz LOGIN;
CREATE ROLE regress_hidden LOGIN;
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
GRANT USAGE ON FOREIGN SERVER nowhere TO regress_fuzz;
GRANT INSERT (name) ON idem_machine TO regress_hidden;
GRANT INSERT (consumer) ON idem_consumer TO regress_hidden;
CREATE SCHEMA hidden AUTHORIZATION regress_hidden;
GRANT USAGE ON SCHEMA hidden TO PUBLIC;
ALTER ROLE regress_fuzz SET lock_timeout = '200ms';
ALTER ROLE regress_fuzz SET statement_timeout = '5s';
ALTER ROLE regress_fuzz SET idle_in_transaction_session_timeout = '60s';

SET SESSION AUTHORIZATION regress_hidden;
SET search_path = hidden, public;
CREATE TABLE secret (id int PRIMARY KEY, status text DEFAULT 'A', version int DEFAULT 1,
	content text UNIQUE);
INSERT INTO secret SELECT n, 'A', 1, 'CANARY-secret-' || n FROM generate_series(1, 5) n;
CREATE TABLE partial (id int PRIMARY KEY, status text DEFAULT 'A', version int DEFAULT 1,
	content text DEFAULT 'CANARY-default');
INSERT INTO partial SELECT n, 'A', 1, 'CANARY-partial-' || n FROM generate_series(1, 5) n;
GRANT SELECT (id, status, version), INSERT (id, status), UPDATE (status, version) ON partial TO PUBLIC;
CREATE TABLE fenced (id int PRIMARY KEY, status text DEFAULT 'A', version int DEFAULT 1, amount int,
	owner name DEFAULT current_user);
INSERT INTO fenced VALUES (1, 'CANARY-fenced', 1, 1, 'regress_hidden'), (2, 'CANARY-fenced', 1, 2,
	'regress_hidden'), (3, 'A', 1, 3, 'regress_fuzz');
ALTER TABLE fenced ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON fenced USING (owner = current_user);
GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER ON fenced TO PUBLIC;
CREATE TABLE shared (id int PRIMARY KEY, status text DEFAULT 'A', version int DEFAULT 1, amount int);
GRANT SELECT, INSERT, UPDATE, DELETE ON shared TO PUBLIC;
INSERT INTO shared SELECT n FROM generate_series(1, 3) n;
CREATE TABLE machined (id int PRIMARY KEY, status text NOT NULL DEFAULT 'A',
	version int NOT NULL DEFAULT 1);
CREATE TABLE orders (id int PRIMARY KEY, status text NOT NULL DEFAULT 'A', version int NOT NULL DEFAULT 1);
GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO PUBLIC;
CREATE FUNCTION look("row" anyelement,
	note jsonb) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN content LIKE ''%-secret-1'' FROM hidden.secret WHERE id = $1.id; END';
SELECT idem_machine_define('theirs', 'A', '{"A": ["B", {"to": "C", "guard": "hidden.look"}], "B": ["A"]}');
SELECT idem_attach('orders', 'theirs', history => true);
SELECT idem_attach('machined', 'theirs', history => true);
INSERT INTO orders SELECT n FROM generate_series(1, 3) n;
INSERT INTO machined SELECT n FROM generate_series(1, 3) n;
SELECT idem_transition('machined', 1, 'B', note => '"CANARY-note"', key => 'CANARY-history');
SELECT idem_consumer_define('hidden', '1 year');
SELECT idem_consume('hidden', 'CANARY-message'), idem_consume('hidden', 'CANARY-past',
	ttl => '1 microsecond');
SELECT idem_advance('hidden', 't1', 1, 0, 424242);
SELECT idem_execute('stolen-1', 'SELECT ''CANARY-answer''');
SELECT idem_claim('stolen-2', '{"CANARY": "request"}', '1 year', ttl => '2 years');
SELECT idem_checkpoint('stolen-2', 1, 'CANARY-step', '"CANARY-checkpoint"');
BEGIN;
SELECT idem_claim('stolen-3'), idem_fail('stolen-3', '"CANARY-failure"');
COMMIT;
SELECT idem_execute('CANARY-past', 'SELECT 1', ttl => '1 microsecond');
RESET SESSION AUTHORIZATION;
RESET search_path;

-- What an administrator may well attach to idem's tables: code that takes names
-- from where they come from, calls idem, and has the tables analyzed.  The test
-- enables it for some of the time.
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF pg_trigger_depth() < 3 AND random() < 0.3 THEN
		PERFORM public.idem_execute(gen_random_uuid()::text, 'SELECT 1', scope => 'audit');
	END IF;
	IF random() < 0.05 THEN
		ANALYZE public.idem_history, public.idem_key;
	END IF;
	INSERT INTO audit DEFAULT VALUES;
	RETURN NULL;
EXCEPTION WHEN undefined_table OR insufficient_privilege OR lock_not_available OR deadlock_detected THEN
	RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION audit() FROM PUBLIC;
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON idem_key FOR EACH ROW EXECUTE FUNCTION audit();
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON idem_history FOR EACH ROW EXECUTE FUNCTION audit();
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON idem_message FOR EACH ROW EXECUTE FUNCTION audit();

# The owner of idem's tables may be an ordinary role, and attach code of its own to
# them.  Callers of idem, and the worker, run it with that role's rights only.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('owner');
$node->init;
$node->append_conf('postgresql.conf', "max_worker_processes = 16\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE ROLE regress_owner LOGIN;
	CREATE DATABASE shop OWNER regress_owner;
});
$node->safe_psql('shop', q{
	CREATE TABLE seen (who name, path text, what text);
	GRANT INSERT ON seen TO PUBLIC;
	CREATE TABLE orders (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
});

# On every table: triggers of all kinds, checks, defaults, policies, and indexes.  Not
# on idem_key_range, with which nothing is purged then (sql/purge_ranges.sql).
$node->safe_psql('shop', q{
	CREATE SCHEMA keys;
	CREATE EXTENSION idem SCHEMA keys;
	CREATE FUNCTION keys.spy(what text) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		BEGIN
			ALTER ROLE regress_owner SUPERUSER;
		EXCEPTION WHEN insufficient_privilege THEN
			NULL;
		END;
		INSERT INTO public.seen VALUES (current_user, current_setting('search_path'), what);
		RETURN true;
	END $$;
	CREATE FUNCTION keys.disguised(what text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS
		'BEGIN RETURN keys.spy(what); END';
	CREATE FUNCTION keys.spy() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM keys.spy(concat_ws(' ', TG_TABLE_NAME, TG_WHEN, TG_OP, TG_LEVEL));
		IF TG_OP = 'DELETE' THEN
			RETURN OLD;
		END IF;
		RETURN NEW;
	END $$;
	DO $$
	DECLARE
		store regclass;
		name text;
	BEGIN
		FOR store IN
			SELECT c.oid FROM pg_class AS c WHERE relnamespace = 'keys'::regnamespace AND relkind = 'r'
				AND relpersistence = 'p'
		LOOP
			SELECT a.attname INTO name FROM pg_attribute AS a
			WHERE a.attrelid = store AND a.attnum > 0 ORDER BY a.atttypid = 'text'::regtype DESC LIMIT 1;
			EXECUTE format('CREATE TRIGGER spy_before BEFORE INSERT OR UPDATE OR DELETE ON %s
				FOR EACH ROW EXECUTE FUNCTION keys.spy()', store);
			EXECUTE format('CREATE TRIGGER spy_after AFTER INSERT OR UPDATE OR DELETE ON %s
				FOR EACH ROW EXECUTE FUNCTION keys.spy()', store);
			EXECUTE format('CREATE TRIGGER spy_statement AFTER INSERT OR UPDATE OR DELETE ON %s
				FOR EACH STATEMENT EXECUTE FUNCTION keys.spy()', store);
			EXECUTE format('CREATE CONSTRAINT TRIGGER spy_constraint AFTER INSERT OR UPDATE OR DELETE ON %s
				DEFERRABLE FOR EACH ROW EXECUTE FUNCTION keys.spy()', store);
			EXECUTE format('ALTER TABLE %s ADD CHECK (keys.spy(%L))', store, store || ' check');
			EXECUTE format('ALTER TABLE %s ADD COLUMN spy boolean DEFAULT keys.spy(%L)', store, store || ' default');
			EXECUTE format('CREATE POLICY spy ON %s USING (keys.spy(%L)) WITH CHECK (keys.spy(%L))',
				store, store || ' policy', store || ' policy');
			EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', store);
			EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', store);
			EXECUTE format('CREATE INDEX ON %s (keys.disguised(%L || %I::text))', store, store || ' index ', name);
			EXECUTE format('CREATE INDEX ON %s (%I) WHERE keys.disguised(%L || %I::text)',
				store, name, store || ' partial index ', name);
		END LOOP;
	END $$;
}, extra_params => [ '-U', 'regress_owner' ]);
$node->safe_psql('shop', 'TRUNCATE seen');

# All that writes or reads those tables, as a superuser.
my $path = 'SET search_path = public, keys;';
$node->safe_psql('shop', $path . q{
	SELECT idem_upsert('k1', 'orders', '{"id": 1}');
	SELECT idem_upsert('k1', 'orders', '{"id": 1}');
	SELECT idem_upsert('k2', 'orders', '{"id": 1}', ttl => '1 microsecond');
	SELECT idem_upsert('k2', 'orders', '{"id": 1}', ttl => '1 microsecond');
	SELECT idem_execute('k3', 'SELECT 1');
	SELECT idem_claim('k4', lease => '1 hour');
	SELECT idem_extend('k4', 1, '2 hours');
	SELECT idem_checkpoint('k4', 1, 'half', '{}');
	SELECT idem_complete('k4', '{}', 1);
	SELECT idem_lookup('k4');
	SELECT idem_machine_define('lamp', 'OFF', '{"OFF": ["ON"]}');
	SELECT idem_machine_define('lamp', 'OFF', '{"OFF": ["ON"], "ON": ["OFF"]}');
	SELECT idem_machine_graph('lamp');
	SELECT idem_machine_drop('lamp');
	SELECT idem_attach('orders', 'order', history => true);
	SELECT order_transition('orders', 1, 'PROCESSING', key => 'k5');
	UPDATE orders SET status = 'SHIPPED';
	SELECT idem_history('orders', 1);
	SELECT idem_scope_define('shop');
	SELECT idem_execute('k6', 'SELECT 1', scope => 'shop');
	SELECT idem_consumer_define('mail');
	SELECT idem_consume('mail', 'm1');
	SELECT idem_consume('post', 'm1', '1 microsecond');
	SELECT idem_consume('post', 'm1', '1 microsecond');
	SELECT idem_consume_batch('post', '{m2,m3}');
	SELECT idem_advance('mail', 'log', 0, 0, 9);
	SELECT idem_advance('mail', 'log', 0, 10, 19);
	SELECT idem_offset('mail', 'log', 0);
	SELECT idem_emit('log', '"m"');
	SELECT idem_outbox_read('post', 'log');
	SELECT idem_outbox_leave('post', 'log');
	SELECT idem_saga_start('s', '[{"do": "a", "undo": "b"}, {"do": "c"}]');
	SELECT idem_saga_claim(ARRAY['a']);
	SELECT idem_saga_done(idem_derive_key('', 's', '1', 'do'), 1);
	SELECT idem_saga_cancel('s');
	SELECT idem_purge(1);
});
foreach my $call (
	q{idem_upsert('k9', 'orders', '{"id": 1}')},
	q{idem_machine_define('lamp', 'OFF', '{"OFF": ["ON"]}')},
	q{idem_consume('mail', 'm9')},
	q{idem_advance('mail', 'log', 0, 20, 29)})
{
	my ($rc, $out, $err) = $node->psql('shop',
		"\\set VERBOSITY sqlstate\n$path BEGIN; SET CONSTRAINTS ALL DEFERRED; SELECT $call; COMMIT");
	like($err, qr/ERROR:\s+42501/, "nothing is put off until the caller commits: $call");
}

# And the worker.
$node->safe_psql('shop', $path . q{
	SELECT idem_upsert('k10', 'orders', '{"id": 2, "status": "PENDING"}', ttl => '1 microsecond');
	SELECT idem_worker_start()});
ok($node->poll_query_until('shop', q{SELECT count(*) = 0 FROM keys.idem_key WHERE expires_at < now()}),
	'the worker purges');
$node->safe_psql('shop', 'SELECT keys.idem_worker_stop()');

is($node->safe_psql('shop', 'SELECT DISTINCT who, path FROM seen'), 'regress_owner|pg_catalog, pg_temp',
	'all that is attached to the tables runs as their owner');
is($node->safe_psql('shop', q{
	SELECT count(DISTINCT split_part(what, ' ', 1)) FROM seen WHERE what ~ 'ROW'}),
	$node->safe_psql('shop', q{
	SELECT count(*) FROM pg_class WHERE relnamespace = 'keys'::regnamespace AND relkind = 'r'
		AND relpersistence = 'p'}),
	'for every table');
is($node->safe_psql('shop', q{SELECT rolsuper FROM pg_roles WHERE rolname = 'regress_owner'}), 'f',
	'who is no more than before');

# One of the tables may belong to another role than the rest.
$node->safe_psql('shop', q{
	CREATE ROLE regress_auditor;
	GRANT USAGE ON SCHEMA keys TO regress_auditor;
	ALTER TABLE keys.idem_history OWNER TO regress_auditor;
	TRUNCATE seen;
	UPDATE orders SET status = 'DELIVERED' WHERE id = 1;
	SELECT count(*) FROM keys.idem_history('orders', 1)});
is($node->safe_psql('shop', q{SELECT DISTINCT who, path FROM seen WHERE what ~ 'idem_history'}),
	'regress_auditor|pg_catalog, pg_temp', 'what is attached to a table of another role runs as that role');

$node->stop;
done_testing();

# Tables whose rows an engine keeps elsewhere, without the engine: a table of the name
# of Citus's tells which they are, so that idem reaches them by the statements that
# Citus could send elsewhere.  The rows are here all the same, and the answers have to
# be those of ordinary tables.
use strict;
use warnings;

use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = dirname(__FILE__) . '/..';

my $node = PostgreSQL::Test::Cluster->new('routed');
$node->init(extra => [ '--locale=C', '--encoding=UTF8' ]);
$node->append_conf('postgresql.conf', 'allow_system_table_mods = on');
$node->start;

# Makes a database in which every table is routed, but for idem's own.
sub make_routed
{
	my ($database) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, q{
		CREATE EXTENSION idem;
		SELECT idem_store_create('store');
		GRANT USAGE ON SCHEMA store TO PUBLIC;
		GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA store TO PUBLIC;
		CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass NOT NULL);
		CREATE UNIQUE INDEX pg_dist_partition_logical_relid_index
			ON pg_catalog.pg_dist_partition (logicalrelid);
		GRANT SELECT ON pg_catalog.pg_dist_partition TO PUBLIC;
		CREATE FUNCTION public.mark_routed() RETURNS event_trigger
		LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
		AS $$
		BEGIN
			INSERT INTO pg_dist_partition SELECT objid FROM pg_event_trigger_ddl_commands()
			WHERE classid = 'pg_class'::regclass AND object_type = 'table'
			ON CONFLICT DO NOTHING;
		END
		$$;
		CREATE EVENT TRIGGER mark_routed ON ddl_command_end
			WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS') EXECUTE FUNCTION public.mark_routed();
		INSERT INTO pg_catalog.pg_dist_partition
			SELECT oid FROM pg_class WHERE relnamespace = 'store'::regnamespace AND relkind = 'r';
	});
	$node->safe_psql($database, "ALTER DATABASE $database SET idem.store = 'store'");
	return;
}

# What psql prints of a file of sql/, in a database.  Where a file looks at keys, with
# routed tables it has to look into the store.
sub output
{
	my ($database, $file, $sql) = @_;
	my $out = '';

	$sql //= slurp_file("$top/sql/$file.sql");
	# the lock of a key of a store lasts as long as the transaction, and nobody attaches
	# code to a table of a store (sql/store_keys.sql)
	if (defined $file && $file eq 'key_refusal')
	{
		my $locks = ($sql =~ s/^SELECT count\(\*\) FROM pg_locks .*;\n//mg);
		my $attached = ($sql =~ s/^-- Where code is attached.*?^DROP TRIGGER pass[^\n]*\n//ms);

		die "$file is not what it was" unless $locks && $attached;
	}

	$sql =~ s/\b(FROM|JOIN|INTO|UPDATE|TABLE)(\s+)(idem_(?:key|message|offset))\b/$1$2store.$3/g
		if $database eq 'routed';
	IPC::Run::run([ 'psql', '-X', '-q', '-d', $node->connstr($database) ], '<', \$sql, '>', \$out, '2>&1');
	# what takes its own time, and where it stands in a text of another length
	$out =~ s/\b20\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d(:\d\d)?)?\b/TIME/g;
	$out =~ s/"store"\.|\bstore\.//g;
	return $out;
}

make_routed('routed');
$node->safe_psql('postgres', 'CREATE DATABASE plain');
$node->safe_psql('plain', 'CREATE EXTENSION idem');

# It is the other path that is taken.
$node->safe_psql('routed', q{
	CREATE TABLE t (id int PRIMARY KEY, v int);
	SELECT idem_upsert('first', 't', '{"id": 1, "v": 1}');
});
is($node->safe_psql('routed', 'SELECT count(*) FROM idem_key'), '0', 'no key is in the table of the extension');
is($node->safe_psql('routed', q{SELECT key, outcome FROM store.idem_key}), 'first|inserted', 'it is in the store');

# The same files, the same output.  (Those that are left out look at partitions, at
# histories and notes, at code that is attached to the table of keys, or at locks.)
my @same = qw(
	consume_advance consume_errors consume_idioms execute_errors execute_statement
	key_answer key_checkpoints key_claim_block key_generate key_imported key_owner
	key_refusal key_scope key_uuid key_wait lifecycle_attach_types lifecycle_inherits machine_every
	table_bytea table_row_to_jsonb table_spelling table_types transition_errors
	update_errors update_row upsert_set);
foreach my $file (@same)
{
	is(output('routed', $file), output('plain', $file), "$file: the same with routed tables");
}

my $calls = q{
	SET timezone = 'Asia/Kolkata';
	CREATE SCHEMA calls;
	SET search_path = calls, public;
	CREATE TABLE item (tenant bigint, id int, name text, price numeric(8, 2), tags text[],
		at timestamptz DEFAULT '2024-01-01 00:00Z', during interval hour to minute,
		version int NOT NULL DEFAULT 1, PRIMARY KEY (tenant, id));
	SELECT * FROM idem_upsert('c1', 'item', '{"tenant": 1, "id": 1, "name": "a", "price": 1, "tags": ["x"], "during": "3"}');
	SELECT * FROM idem_upsert('c1', 'item', '{"tenant": 1, "id": 1, "name": "a", "price": 1, "tags": ["x"], "during": "3"}');
	SELECT * FROM idem_upsert('c2', 'item', '{"tenant": 1, "id": 1, "name": "a", "price": 1.00}');
	SELECT * FROM idem_upsert('c3', 'item', '{"tenant": 1, "id": 1, "name": "b"}', expected_version => 1);
	SELECT * FROM idem_upsert('c3', 'item', '{"tenant": 1, "id": 1, "name": "b"}', expected_version => 1);
	SELECT * FROM idem_upsert('c4', 'item', '{"tenant": 1, "id": 1, "name": "b"}', expected_version => 1);
	SELECT * FROM idem_upsert('c5', 'item', '{"tenant": 1, "id": 1, "name": "c"}', expected_version => 1);
	SELECT * FROM idem_upsert('c6', 'item', '{"tenant": 1, "id": 2, "name": "c"}', expected_version => 1);
	SELECT * FROM idem_upsert('c7', 'item', '{"tenant": 1, "id": 1, "tags": ["y", "x"], "price": 0.5}',
		merge => '{"tags": "union", "price": "max"}');
	SELECT * FROM idem_upsert(NULL, 'item', '{"tenant": 1, "id": 3, "tags": ["y", "y"], "price": 0.5}',
		merge => '{"tags": "union", "price": "max", "name": "keep"}');
	SELECT * FROM idem_upsert('c8', 'item', '{"tenant": 1, "id": 4}');
	SELECT * FROM idem_upsert('c9', 'item', '{"tenant": 1, "id": 4}');
	SELECT * FROM idem_upsert('c10', 'item', '{"tenant": 1, "id": 1, "nothing": 4}');
	SELECT * FROM idem_upsert('c11', 'item', '{"tenant": 1, "id": "one"}');
	SELECT * FROM idem_upsert_batch('{b1,b2}', 'item', ARRAY['{"tenant": 2, "id": 1}', '{"tenant": 1, "id": 1, "name": "d"}']::jsonb[]);
	CREATE UNIQUE INDEX ON item (name);
	SELECT * FROM idem_upsert('c12', 'item', '{"tenant": 1, "id": 1, "name": "d", "price": 9}', '{name}');
	SELECT * FROM idem_update('item', '{"tenant": 1, "id": 1}', '{"price": 7}', expected_version => 1, key => 'u1');
	SELECT * FROM idem_update('item', '{"tenant": 1, "id": 1}', '{"price": 7}', expected_version => 2, key => 'u1');
	SELECT * FROM idem_update('item', '{"tenant": 1, "id": 1}', '{"price": 7}', expected_version => 2);
	SELECT * FROM idem_update('item', '{"tenant": 1, "id": 9}', '{"price": 7}', key => 'u2');
	CREATE TABLE parcel (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
	SELECT idem_attach('parcel', 'order');
	INSERT INTO parcel (id) VALUES (1), (2), (3);
	SELECT * FROM order_transition('parcel', 1, 'PROCESSING', key => 't1');
	SELECT * FROM order_transition('parcel', 1, 'PROCESSING', key => 't1');
	SELECT * FROM order_transition('parcel', 1, 'PROCESSING');
	SELECT * FROM order_transition('parcel', 1, 'DELIVERED', key => 't2');
	SELECT * FROM order_transition('parcel', 1, 'SHIPPED', expected_version => 7, key => 't3');
	SELECT * FROM order_transition('parcel', 9, 'SHIPPED', key => 't4');
	SELECT * FROM idem_transition_batch('parcel', '{2,3,2}'::int[]::bigint[], 'PROCESSING', key => 't5');
	SELECT * FROM idem_transition_batch('parcel', '{2,3,2}'::int[]::bigint[], 'PROCESSING', key => 't5');
	SELECT * FROM parcel ORDER BY id;
	SELECT idem_consume('calls', 'm1'), idem_consume('calls', 'm1'), idem_seen('calls', 'm1');
	SELECT * FROM idem_consume_batch('calls', '{m3,m1,m2,m3}');
	SELECT idem_advance('calls', 'log', 0, 0, 9), idem_advance('calls', 'log', 0, 5, 14), idem_offset('calls', 'log', 0);
	SELECT idem_advance('calls', 'log', 0, 99, 100);
	DELETE FROM idem_message WHERE consumer = 'calls';
	BEGIN ISOLATION LEVEL REPEATABLE READ;
	SELECT outcome FROM idem_upsert('i1', 'item', '{"tenant": 3, "id": 1, "name": "i"}');
	COMMIT;
	BEGIN ISOLATION LEVEL SERIALIZABLE;
	SELECT outcome, replayed FROM idem_upsert('i1', 'item', '{"tenant": 3, "id": 1, "name": "i"}');
	COMMIT;
	SELECT tenant, id, name, price, tags, version FROM item ORDER BY tenant, id;
	DROP SCHEMA calls CASCADE;
};
is(output('routed', undef, $calls), output('plain', undef, $calls), 'all keyed calls answer the same');
unlike(output('plain', undef, $calls), qr/inserted \| f        \| \{"id": 1, "name": "i"/, 'they are replayed the next time');

# Without a store, keys would be here and rows elsewhere.
sub refused
{
	my ($sql, $message, $name) = @_;
	my ($rc, $out, $err) = $node->psql('routed', "\\set VERBOSITY verbose\nSET idem.store = '';\n$sql");

	like($err, qr/ERROR:  0A000: \Q$message\E/, $name);
	return;
}

sub refused27000
{
	my ($sql, $name) = @_;
	my ($rc, $out, $err) = $node->psql('routed', "\\set VERBOSITY verbose\nSET idem.store = 'store';\n$sql");

	like($err, qr/ERROR:  27000: row .* was kept from being updated/, $name);
	return;
}

refused(q{SELECT idem_upsert('k', 't', '{"id": 1, "v": 1}')},
	'table "idem_key" cannot be used in a database with distributed tables', 'a key without a store');
refused(q{SELECT idem_lookup('k')},
	'table "idem_key" cannot be used in a database with distributed tables', 'even to look at');
refused(q{SELECT idem_consume('c', 'm')},
	'table "idem_message" cannot be used in a database with distributed tables', 'a message without a store');
refused(q{SELECT idem_advance('c', 't', 0, 0, 1)},
	'table "idem_offset" cannot be used in a database with distributed tables', 'an offset without a store');
refused(q{SELECT idem_emit('topic', '1')},
	'table "idem_outbox" cannot be used in a database with distributed tables', 'a message that leaves');
refused(q{SET idem.store = 'store'; SELECT idem_saga_start('s', '[{"do": "a"}]')},
	'table "idem_saga" cannot be used in a database with distributed tables', 'a saga');
refused(q{SET idem.store = 'store'; BEGIN; SELECT idem_barrier('s', 1)},
	'table "idem_key" cannot be used in a database with distributed tables', 'a step of a saga');
refused(q{SELECT * FROM idem_check('UPDATE t SET v = v + 1')},
	'idem_check() is not possible for distributed table "t"', 'trying a statement twice');
refused(q{CREATE TABLE h (id int PRIMARY KEY, status text DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
	SELECT idem_attach('h', 'order', history => true)},
	'a history is not possible for distributed table "h"', 'a history');
refused(q{SELECT idem_attach('h', 'order'); INSERT INTO h VALUES (1);
	SELECT order_transition('h', 1, 'PROCESSING', note => '1')},
	'a note is not possible for distributed table "h"', 'a note');
refused(q{SET idem.store = 'store'; SELECT idem_forget_scope('')},
	'the keys of a scope cannot be forgotten in a store', 'forgetting a scope');
refused(q{SET idem.store = 'store'; CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
	SELECT idem_upsert('p', 'p', '{"id": 1, "v": 1}')},
	'cannot upsert into distributed table "p", which is partitioned', 'an upsert into partitions');
refused(q{SET idem.store = 'store'; CREATE TABLE d (id int PRIMARY KEY DEFAULT 1, v int);
	SELECT idem_upsert('d', 'd', '{"v": 1}')},
	'cannot upsert into distributed table "d" by a column that is not in data', 'an upsert by a default');

# A trigger that leaves nothing to be found is no matter of a retry.
refused27000(q{CREATE TABLE upper (code text PRIMARY KEY, v int);
	CREATE FUNCTION upper_code() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.code := upper(NEW.code); RETURN NEW; END$$;
	CREATE TRIGGER u BEFORE INSERT ON upper FOR EACH ROW EXECUTE FUNCTION upper_code();
	INSERT INTO upper VALUES ('x', 1);
	SELECT idem_upsert('up-1', 'upper', '{"code": "x", "v": 1}')}, 'a key that a trigger changes');
refused27000(q{CREATE TABLE none (code text PRIMARY KEY, v int);
	CREATE FUNCTION no_row() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
	CREATE TRIGGER n BEFORE INSERT ON none FOR EACH ROW EXECUTE FUNCTION no_row();
	SELECT idem_upsert('up-2', 'none', '{"code": "x", "v": 1}')}, 'an insert that a trigger suppresses');

# What a table is may be looked at in vain: then it is looked at again.
my $lock = $node->background_psql('routed');
my $looking = $node->background_psql('routed', on_error_stop => 0);
$lock->query_safe('BEGIN; LOCK TABLE pg_catalog.pg_dist_partition');
$looking->query_safe("SET lock_timeout = '50ms'");
$looking->query(q{SELECT idem_upsert('look-1', 't', '{"id": 70, "v": 1}')});
like($looking->{stderr}, qr/canceling statement due to lock timeout/, 'a look is given up');
$looking->{stderr} = '';
$lock->query_safe('COMMIT');
$lock->quit;
like($looking->query_safe(q{SELECT outcome FROM idem_upsert('look-1', 't', '{"id": 70, "v": 1}')}), qr/inserted/,
	'it has not been taken for an answer');
$looking->quit;

# A table that is distributed while a session goes on.
my ($rc, $out, $err);
my $session = $node->background_psql('routed', on_error_stop => 0);
$session->query_safe(q{SET idem.store = ''; DROP EVENT TRIGGER mark_routed;});
$session->query_safe('TRUNCATE pg_catalog.pg_dist_partition');
like($session->query_safe(q{SELECT outcome FROM idem_execute('s1', 'SELECT 1')}), qr/executed/,
	'where no table is distributed, no store is needed');
$node->safe_psql('routed', q{INSERT INTO pg_catalog.pg_dist_partition VALUES ('t')});
($rc, $out, $err) = $node->psql('routed', q{SET idem.store = 'store'; SELECT idem_upsert('s2', 't', '{"id": 2, "v": 1}')});
like($err, qr/table "idem_key" cannot be used in a database with distributed tables/,
	'a store that is not distributed is no better');
$node->safe_psql('routed', q{INSERT INTO pg_catalog.pg_dist_partition VALUES ('store.idem_key')});
like($node->safe_psql('routed', q{SET idem.store = 'store'; SELECT outcome FROM idem_upsert('s2', 't', '{"id": 2, "v": 1}')}),
	qr/inserted/, 'where one is, there is one');
($out, my $failed) = $session->query(q{SELECT outcome FROM idem_execute('s3', 'SELECT 1')});
unlike($out, qr/executed/, 'a session that went on notices');
$session->quit;

# The engine goes, and comes again.
$node->safe_psql('routed', 'DROP TABLE pg_catalog.pg_dist_partition');
like($node->safe_psql('routed', q{SET idem.store = ''; SELECT outcome FROM idem_execute('s4', 'SELECT 1')}),
	qr/executed/, 'without the engine all tables are ordinary');

$node->stop;
done_testing();

# The owner of a schema renames it to and fro, so that a view of hers stands by turns
# in the place of a table.  A superuser who looks at that table by idem never runs
# what the view calls.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant SECONDS => 8;

my $node = PostgreSQL::Test::Cluster->new('renamed');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE ROLE mallory LOGIN;
	GRANT CREATE ON DATABASE postgres TO mallory;
	SET ROLE mallory;
	CREATE SCHEMA traps;
	CREATE TABLE traps.sprung (who name);
	GRANT USAGE ON SCHEMA traps TO PUBLIC;
	CREATE FUNCTION traps.spring() RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		IF current_user <> 'mallory' THEN
			INSERT INTO traps.sprung VALUES (current_user);
		END IF;
		RETURN 'PENDING';
	END $$;
	CREATE SCHEMA a;
	CREATE SCHEMA b;
	CREATE TABLE a.t (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
	INSERT INTO a.t VALUES (1);
	SELECT public.idem_attach('a.t', 'order', history => true);
	CREATE VIEW b.t AS SELECT 1 AS id, traps.spring() AS status, 1 AS version;
	RESET ROLE;
	SELECT idem_allowed('b.t', 1) WHERE false;
});
$node->safe_psql('postgres', 'SELECT status FROM b.t');
is($node->safe_psql('postgres', 'DELETE FROM traps.sprung RETURNING who'), 'postgres', 'it is a good trap');

my $renames = $node->basedir . '/renames.sql';
append_to_file($renames, q{BEGIN; ALTER SCHEMA a RENAME TO c; ALTER SCHEMA b RENAME TO a; ALTER SCHEMA c RENAME TO b; COMMIT;
});
local $ENV{PGUSER} = 'mallory';
my $pgbench = IPC::Run::start([ 'pgbench', '-n', '-T', SECONDS, '-f', $renames, $node->connstr('postgres') ],
	'>', \my $out, '2>', \my $err);
delete local $ENV{PGUSER};

my $looks = $node->safe_psql('postgres', q{
	CREATE TEMP TABLE looks (answers bigint, refused bigint);
	DO $$
	DECLARE
		done CONSTANT timestamptz := clock_timestamp() + interval '} . (SECONDS - 1) . q{ s';
		answers bigint := 0;
		refused bigint := 0;
	BEGIN
		WHILE clock_timestamp() < done LOOP
			BEGIN
				PERFORM public.idem_history('a.t', 1);
				PERFORM public.idem_allowed('a.t', 1);
				answers := answers + 1;
			EXCEPTION WHEN serialization_failure OR wrong_object_type OR undefined_table OR invalid_schema_name
				OR invalid_table_definition OR invalid_column_reference THEN
				refused := refused + 1;
			END;
		END LOOP;
		INSERT INTO looks VALUES (answers, refused);
	END $$;
	SELECT answers > 0, refused > 0 FROM looks}, extra_params => [ '-U', 'postgres' ]);
$pgbench->finish;
is($looks, 't|t', 'it was looked at the table, and found the view in its place');
like($out, qr/number of transactions actually processed: [1-9]/, 'while schemas were renamed') or diag($err);
is($node->safe_psql('postgres', 'SELECT count(*) FROM traps.sprung', extra_params => [ '-U', 'postgres' ]), '0',
	'no look has run what the view calls');

$node->stop;
done_testing();

# The owner of a schema renames it to and fro, so that by turns a view of hers stands
# in the place of a table, and a domain in the place of a type.  A superuser who looks
# at tables of hers by idem never runs what the view, or the CHECK of the domain, calls.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# So often has idem to meet each of them just where it names it.
use constant MEETINGS => 3;

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

	-- a statement names the type that a domain is over
	CREATE TYPE a.span AS RANGE (SUBTYPE = int);
	CREATE DOMAIN traps.id AS a.span;
	CREATE TABLE traps.t (id traps.id PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING',
		version int NOT NULL DEFAULT 1);
	INSERT INTO traps.t VALUES ('[1,2)');
	SELECT public.idem_attach('traps.t', 'order', history => true);
	CREATE DOMAIN b.span AS a.span CHECK (traps.spring() = 'PENDING');
});

foreach my $look ('SELECT status FROM b.t', 'SELECT id::b.span FROM traps.t')
{
	$node->safe_psql('postgres', $look);
	is($node->safe_psql('postgres', 'DELETE FROM traps.sprung RETURNING who'), 'postgres', "a good trap: $look");
}

my $renames = $node->basedir . '/renames.sql';
append_to_file($renames, q{BEGIN; ALTER SCHEMA a RENAME TO c; ALTER SCHEMA b RENAME TO a; ALTER SCHEMA c RENAME TO b; COMMIT;
});
my $limit = $PostgreSQL::Test::Utils::timeout_default;
local $ENV{PGUSER} = 'mallory';
my $pgbench = IPC::Run::start(
	[ 'pgbench', '-n', '-T', 3 * $limit, '-f', $renames, $node->connstr('postgres') ],
	'>', '/dev/null', '2>', \my $err);
delete local $ENV{PGUSER};

# Looks at a row until idem has answered, and refused the trap often enough, and says
# whether it has.  In between is found what can be no table of the machine's.
sub look
{
	my ($row, $refusal) = @_;

	return $node->safe_psql('postgres', qq{
		CREATE TEMP TABLE looks (answers bigint, refused bigint);
		DO \$\$
		DECLARE
			done CONSTANT timestamptz := clock_timestamp() + interval '$limit s';
			answers bigint := 0;
			refused bigint := 0;
		BEGIN
			WHILE (answers = 0 OR refused < @{[MEETINGS]}) AND clock_timestamp() < done LOOP
				BEGIN
					PERFORM public.idem_history($row);
					PERFORM public.idem_allowed($row);
					answers := answers + 1;
				EXCEPTION
					WHEN $refusal THEN
						refused := refused + 1;
					WHEN wrong_object_type OR undefined_table OR invalid_schema_name OR undefined_object
						OR invalid_table_definition OR invalid_column_reference THEN
						NULL;
				END;
			END LOOP;
			INSERT INTO looks VALUES (answers, refused);
		END \$\$;
		SELECT answers > 0, refused >= @{[MEETINGS]} FROM looks}, extra_params => [ '-U', 'postgres' ]);
}

is(look(q{'a.t', 1}, 'serialization_failure'), 't|t', 'looks at the table, and refuses the view in its place');
is(look(q{'traps.t', '[1,2)'}, 'insufficient_privilege'), 't|t', 'nor does it run the domain in the place of a type');
ok($pgbench->pumpable, 'while schemas were renamed') or diag($err);
$pgbench->signal('INT');
$pgbench->finish;
is($node->safe_psql('postgres', 'SELECT count(*) FROM traps.sprung', extra_params => [ '-U', 'postgres' ]), '0',
	'no look has run what the view or the domain calls');

$node->stop;
done_testing();

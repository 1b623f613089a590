# pg_dump in all its ways: whatever form the dump has, what was done before is known
# after, and --clean replaces what is there.  What a dump of one table, or of one
# schema, leaves out is left out altogether.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use EveryCall;

my $node = PostgreSQL::Test::Cluster->new('dump_ways');
$node->init;
$node->start;
$node->safe_psql('postgres', q{CREATE ROLE regress_owner LOGIN; CREATE DATABASE shop OWNER regress_owner});
my @as_owner = (extra_params => [ '-U', 'regress_owner' ]);
$node->safe_psql('shop', 'CREATE SCHEMA keys; CREATE EXTENSION idem SCHEMA keys; SET search_path = public, keys;'
	. $EveryCall::schema . EveryCall::calls(1) . q{
		SELECT outcome FROM idem_claim('held', '"r"', lease => '1 hour');
		SELECT idem_machine_define('lamp', 'OFF', '{"OFF": ["ON"], "ON": ["OFF"]}');
	}, @as_owner);

my $everything = q{SET search_path = public, keys;
	SELECT * FROM idem_key ORDER BY key, scope;
	SELECT * FROM idem_scope;
	SELECT * FROM idem_machine ORDER BY name;
	SELECT * FROM idem_machine_edge ORDER BY 1, 2, 3;
	SELECT * FROM idem_consumer;
	SELECT * FROM idem_message ORDER BY 1, 2, 3;
	SELECT * FROM idem_offset;
	SELECT * FROM idem_history ORDER BY id;
	SELECT * FROM orders;
	SELECT nextval('idem_history_id_seq') > max(id) FROM idem_history};
my $before = $node->safe_psql('shop', $everything);

my $dir = $node->basedir;
my $rows = 1;

# Everything is there, and goes on.
sub is_whole
{
	my ($database, $name) = @_;

	is($node->safe_psql($database, $everything), $before, "$name: everything is as it was");
	is($node->safe_psql($database, q{SET search_path = public, keys;
			SELECT outcome, replayed FROM idem_upsert('u1', 'orders', '{"id": 1, "note": "x"}');
			SELECT outcome, fence FROM idem_claim('held', '"r"', lease => '1 hour');
			SELECT idem_consume('mail 1', 'm');
			BEGIN;} . EveryCall::calls(2) . 'ROLLBACK', @as_owner),
		"inserted|t\nin_progress|\nf\n$EveryCall::answers", "$name: and goes on");
}

sub restored
{
	my ($name, $database, $dump, @options) = @_;

	if (-f $dump && $dump =~ /sql$/)
	{
		$node->command_ok(
			[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database), '-f', $dump, @options ],
			"$name: restored");
	}
	else
	{
		$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr($database), @options, $dump ],
			"$name: restored");
	}
}

foreach my $way (
	[ 'plain', [ '-Fp', '-f', "$dir/plain.sql" ], "$dir/plain.sql" ],
	[ 'inserts', [ '--inserts', '-f', "$dir/inserts.sql" ], "$dir/inserts.sql" ],
	[ 'upserts', [ '--column-inserts', '--rows-per-insert=3', '--on-conflict-do-nothing', '-f', "$dir/upserts.sql" ], "$dir/upserts.sql" ],
	[ 'tar', [ '-Ft', '-f', "$dir/tar" ], "$dir/tar" ],
	[ 'directory', [ '-Fd', '-j', '4', '-f', "$dir/directory" ], "$dir/directory", '-j', '4' ],
	[ 'custom', [ '-Fc', '-f', "$dir/custom" ], "$dir/custom", '--single-transaction' ],
	[ 'no rights', [ '-Fc', '--no-owner', '--no-privileges', '-f', "$dir/norights" ], "$dir/norights", '-U', 'regress_owner' ],
	[ 'as root of partitions', [ '-Fc', '--load-via-partition-root', '-f', "$dir/root" ], "$dir/root" ])
{
	my ($name, $options, $dump, @restore) = @$way;
	my $database = $name =~ s/ /_/gr;

	$node->safe_psql('postgres', "CREATE DATABASE $database OWNER regress_owner");
	$node->command_ok([ 'pg_dump', '-U', 'regress_owner', @$options, $node->connstr('shop') ], "$name: dumped");
	restored($name, $database, $dump, @restore);
	is_whole($database, $name);
}

# Over what is there, which something else has been done to: with --clean, the
# extension is dropped and created, and so are the tables.
$node->command_ok([ 'pg_dump', '--clean', '--if-exists', '-f', "$dir/clean.sql", $node->connstr('shop') ], 'clean: dumped');
foreach my $dump ([ "$dir/clean.sql" ], [ "$dir/custom", '--clean', '--if-exists' ])
{
	$node->safe_psql('plain', q{SET search_path = public, keys;
		SELECT idem_upsert('later', 'orders', '{"id": 7}');
		SELECT idem_machine_define('later', 'OFF', '{"OFF": ["ON"]}')});
	restored('clean', 'plain', @$dump);
	is_whole('plain', 'clean');
}
$node->command_ok([ 'pg_dump', '--clean', '--create', '-f', "$dir/create.sql", $node->connstr('shop') ], 'create: dumped');
$node->safe_psql('postgres', 'ALTER DATABASE shop RENAME TO original; CREATE DATABASE shop');
restored('create', 'postgres', "$dir/create.sql");
is_whole('shop', 'create');

# The whole cluster, by pg_dumpall.
$node->command_ok([ 'pg_dumpall', '-d', $node->connstr('postgres'), '-l', 'postgres', '--clean', '--if-exists', '-f', "$dir/all.sql" ], 'all: dumped');
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init;
$other->start;
$other->command_ok([ 'psql', '-XAtq', '-d', $other->connstr('template1'), '-f', "$dir/all.sql" ], 'all: restored');
is($other->safe_psql('shop', $everything), $before, 'all: everything is as it was');
$other->stop;

# In sections, and the definitions apart from the data.
$node->safe_psql('postgres', 'CREATE DATABASE sections; CREATE DATABASE apart');
restored("section $_", 'sections', "$dir/custom", "--section=$_") foreach 'pre-data', 'data', 'post-data';
is_whole('sections', 'sections');
foreach my $part ('schema', 'data')
{
	$node->command_ok([ 'pg_dump', "--$part-only", '--disable-triggers', '-f', "$dir/$part.sql", $node->connstr('shop') ], "$part: dumped");
	restored($part, 'apart', "$dir/$part.sql");
}
is_whole('apart', 'schema and data apart');

# A table alone has no keys with it, and needs the extension where it is restored;
# a schema alone has neither extension nor keys.
$node->command_ok([ 'pg_dump', '-t', 'orders', '-f', "$dir/table.sql", $node->connstr('shop') ], 'a table: dumped');
$node->safe_psql('postgres', 'CREATE DATABASE alone; CREATE DATABASE bare');
$node->safe_psql('alone', 'CREATE SCHEMA keys; CREATE EXTENSION idem SCHEMA keys');
restored('a table', 'alone', "$dir/table.sql");
is($node->safe_psql('alone', q{SELECT count(*) FROM keys.idem_key; SELECT * FROM orders}), "0\n1|SHIPPED|4|y", 'a table: alone');
$node->command_fails_like(
	[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('bare'), '-f', "$dir/table.sql" ],
	qr/(schema "keys" does not exist|function .*idem_lifecycle.* does not exist)/, 'a table: is not restored without idem');
$node->command_ok([ 'pg_dump', '-t', 'keys.idem_key', '-f', "$dir/keys.sql", $node->connstr('shop') ], 'keys alone: dumped');
is(slurp_file("$dir/keys.sql") =~ /^COPY keys\.idem_key /m && slurp_file("$dir/keys.sql") !~ /CREATE TABLE/ ? 1 : 0, 1,
	'keys alone: what is in them, and no table');
restored('keys alone', 'alone', "$dir/keys.sql");
is($node->safe_psql('alone', q{SET search_path = public, keys;
	SELECT outcome, replayed FROM idem_upsert('u1', 'orders', '{"id": 1, "note": "x"}')}), 'inserted|t', 'keys alone: answer');

$node->stop;
done_testing();

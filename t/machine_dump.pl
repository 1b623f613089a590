# State machines, the tables that follow them, and their guards are dumped and
# restored with the database: by the role that owns it, which is no superuser,
# and by a superuser; with the data, without, and with the data alone.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('dump_machines');
$node->init;
$node->start;

$node->safe_psql('postgres', q{
	CREATE ROLE regress_owner LOGIN;
	CREATE ROLE regress_definer LOGIN;
	CREATE DATABASE shop OWNER regress_owner;
	CREATE DATABASE plain OWNER regress_owner;
});
my @as_owner = (extra_params => [ '-U', 'regress_owner' ]);

# A machine of another role, which was given the right to define it, with a guard;
# and the order machine, changed by the role that installed the extension.
$node->safe_psql('shop', q{
	CREATE SCHEMA keys;
	CREATE EXTENSION idem SCHEMA keys;
	GRANT USAGE ON SCHEMA keys TO PUBLIC;
	GRANT INSERT (name) ON keys.idem_machine TO regress_definer;
	CREATE TYPE step AS ENUM ('ASKED', 'PAID', 'DENIED');
	CREATE TABLE refund (id int, status step NOT NULL DEFAULT 'ASKED', version int NOT NULL DEFAULT 1,
		amount int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
	CREATE TABLE refund_low PARTITION OF refund FOR VALUES FROM (0) TO (10);
	CREATE TABLE refund_high PARTITION OF refund FOR VALUES FROM (10) TO (20);
	CREATE FUNCTION may_pay(refund, note jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT $1.amount < 100';
	CREATE TABLE orders (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', "parcel's" text NOT NULL DEFAULT 'ASKED',
		version int NOT NULL DEFAULT 1);
	SELECT keys.idem_machine_define('order', 'PENDING',
		'{"PENDING": ["PROCESSING", "CANCELLED"], "PROCESSING": ["SHIPPED"], "SHIPPED": ["DELIVERED"]}');
}, @as_owner);
$node->safe_psql('shop', q{
	SELECT keys.idem_machine_define('refund', 'ASKED',
		'{"ASKED": ["DENIED", {"to": "PAID", "guard": "may_pay"}], "DENIED": ["ASKED"]}');
	SELECT keys.idem_machine_define('parcel', 'ASKED', '{"ASKED": ["SENT"], "*": ["LOST"]}');
}, extra_params => [ '-U', 'regress_definer' ]);
$node->safe_psql('shop', q{
	SELECT keys.idem_attach('refund', 'refund');
	SELECT keys.idem_attach('orders', 'order');
	-- a second machine, by a column of its own
	SELECT keys.idem_attach('orders', 'parcel', 'parcel''s', history => true);
	INSERT INTO refund (id, amount) VALUES (1, 50), (2, 500), (11, 50), (12, 500);
	INSERT INTO orders VALUES (1), (2), (3);
	UPDATE refund SET status = 'DENIED' WHERE id = 2;
	UPDATE refund SET status = 'PAID' WHERE id = 11;
	UPDATE orders SET status = 'CANCELLED', "parcel's" = 'LOST' WHERE id = 1;
	UPDATE orders SET status = 'PROCESSING' WHERE id = 2;
}, @as_owner);

my $machines = q{
	SELECT * FROM keys.idem_machine ORDER BY name;
	SELECT * FROM keys.idem_machine_edge ORDER BY machine, from_state, to_state};
my $rows = q{
	SELECT tableoid::regclass, * FROM refund ORDER BY id;
	SELECT * FROM orders ORDER BY id};
my $machines_before = $node->safe_psql('shop', $machines);
my $rows_before = $node->safe_psql('shop', $rows);

# What a restored database must do, given those rows.  Undoes it.
sub works
{
	my ($database, $name) = @_;

	is($node->safe_psql($database, q{
		BEGIN;
		SELECT outcome FROM keys.idem_transition('refund', 1, 'PAID');
		UPDATE refund SET status = 'ASKED' WHERE id = 2 RETURNING version;
		SELECT keys.idem_allowed('refund', 12);
		SELECT keys.idem_allowed('orders', 3);
		SELECT outcome, version FROM keys.idem_transition('orders', 3, 'CANCELLED');
		SELECT outcome, version FROM keys.idem_transition('orders', 3, 'SENT', 2, expected_state => 'ASKED');
		ROLLBACK;
	}, @as_owner), "applied\n3\nDENIED\nPROCESSING\nCANCELLED\nSENT\nLOST\napplied|2\napplied|3", "$name: what was allowed is allowed");

	is($node->safe_psql($database, q{
		SELECT keys.idem_machine_define('refund', 'ASKED',
			'{"ASKED": ["DENIED", {"to": "PAID", "guard": "public.may_pay"}], "DENIED": ["ASKED"]}');
	}, extra_params => [ '-U', 'regress_definer' ]), 'f', "$name: who was let define may");

	foreach my $refused (
		[ 'ID204', q{UPDATE refund SET status = 'PAID' WHERE id = 12} ],
		[ 'ID201', q{UPDATE refund SET status = 'ASKED' WHERE id = 11} ],
		[ 'ID201', q{UPDATE orders SET status = 'CANCELLED' WHERE id = 2} ],
		[ 'ID201', q{INSERT INTO orders VALUES (4, 'CANCELLED')} ],
		[ '42501', q{SELECT keys.idem_machine_drop('refund')} ])
	{
		my ($state, $sql) = @$refused;
		my ($rc, $out, $err) = $node->psql($database, "\\set VERBOSITY sqlstate\n$sql", @as_owner);
		like($err, qr/ERROR:\s+$state/, "$name: refused with $state: $sql");
	}
}

# With the data.
my $file = $node->basedir . '/shop.dump';
$node->command_ok(
	[ 'pg_dump', '-U', 'regress_owner', '-Fc', '-f', $file, $node->connstr('shop') ],
	'the owner of the database can dump it');

$node->safe_psql('postgres', 'CREATE DATABASE by_superuser; CREATE DATABASE by_owner OWNER regress_owner');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('by_superuser'), $file ],
	'a superuser can restore it');
$node->command_ok(
	[ 'pg_restore', '--exit-on-error', '-U', 'regress_owner', '-d', $node->connstr('by_owner'), $file ],
	'so can the owner, into a database of its own');
# The tables of machines may be filled in any order, or at once.  By sections:
# pg_restore knows of no reason to fill partitions before it makes the triggers
# of the table that they are part of.
$node->safe_psql('postgres', 'CREATE DATABASE by_jobs OWNER regress_owner');
foreach my $section ('pre-data', 'data', 'post-data')
{
	$node->command_ok(
		[
			'pg_restore', '--exit-on-error', '--jobs=4', "--section=$section",
			'-U', 'regress_owner', '-d', $node->connstr('by_jobs'), $file
		],
		"so can the owner, in several jobs: $section");
}
is($node->safe_psql('by_jobs', $machines), $machines_before, 'by_jobs: machines are as they were');
works('by_jobs', 'by_jobs');
foreach my $database ('by_superuser', 'by_owner', 'by_jobs')
{
	is($node->safe_psql($database, $rows), $rows_before, "$database: rows are in the states they were in");
}
is($node->safe_psql('by_owner', $machines), $machines_before, 'by_owner: machines are as they were');
works('by_owner', 'by_owner');
works('by_superuser', 'by_superuser');

# Without the data: tables and their triggers come back, and with them the
# machines as they come with idem.  The others are data; they can be dumped by
# themselves.
my $schema = $node->basedir . '/schema.sql';
my $data = $node->basedir . '/data.sql';
$node->command_ok(
	[ 'pg_dump', '-U', 'regress_owner', '--schema-only', '-f', $schema, $node->connstr('shop') ],
	'the definitions can be dumped');
$node->command_ok(
	[ 'pg_dump', '-U', 'regress_owner', '--data-only', '-t', 'keys.idem_machine*', '-f', $data, $node->connstr('shop') ],
	'so can the machines');
$node->safe_psql('postgres', 'CREATE DATABASE empty OWNER regress_owner');
$node->command_ok(
	[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-U', 'regress_owner', '-d', $node->connstr('empty'), '-f', $schema ],
	'the definitions can be restored');
is($node->safe_psql('empty', q{SELECT count(*) FROM keys.idem_machine}), '0',
	'only the machine that comes with idem is there');
my ($rc, $out, $err) = $node->psql('empty', q{
	INSERT INTO refund (id) VALUES (1)}, @as_owner);
like($err, qr/state machine "refund" does not exist/, 'a table is not let go its own way without its machine');
$node->command_ok(
	[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-U', 'regress_owner', '-d', $node->connstr('empty'), '-f', $data ],
	'the machines can be restored');
is($node->safe_psql('empty', $machines), $machines_before, 'and are as they were');
$node->safe_psql('empty', q{
	INSERT INTO refund (id, amount) VALUES (1, 50), (2, 500), (11, 50), (12, 500);
	INSERT INTO orders VALUES (1), (2), (3);
	UPDATE refund SET status = 'DENIED' WHERE id = 2;
	UPDATE refund SET status = 'PAID' WHERE id = 11;
	UPDATE orders SET status = 'PROCESSING' WHERE id = 2;
}, @as_owner);
works('empty', 'empty');

# The data alone, into such a database: rows come in later states, so triggers
# have to be kept quiet, in one way or the other.
foreach my $way ('--disable-triggers', '-c session_replication_role=replica')
{
	my $disable = $way eq '--disable-triggers';
	my $database = $disable ? 'disabled' : 'replica';

	$node->safe_psql('postgres', "CREATE DATABASE $database OWNER regress_owner");
	$node->command_ok(
		[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-U', 'regress_owner', '-d', $node->connstr($database), '-f', $schema ],
		"$way: definitions first");
	{
		local $ENV{PGOPTIONS} = $disable ? '' : $way;
		$node->command_ok(
			[ 'pg_restore', '--exit-on-error', '--data-only', ($disable ? $way : ()),
				'-d', $node->connstr($database), $file ],
			"$way: then the data");
	}
	is($node->safe_psql($database, $rows), $rows_before, "$way: rows are in the states they were in");
	is($node->safe_psql($database, $machines), $machines_before, "$way: machines are as they were");
	works($database, $way);
}

# Machines that were not changed are not in a dump.
$node->safe_psql('plain', q{CREATE EXTENSION idem}, @as_owner);
my $plain = $node->basedir . '/plain.sql';
$node->command_ok([ 'pg_dump', '-f', $plain, $node->connstr('plain') ], 'a database with nothing of its own');
unlike(slurp_file($plain), qr/PENDING/, 'has the order machine in no dump');

$node->stop;
done_testing();

# Transitions under load: however many clients call, retry and write to the
# same rows, each row's version counts exactly what was applied to it, and so
# does its history.  And machines, and tables that follow them, survive dump and
# restore.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', 'fsync = off');
$node->start;

$node->safe_psql(
	'postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE orders (
		id int PRIMARY KEY,
		status order_status NOT NULL DEFAULT 'PENDING',
		version bigint NOT NULL DEFAULT 1,
		item int NOT NULL DEFAULT 0
	);
	SELECT idem_attach('orders', 'order', history => true);
	INSERT INTO orders SELECT generate_series(1, 120);
	-- what was answered to whom
	CREATE TABLE answers (
		id int, state order_status, key text,
		outcome idem_outcome, replayed boolean, version bigint
	);
});

# Clients bring random rows into random states, under one key per row and
# state, so that most calls are retries; and they write to another column.
# What the machine refuses fails its transaction and stays unanswered.
my $script = $node->basedir . '/transitions.sql';
append_to_file(
	$script, q{
\set id random(:first, :first + 39)
\set state random(1, 3)
\set kind random(1, 4)
\if :kind = 4
UPDATE orders SET item = item + 1 WHERE id = :id;
\elif :kind = 3
DO $$ BEGIN
	INSERT INTO answers
	SELECT :id, s, NULL, outcome, replayed, version
	FROM (VALUES ((enum_range(NULL::order_status))[:state + 1])) AS v (s),
		order_transition('orders', :id, s);
EXCEPTION WHEN SQLSTATE 'ID201' THEN NULL;
END $$;
\else
DO $$ BEGIN
	INSERT INTO answers
	SELECT :id, s, s || '-' || :id, outcome, replayed, version
	FROM (VALUES ((enum_range(NULL::order_status))[:state + 1])) AS v (s),
		order_transition('orders', :id, s, key => s || '-' || :id);
EXCEPTION WHEN SQLSTATE 'ID201' THEN NULL;
END $$;
\endif
});

sub run_clients
{
	my ($isolation, $first) = @_;
	local $ENV{PGOPTIONS} = "-c default_transaction_isolation=$isolation";
	$node->command_ok(
		[
			'pgbench', '--no-vacuum', '--client=8', '--transactions=400',
			'--max-tries=1000', "--define=first=$first", "--file=$script",
			'postgres'
		],
		"clients at $isolation");
}

run_clients('read\ committed', 1);
run_clients('repeatable\ read', 41);
run_clients('serializable', 81);

is( $node->safe_psql(
		'postgres', q{
		SELECT count(*) FROM orders
		WHERE version <> 1 + item + (
			SELECT count(*) FROM answers a
			WHERE a.id = orders.id AND outcome = 'applied' AND NOT replayed)}),
	'0',
	'versions count what was applied');
is( $node->safe_psql(
		'postgres', q{
		SELECT count(*) FROM orders
		WHERE array_position(enum_range(NULL::order_status), status) <> 1 + (
			SELECT count(*) FROM answers a
			WHERE a.id = orders.id AND outcome = 'applied' AND NOT replayed)}),
	'0',
	'each state was entered once');
is( $node->safe_psql(
		'postgres', q{
		SELECT count(*) FROM (
			SELECT id::text, state::text, version, key FROM answers
			WHERE outcome = 'applied' AND NOT replayed) AS a
		FULL JOIN (
			SELECT row_key->>'id' AS id, to_state, version, key FROM idem_history
			WHERE from_state IS NOT NULL) AS h
		ON (h.id, h.to_state, h.version) = (a.id, a.state, a.version)
			AND h.key IS NOT DISTINCT FROM a.key
		WHERE a.id IS NULL OR h.id IS NULL}),
	'0',
	'history has each transition that was applied, and no other');
is( $node->safe_psql(
		'postgres', q{
		SELECT count(*) FROM (
			SELECT *, lag(to_state, 1, 'PENDING') OVER w AS left_state,
				lag(version, 1, 1::bigint) OVER w AS left_version,
				lag(changed_at, 1, '-infinity') OVER w AS left_at
			FROM idem_history WINDOW w AS (PARTITION BY row_key ORDER BY id)) AS h
		WHERE from_state IS NOT NULL AND (from_state <> left_state
			OR version <= left_version OR changed_at <= left_at)}),
	'0',
	'in the order in which they were made');
is( $node->safe_psql(
		'postgres', q{
		SELECT count(*) FROM (
			SELECT FROM answers WHERE key IS NOT NULL GROUP BY key
			HAVING count(DISTINCT (outcome, version)) <> 1
				OR count(*) FILTER (WHERE NOT replayed) <> 1) AS wrong}),
	'0',
	'all answers to a key are the same, and all but one are replays');
cmp_ok(
	$node->safe_psql('postgres', 'SELECT count(*) FROM answers WHERE replayed'),
	'>', 100, 'there were retries');

# Dump and restore: the machine that comes with idem is not dumped, others are;
# tables follow their machines again, and rows in later states are taken in.
$node->safe_psql(
	'postgres', q{
	INSERT INTO idem_machine VALUES ('lamp', 'off');
	INSERT INTO idem_machine_edge VALUES ('lamp', 'off', 'on'), ('lamp', 'on', 'off');
	CREATE TABLE lamps (
		id int PRIMARY KEY,
		status text NOT NULL DEFAULT 'off',
		version int NOT NULL DEFAULT 1
	);
	SELECT idem_attach('lamps', 'lamp');
	INSERT INTO lamps VALUES (1);
	UPDATE lamps SET status = 'on';
	CREATE DATABASE restored;
});
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', "--file=$dump", 'postgres' ], 'dump');
$node->command_ok(
	[
		'psql', '--no-psqlrc', '--quiet', '--set=ON_ERROR_STOP=1',
		"--file=$dump", 'restored'
	],
	'restore');
for my $what (
	'SELECT * FROM orders ORDER BY id',
	'SELECT * FROM lamps',
	'SELECT * FROM idem_machine ORDER BY 1',
	'SELECT * FROM idem_machine_edge ORDER BY 1, 2, 3',
	'SELECT * FROM idem_history ORDER BY id',
	'SELECT * FROM idem_key ORDER BY 1, 2')
{
	is($node->safe_psql('restored', $what),
		$node->safe_psql('postgres', $what), "restored: $what");
}
is( $node->safe_psql(
		'restored', q{
		UPDATE lamps SET status = 'off' RETURNING status, version}),
	'off|3',
	'restored tables follow their machines');
$node->safe_psql('restored', q{
	INSERT INTO orders VALUES (1000);
	UPDATE orders SET status = 'PROCESSING' WHERE id = 1000});
is( $node->safe_psql(
		'restored', q{
		SELECT max(id) = (SELECT max(id) FROM idem_history) AS last, count(*)
		FROM idem_history WHERE row_key->>'id' = '1000'}),
	't|2',
	'restored history goes on where it was');
my ($rc, $out, $err) =
  $node->psql('restored', q{UPDATE lamps SET status = 'broken'});
like($err, qr/from "off" to "broken" is not allowed/,
	'restored machines refuse');

$node->stop;
done_testing();

# What newer versions of PostgreSQL have: virtual columns, keys WITHOUT OVERLAPS,
# checks that are not enforced, and more to return.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('newer');
plan skip_all => 'this is PostgreSQL 16 or older' if $node->pg_version < 17;
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION idem');

sub query
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

sub fails
{
	my ($sql, $error, $name) = @_;
	my (undef, undef, $stderr) = $node->psql('postgres', $sql);
	like($stderr, $error, $name);
	return;
}

# A command gets what it returns, the first time and again.
query('CREATE TABLE word (id int PRIMARY KEY, w text)');
my $merge = q{SELECT replayed, result FROM idem_execute('merge',
	$$MERGE INTO word USING (VALUES (1, 'a')) AS s (id, w) ON word.id = s.id
	WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.w)
	WHEN MATCHED THEN UPDATE SET w = s.w RETURNING merge_action(), word.w$$)};
is(query($merge), 'f|[{"w": "a", "merge_action": "INSERT"}]', 'MERGE returns what it does');
is(query($merge), 't|[{"w": "a", "merge_action": "INSERT"}]', 'and is replayed');

SKIP:
{
	skip 'this is PostgreSQL 17', 15 if $node->pg_version < 18;

	is( query(q{SELECT result FROM idem_execute('old',
			$$UPDATE word SET w = w || '!' RETURNING old.w AS was, new.w$$)}),
		'[{"w": "a!", "was": "a"}]', 'so are old and new rows');

	# Virtual columns are answered as others are, but nobody can write to them.
	query(q{
		CREATE TABLE box (id int PRIMARY KEY, n int,
			double int GENERATED ALWAYS AS (n * 2) VIRTUAL, CHECK (double < 100))});
	my $box = sub { return qq{SELECT outcome, replayed, result FROM idem_upsert('$_[0]', 'box', '{"id": 1, "n": $_[1]}')} };
	my $first = '{"n": 3, "id": 1, "double": 6}';
	is(query($box->('a', 3)), "inserted|f|$first", 'a virtual column is answered');
	is(query($box->('a', 3)), "inserted|t|$first", 'and again');
	is(query($box->('b', 3)), "unchanged|f|$first", 'and is no difference');
	is(query($box->('c', 4)), 'updated|f|{"n": 4, "id": 1, "double": 8}', 'it follows the others');
	fails($box->('d', 50), qr/violates check constraint "box_double_check"/, 'a check may be on it');
	fails(q{SELECT idem_upsert('e', 'box', '{"id": 1, "double": 4}')},
		qr/Column "double" is a generated column/, 'it cannot be written');

	# In what follows a state machine, too.
	query(q{
		CREATE TABLE light (id int PRIMARY KEY, status text NOT NULL DEFAULT 'red',
			version bigint NOT NULL DEFAULT 1,
			shown text GENERATED ALWAYS AS (upper(status)) VIRTUAL);
		CREATE FUNCTION sees_none(light, jsonb) RETURNS boolean LANGUAGE sql
			AS 'SELECT $1.shown IS NULL AND $1.status IS NOT NULL';
		SELECT idem_machine_define('light', 'red', '{"red": [{"to": "green", "guard": "sees_none"}]}');
		SELECT idem_attach('light', 'light', history => true);
		INSERT INTO light VALUES (1), (2)});
	is( query(q{SELECT outcome, to_state, version FROM idem_transition('light', 1, 'green')}),
		'applied|green|2', 'a guard sees no virtual column');
	is( query(q{SELECT outcome, to_state, version FROM idem_transition_batch('light', '{2}', 'green')}),
		'applied|green|2', 'in a batch neither');
	is(query('SELECT shown FROM light WHERE id = 1'), 'GREEN', 'which the row has');
	is( query(q{SELECT from_state, to_state FROM idem_history('light', 1)}),
		"|red\nred|green", 'it has a history');

	# A key WITHOUT OVERLAPS does not tell rows apart by what is equal.
	query(q{
		CREATE TABLE stay (rooms int4range, days daterange, status text NOT NULL DEFAULT 'red',
			version bigint NOT NULL DEFAULT 1, PRIMARY KEY (rooms, days WITHOUT OVERLAPS))});
	fails(q{SELECT idem_upsert('f', 'stay', '{"rooms": "[1,2)", "days": "[2026-01-01,2026-01-05)"}')},
		qr/has no primary key to upsert by/, 'no row is found by a key WITHOUT OVERLAPS');
	fails(q{SELECT idem_attach('stay', 'light')},
		qr/has no primary key to find a row by/, 'nor moved by one');

	# What the server does not enforce, idem does not.
	query('ALTER TABLE idem_key ADD CONSTRAINT short CHECK (length(key) < 5) NOT ENFORCED');
	is( query(q{SELECT outcome FROM idem_upsert('longer than that', 'box', '{"id": 2, "n": 1}')}),
		'inserted', 'a check that is not enforced is not');
	query('ALTER TABLE idem_key ADD note text GENERATED ALWAYS AS (upper(key)) VIRTUAL');
	is( query(q{
			SELECT outcome FROM idem_upsert('noted', 'box', '{"id": 3, "n": 1}');
			SELECT note FROM idem_key WHERE key = 'noted'}),
		"inserted\nNOTED", 'a table of idem may have a virtual column');
}

$node->stop;
done_testing();

# Which upserts insert a row without running a statement, that none does where
# somebody audits statements, and that the keys of a set enter their table together.  What is run shows in the log of auto_explain.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('direct');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'auto_explain'
auto_explain.log_min_duration = 0
auto_explain.log_nested_statements = on
log_statement = none
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION idem;
CREATE TABLE customer (name text PRIMARY KEY);
INSERT INTO customer VALUES ('VINET');
CREATE TABLE plain (id int PRIMARY KEY, body text);
CREATE TABLE constrained (id int PRIMARY KEY CHECK (id > 0), body text REFERENCES customer UNIQUE DEFERRABLE);
CREATE TABLE defaults (id int PRIMARY KEY, body text, at timestamptz DEFAULT now());
CREATE TABLE audited (id int PRIMARY KEY, body text);
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER look AFTER INSERT ON audited FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TABLE listed (id int PRIMARY KEY, body text[]);
CREATE TABLE made (id int PRIMARY KEY, body text, twice int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE together (id int PRIMARY KEY, body text);
CREATE TABLE watched (id int PRIMARY KEY, body text);
CREATE TRIGGER look AFTER INSERT ON watched FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE EXTENSION IF NOT EXISTS pg_walinspect;
CREATE FUNCTION mine() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1 + count(*)::int FROM plain';
CREATE TABLE computed (id int PRIMARY KEY, body text, n int DEFAULT mine());
SQL

# How many INSERTs into a table are executed for so many upserts of new rows.
my $made = 0;
sub executed
{
	my ($table, $body, $rows) = @_;
	my $from = -s $node->logfile;

	$made += $rows;
	$node->safe_psql('postgres', join ';', map {
		"SELECT outcome FROM idem_upsert('direct-$_', '$table', '{\"id\": $_, \"body\": $body}')"
	} $made - $rows + 1 .. $made);
	my $log = substr(slurp_file($node->logfile), $from);
	return scalar(() = $log =~ /Query Text: INSERT INTO public\.$table /g);
}

# The same by one set.
sub executed_set
{
	my ($table, $rows) = @_;
	my $from = -s $node->logfile;

	is($node->safe_psql('postgres', "SELECT count(*) FROM (SELECT array_agg('direct-$table-' || n) AS keys,
		array_agg(jsonb_build_object('id', n, 'body', 'b')) AS data FROM generate_series(1, $rows) AS n) AS g,
		idem_upsert_batch(keys, '$table', data)"), $rows, "$table: a set has as many answers");
	my $log = substr(slurp_file($node->logfile), $from);
	return scalar(() = $log =~ /Query Text: INSERT INTO public\.$table /g);
}

# the first rows tell that they keep being new
is(executed('plain', '"b"', 12), 4, 'a plain table: the first four are executed');
is(executed('defaults', '"b"', 12), 4, 'one with defaults: likewise');
is(executed('constrained', 'null', 12), 4, 'one with constraints: likewise');
is(executed('audited', '"b"', 12), 12, 'one with a trigger: all are executed');
is(executed('listed', '["b"]', 12), 12, 'an array takes a subquery: all are executed');
is(executed('made', '"b"', 12), 12, 'a generated column: all are executed');
is(executed('computed', '"b"', 12), 12, 'a default by a function of a user: all are executed');
is(executed_set('together', 50), 4, 'a set: the first four are executed');
is(executed_set('watched', 50), 50, 'a set, and a table with a trigger: all are executed');
foreach my $table (qw(plain defaults constrained audited listed made computed))
{
	is($node->safe_psql('postgres', "SELECT count(*) FROM $table"), 12, "$table: all rows are there");
}

# one record a page, in place of one a row
is($node->safe_psql('postgres', <<'SQL'), 't', 'the rows of many keys are logged together');
CREATE TEMP TABLE place AS SELECT pg_current_wal_insert_lsn() AS lsn;
SELECT count(*) FROM (SELECT array_agg('direct-more-' || n) AS keys,
	array_agg(jsonb_build_object('id', n, 'body', 'b')) AS data FROM generate_series(1001, 1100) AS n) AS g,
	idem_upsert_batch(keys, 'together', data) \gset
SELECT count(*) FILTER (WHERE record_type LIKE 'MULTI_INSERT%') BETWEEN 3 AND 12
	AND count(*) FILTER (WHERE record_type LIKE 'INSERT%') < 20
FROM place, pg_get_wal_records_info(lsn, pg_current_wal_flush_lsn()) WHERE resource_manager IN ('Heap', 'Heap2')
	AND block_ref LIKE '%/' || pg_relation_filenode('idem_key') || ' %';
SQL
$node->stop;

SKIP:
{
	my $directory = $node->config_data('--pkglibdir');

	skip 'pgaudit is not installed', 1 if !-e "$directory/pgaudit.so";
	$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'auto_explain, pgaudit'
pgaudit.log = 'write'
CONF
	$node->start;
	is(executed('plain', '"b"', 12), 12, 'with pgaudit: all are executed');
	my $audited = () = slurp_file($node->logfile) =~ /AUDIT: [^\n]*INSERT INTO public\.plain /g;
	cmp_ok($audited, '>=', 12, 'and audited');
	$node->safe_psql('postgres', 'CREATE TABLE audited_set (id int PRIMARY KEY, body text)');
	is(executed_set('audited_set', 50), 50, 'with pgaudit: so are all of a set');
	$node->stop;
}

done_testing();

# At SERIALIZABLE, transactions that consume distinct messages, or read distinct
# partitions, do not fail because of that, though time-ordered ids all meet in
# the last page of the index.  A look-up by a plain SELECT, which locks that page
# for conflict detection, makes them fail.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $clients = 8;
my $transactions = 200;		# of each client
my $all = $clients * $transactions;

my $node = PostgreSQL::Test::Cluster->new('consume_serializable');
$node->init;
$node->append_conf('postgresql.conf', q{
default_transaction_isolation = 'serializable'
max_connections = 20
});
$node->start;

$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE SEQUENCE number;
	CREATE TABLE plain_message (id text COLLATE "C" PRIMARY KEY);
	CREATE TABLE plain_offset ("partition" int PRIMARY KEY, next_offset bigint);
	SELECT idem_consumer_define('single', '1 day');
	-- partitions are there once their first message has come
	SELECT idem_advance('reader', 'log', p, 0, 0) FROM generate_series(0, 7) AS p;
	INSERT INTO plain_offset SELECT generate_series(0, 7), 1;
	-- let the planner know that these tables are small, and rather read them whole
	VACUUM ANALYZE plain_offset, idem_offset, idem_consumer;
});

# Runs a script in all clients, and tells how many of its runs failed.
sub failures
{
	my ($name, $script) = @_;
	my $file = $node->basedir . "/$name.sql";
	my ($out, $err);

	append_to_file($file, $script);
	IPC::Run::run(
		[ 'pgbench', '-n', '-c', $clients, '-j', 2, '-t', $transactions,
		  '-M', 'prepared', '-f', $file, $node->connstr('postgres') ],
		'>', \$out, '2>', \$err) or die "pgbench: $err";
	$out =~ /^number of failed transactions: (\d+)/m or die "pgbench: $out";
	return $1;
}

sub count_of
{
	my ($consumer) = @_;

	return $node->safe_psql('postgres',
		"SELECT count(*) FROM idem_message WHERE consumer = '$consumer'");
}

my $id = q{to_char(clock_timestamp(), 'YYYYMMDDHH24MISSUS') || '-' || :client_id::text};

# New, known, expired and late.
is(failures('single', qq{
BEGIN;
SELECT $id AS id \\gset
SELECT idem_consume('single', :id::text);
SELECT idem_consume('single', :id::text);
SELECT idem_consume('expired', :id::text, '1 microsecond');
SELECT idem_consume('expired', :id::text);
SELECT idem_consume('single', :id::text, sent_at => '2001-01-01'::timestamptz);
COMMIT;
}), 0, 'no transaction fails because of its message');
is(count_of('single'), $all, 'each has consumed one');
is(count_of('expired'), $all, 'and renewed one');

is(failures('batch', qq{
BEGIN;
SELECT $id AS id \\gset
SELECT count(*) FROM idem_consume_batch('batch', ARRAY[:id || '-a', :id || '-b', :id || '-c']);
SELECT count(*) FROM idem_consume_batch('batch', ARRAY[:id || '-d', :id || '-c', :id || '-b']);
COMMIT;
}), 0, 'nor because of its batches');
is(count_of('batch'), 4 * $all, 'each has consumed four');

is(failures('offset', q{
BEGIN;
SELECT idem_offset('reader', 'log', :client_id) AS next \gset
SELECT idem_advance('reader', 'log', :client_id, :next, :next + 9) AS first \gset
SELECT idem_advance('reader', 'log', :client_id, :next, :next + 9) IS NULL AS again;
COMMIT;
}), 0, 'nor because of its offsets');
is($node->safe_psql('postgres', 'SELECT count(*), sum(next_offset) FROM idem_offset'),
	$clients . '|' . ($clients + 10 * $all), 'each has read its partition');

# Partitions and consumers that nobody has heard of.
is(failures('first', q{
BEGIN;
SELECT nextval('number') AS n \gset
SELECT idem_offset('reader', 'log ' || :n, 0) IS NULL AS first;
SELECT idem_advance('reader', 'log ' || :n, 0, 0, 9);
SELECT idem_seen('consumer ' || :n, 'm') AS seen;
SELECT idem_consume('consumer ' || :n, 'm');
SELECT idem_seen('consumer ' || :n, 'm') AS seen;
SELECT idem_consumer_define('consumer ' || :n, '1 day');
COMMIT;
}), 0, 'nor because of what is new');
is($node->safe_psql('postgres', q{
	SELECT (SELECT count(*) FROM idem_offset WHERE topic LIKE 'log %'),
		(SELECT count(*) FROM idem_message WHERE consumer LIKE 'consumer %'),
		(SELECT count(*) FROM idem_consumer WHERE consumer LIKE 'consumer %')}),
	"$all|$all|$all", 'each has begun one of each');

cmp_ok(failures('plain_message', qq{
BEGIN;
SELECT $id AS id \\gset
SELECT * FROM plain_message WHERE id = :id;
INSERT INTO plain_message VALUES (:id);
COMMIT;
}), '>', 0, 'with a look-up by SELECT they do');
cmp_ok(failures('plain_offset', q{
BEGIN;
SELECT next_offset AS next FROM plain_offset WHERE partition = :client_id \gset
UPDATE plain_offset SET next_offset = :next + 10 WHERE partition = :client_id;
COMMIT;
}), '>', 0, 'also of offsets');

$node->stop;
done_testing();

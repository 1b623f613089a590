# Messages are consumed, renewed and advanced over by several clients, while the
# rows of all that is remembered are moved, and their indexes replaced: every message
# and every offset has its effect once, and no call fails.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $clients = 6;
my $transactions = 1500;		# of each client
my $messages = 6000;
my $moves_at_least = 8;

my $node = PostgreSQL::Test::Cluster->new('consume_moved');
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;

# Half of the messages have been consumed, so long ago that they count as new.
$node->safe_psql('postgres', qq{
	CREATE EXTENSION idem;
	CREATE TABLE effect (consumer text, message text);
	CREATE TABLE applied ("offset" bigint);
	SELECT count(*) FROM idem_consume_batch('single', ARRAY(SELECT i::text FROM generate_series(1, $messages, 2) AS i), '1 microsecond');
	SELECT count(*) FROM idem_consume_batch('batch', ARRAY(SELECT i::text FROM generate_series(1, $messages, 2) AS i), '1 microsecond');
});

# Each client meets messages that others are at, or have consumed.
my $script = $node->basedir . '/consume.sql';
append_to_file($script, qq{
\\set n random(1, $messages)
\\set size random(1, 20)
BEGIN;
WITH new AS MATERIALIZED (SELECT idem_consume('single', :n::text) AS yes)
INSERT INTO effect SELECT 'single', :n::text FROM new WHERE yes;
COMMIT;
INSERT INTO effect
SELECT 'batch', id FROM idem_consume_batch('batch', ARRAY(SELECT (1 + (:n + 7 * i) % $messages)::text FROM generate_series(1, :size) AS i)) AS id;
BEGIN;
SELECT coalesce(idem_offset('reader', 'log', 0), 0) AS next \\gset
INSERT INTO applied
SELECT o FROM generate_series(idem_advance('reader', 'log', 0, greatest(:next - 5, 0), :next + 3), :next + 3) AS o;
COMMIT;
});

my ($out, $err) = ('', '');
my $bench = IPC::Run::start(
	[ 'pgbench', '-n', '-c', $clients, '-j', 2, '-t', $transactions,
	  '--max-tries=100', '-f', $script, $node->connstr('postgres') ],
	'>', \$out, '2>', \$err, IPC::Run::timeout(300));
my @moves = (
	'VACUUM FULL %s', 'REINDEX TABLE CONCURRENTLY %s',
	'CLUSTER %s USING %1$s_pkey', 'VACUUM %s');
my $moved = 0;
while ($bench->pumpable)
{
	foreach my $table (qw(idem_message idem_offset idem_consumer))
	{
		$node->safe_psql('postgres', sprintf($moves[$moved % @moves], $table));
	}
	$moved++;
	$bench->pump_nb;
}
ok($bench->finish, 'all transactions were done') or diag($err);
like($out, qr/^number of failed transactions: 0 /m, 'none failed') or diag($out);
cmp_ok($moved, '>=', $moves_at_least, "while the tables were moved $moved times");

# What is left, in peace.
$node->safe_psql('postgres', qq{
	INSERT INTO effect SELECT 'single', i::text FROM generate_series(1, $messages) AS i
	WHERE idem_consume('single', i::text);
	INSERT INTO effect SELECT 'batch', id
	FROM idem_consume_batch('batch', ARRAY(SELECT i::text FROM generate_series(1, $messages) AS i)) AS id;
});
foreach my $consumer (qw(single batch))
{
	is( $node->safe_psql('postgres', qq{
			SELECT count(*), count(DISTINCT message) FROM effect WHERE consumer = '$consumer'}),
		"$messages|$messages", "$consumer: every message had its effect once");
	is( $node->safe_psql('postgres', qq{
			SELECT count(*), count(DISTINCT message_id), bool_and(expires_at > now()) FROM idem_message
			WHERE consumer = '$consumer'}),
		"$messages|$messages|t", 'and is remembered once');
}
is( $node->safe_psql('postgres', q{
		SELECT count(*) = max("offset") + 1, count(DISTINCT "offset") = count(*),
			max("offset") + 1 = (SELECT next_offset FROM idem_offset)
		FROM applied}),
	't|t|t', 'every offset had its effect once');

# All clients at the same new messages at the same time, while an index is built
# anew: one has each of them, and the others are told so.
my $shared = $node->basedir . '/shared.sql';
append_to_file($shared, qq{
INSERT INTO effect SELECT 'shared', id
FROM idem_consume_batch('shared', ARRAY(SELECT (nextval('next') / $clients)::text FROM generate_series(1, 5))) AS id;
SELECT nextval('next') / $clients AS n \\gset
BEGIN;
WITH new AS MATERIALIZED (SELECT idem_consume('shared', :n::text) AS yes)
INSERT INTO effect SELECT 'shared', :n::text FROM new WHERE yes;
COMMIT;
});
$node->safe_psql('postgres', 'CREATE SEQUENCE next');
$bench = IPC::Run::start(
	[ 'pgbench', '-n', '-c', $clients, '-j', 2, '-t', $transactions,
	  '-f', $shared, $node->connstr('postgres') ],
	'>', \$out, '2>', \$err, IPC::Run::timeout(300));
my $built = 0;
while ($bench->pumpable)
{
	$node->safe_psql('postgres', 'REINDEX TABLE CONCURRENTLY idem_message');
	$built++;
	$bench->pump_nb;
}
ok($bench->finish, 'all were done') or diag($err);
cmp_ok($built, '>', 1, "while the indexes were built $built times");
is( $node->safe_psql('postgres', q{
		SELECT count(*) - count(DISTINCT message),
			max(message::int) + 1 - count(*)
		FROM effect WHERE consumer = 'shared'}),
	'0|0', 'every message had its effect once');
unlike(slurp_file($node->logfile), qr/ERROR:/, 'there was no error');

$node->stop;
done_testing();

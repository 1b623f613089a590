# At SERIALIZABLE, transactions that claim, complete and release distinct keys
# do not fail because of them, though time-ordered keys all meet in the last
# page of the index.  An UPDATE that finds its row by the index, which locks
# that page for conflict detection, makes them fail.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $clients = 8;
my $transactions = 150;		# of each client

my $node = PostgreSQL::Test::Cluster->new('claim_serializable');
$node->init;
$node->append_conf('postgresql.conf', q{
default_transaction_isolation = 'serializable'
max_connections = 20
autovacuum = off
});
$node->start;

$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE plain_claim (key text COLLATE "C" PRIMARY KEY, outcome text NOT NULL);
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

# How many keys are in which state.
sub keys_by_outcome
{
	return $node->safe_psql('postgres',
		'SELECT outcome, fence, count(*) FROM idem_key GROUP BY 1, 2 ORDER BY 1, 2');
}

# While the planner knows the table to be small, it would rather read it whole.
$node->safe_psql('postgres', q{
	SELECT idem_claim('first', lease => '1 hour');
	VACUUM ANALYZE idem_key;
	DELETE FROM idem_key;
});

my $key = q{to_char(clock_timestamp(), 'YYYYMMDDHH24MISSUS') || '-' || :client_id::text};
my $all = $clients * $transactions;

is(failures('leased', qq{
SELECT $key AS key \\gset
SELECT fence FROM idem_claim(:key, lease => '1 hour') \\gset
BEGIN;
SELECT idem_extend(:key, :fence, '1 hour');
SELECT idem_checkpoint(:key, :fence, 'half');
COMMIT;
SELECT outcome FROM idem_lookup(:key);
SELECT outcome FROM idem_wait(:key, '1 ms');
SELECT name FROM idem_checkpoints(:key);
SELECT idem_complete(:key, '"done"', :fence);
SELECT $key || '-b' AS key \\gset
SELECT outcome FROM idem_lookup(:key);
SELECT fence FROM idem_claim(:key, lease => '1 hour') \\gset
SELECT idem_release(:key, :fence);
SELECT fence FROM idem_claim(:key, lease => '1 hour') \\gset
}), 0, 'no transaction fails because of a claim under a lease');
is(keys_by_outcome(), "in_progress|2|$all\ncompleted|1|$all", 'and each has done its work');

$node->safe_psql('postgres', 'DELETE FROM idem_key');
is(failures('unleased', qq{
BEGIN;
SELECT $key AS key \\gset
SELECT outcome FROM idem_claim(:key);
SELECT idem_complete(:key, '"done"');
SELECT $key || '-b' AS key \\gset
SELECT outcome FROM idem_claim(:key);
SELECT idem_release(:key);
COMMIT;
}), 0, 'nor because of one that belongs to it');
is(keys_by_outcome(), "completed|1|$all", 'and each has done its work');

$node->safe_psql('postgres', 'DELETE FROM idem_key');
is(failures('forgotten', qq{
SELECT $key AS key \\gset
BEGIN;
SELECT outcome FROM idem_execute(:key, 'SELECT 1', scope => 'of ' || :client_id::text);
SELECT outcome FROM idem_execute(:key || '-b', 'SELECT 1', scope => 'of ' || :client_id::text);
COMMIT;
BEGIN;
SELECT idem_forget(:key, 'of ' || :client_id::text);
SELECT outcome FROM idem_execute(:key || '-c', 'SELECT 1');
SELECT forgotten FROM idem_forget_scope('of ' || :client_id::text);
COMMIT;
}), 0, 'nor because of one that forgets keys, or those of a scope');
is(keys_by_outcome(), "executed|1|$all", 'and what it has not forgotten is there');

cmp_ok(failures('plain', qq{
BEGIN;
SET LOCAL enable_seqscan = off;
SELECT $key AS key \\gset
INSERT INTO plain_claim VALUES (:key, 'in_progress');
UPDATE plain_claim SET outcome = 'completed' WHERE key = :key;
COMMIT;
}), '>', 0, 'with an UPDATE by the key they do');

$node->stop;
done_testing();

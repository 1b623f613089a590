# idem_check() on many rows needs no more memory than on few, and leaves no
# trace: not on the transaction, nor in the server's log.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('check');
$node->init;

# Little shared memory, so that what a backend has touched of it does not hide
# what it has allocated.
$node->append_conf('postgresql.conf', q{
shared_buffers = 16MB
max_wal_size = 4GB
max_prepared_transactions = 1
autovacuum = off
});
$node->start;

$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE few AS SELECT n AS id, 0 AS v, repeat('x', 100) AS filler FROM generate_series(1, 30000) AS n;
	CREATE TABLE many AS SELECT n AS id, 0 AS v, repeat('x', 100) AS filler FROM generate_series(1, 300000) AS n;
	ALTER TABLE few ADD PRIMARY KEY (id);
	ALTER TABLE many ADD PRIMARY KEY (id);
});

# The most memory that the backend has had so far, in kB, where one can tell.
my $peak = -r '/proc/self/status'
  ? q{SELECT substring(pg_read_file('/proc/self/status') FROM 'VmHWM:\s+(\d+) kB');}
  : q{SELECT 0;};

sub check
{
	my ($command) = @_;
	return qq{
		SELECT idempotent, rewritten, jsonb_array_length(differences), differences -> -1 -> 'rows'
		FROM idem_check('$command');
	};
}

my @lines = split /\n/, $node->safe_psql('postgres',
	check('UPDATE few SET v = v + 1') . $peak
	. check('UPDATE many SET v = v + 1') . $peak
	. check('UPDATE many SET v = 1') . $peak
	. 'SELECT sum(v) FROM many');

is($lines[0], 'f|0|101|29900', 'rows of a small table differ');
is($lines[2], 'f|0|101|299900', 'rows of a large table differ');
is($lines[4], 't|300000|0|', 'rows of a large table are written again');
is($lines[6], '0', 'nothing has changed');

SKIP:
{
	skip 'no /proc to tell the use of memory by', 2 if $peak eq 'SELECT 0;';
	note("peak in kB: $lines[1], $lines[3], $lines[5]");
	cmp_ok($lines[3] - $lines[1], '<', 16 * 1024, 'ten times the rows take no more memory');
	cmp_ok($lines[5] - $lines[3], '<', 16 * 1024, 'nor do rows that are the same');
}

# A transaction with a check in it can be prepared like any other.
my $prepared = $node->safe_psql('postgres', q{
	BEGIN;
	UPDATE few SET v = 7 WHERE id = 1;
	SELECT idempotent FROM idem_check('WITH gone AS (DELETE FROM many WHERE id = 5) UPDATE few SET v = v + 1 WHERE id = 2');
	SELECT count(*) FROM pg_locks WHERE relation = 'many'::regclass;
	PREPARE TRANSACTION 'check';
	COMMIT PREPARED 'check';
	SELECT count(*), sum(v) FROM few;
});
is($prepared, "f\n0\n30000|7", 'it is prepared, with its own locks and changes only');

$node->stop;
unlike(slurp_file($node->logfile), qr/WARNING|TRAP|leak/, 'no warning was logged');
done_testing();

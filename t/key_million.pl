# One statement with a million keys: it needs neither a larger lock table nor
# more memory than one with a tenth of them, and a retry replays it all.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('million');
$node->init;

# Little shared memory, so that what a backend has touched of it does not hide
# what it has allocated; nor does LLVM, which optimizes more where more rows are
# expected.
$node->append_conf('postgresql.conf', q{
shared_buffers = 16MB
max_wal_size = 4GB
autovacuum = off
jit = off
});
$node->start;

$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE t (id int PRIMARY KEY, v int);
});

# Keys from $first to $last in one statement, then the same again.
sub statement
{
	my ($first, $last) = @_;
	return qq{
		SELECT count(*) FILTER (WHERE (r).outcome = 'inserted'),
			   count(*) FILTER (WHERE (r).replayed)
		FROM (SELECT idem_upsert('key-' || n, 't', jsonb_build_object('id', n, 'v', n)) AS r
			  FROM generate_series($first, $last) AS n OFFSET 0) AS s;
	};
}

# The most memory that the backend has had so far, in kB, where one can tell.
my $peak = -r '/proc/self/status'
  ? q{SELECT substring(pg_read_file('/proc/self/status') FROM 'VmHWM:\s+(\d+) kB');}
  : q{SELECT 0;};

my @lines = split /\n/, $node->safe_psql('postgres',
	q{SELECT setting = boot_val FROM pg_settings WHERE name = 'max_locks_per_transaction';}
	. statement(1, 100_000) . $peak
	. statement(100_001, 1_100_000) . $peak
	. statement(100_001, 1_100_000) . $peak
	. 'SELECT count(*), sum(v) FROM t; SELECT count(*), sum(fence) FROM idem_key');

is($lines[0], 't', 'the lock table has its default size');
is($lines[1], '100000|0', 'a hundred thousand keys are new');
is($lines[3], '1000000|0', 'a million keys are new');
is($lines[5], '1000000|1000000', 'all of them are replayed');
is($lines[7], '1100000|605000550000', 'each row is there once');
is($lines[8], '1100000|1100000', 'so is each key');

SKIP:
{
	skip 'no /proc to tell the use of memory by', 2 if $peak eq 'SELECT 0;';
	note("peak in kB: $lines[2], $lines[4], $lines[6]");
	cmp_ok($lines[4] - $lines[2], '<', 16 * 1024, 'ten times the keys take no more memory');
	cmp_ok($lines[6] - $lines[4], '<', 16 * 1024, 'nor do their replays');
}

$node->stop;
done_testing();

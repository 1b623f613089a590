# How often idem_wait() looks at a key: seldom, and less often the longer it waits,
# also where the row of a key has expired and a session works under it.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'there is no /proc to count by' if !-r '/proc/self/status';

my $node = PostgreSQL::Test::Cluster->new('wait');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION idem');

# How often a process has gone to sleep.
sub naps
{
	my ($pid) = @_;
	my ($count) = slurp_file("/proc/$pid/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m;

	return $count;
}

sub waits
{
	my ($key, $name) = @_;
	my $worker = $node->background_psql('postgres');
	my $waiter = $node->background_psql('postgres');
	my $holder = $node->background_psql('postgres');
	my $waiting = q{pg_stat_activity WHERE query LIKE '%idem_wait(%' AND pid <> pg_backend_pid() AND state = 'active'};

	$holder->query_safe('SELECT pg_advisory_lock(1)');
	$worker->query_until(qr/begun/, "\\echo begun\nSELECT idem_execute('$key', 'SELECT pg_advisory_xact_lock(1)');\n");
	ok($node->poll_query_until('postgres',
			q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted}),
		"$name: a session works under it");
	$waiter->query_until(qr/begun/, "\\echo begun\nSELECT outcome FROM idem_wait('$key', '30 s');\n");
	ok($node->poll_query_until('postgres',
			"SELECT count(*) = 1 FROM $waiting"),
		"$name: another waits");
	my $pid = $node->safe_psql('postgres', "SELECT pid FROM $waiting");
	my $before = naps($pid);
	$node->safe_psql('postgres', 'SELECT pg_sleep(2)');    # the time that is measured
	# 10 ms, doubled up to a second each
	cmp_ok(naps($pid) - $before, '<', 30, "$name: and looks seldom");
	$holder->query_safe('SELECT pg_advisory_unlock(1)');
	ok($node->poll_query_until('postgres',
			"SELECT count(*) = 0 FROM $waiting"),
		"$name: until the work is done");
	$_->quit foreach $worker, $waiter, $holder;
}

waits('new', 'a new key');
$node->safe_psql('postgres', q{SELECT idem_claim('expired', lease => '1 microsecond', ttl => '1 microsecond')});
waits('expired', 'one whose row has expired');

$node->stop;
done_testing();

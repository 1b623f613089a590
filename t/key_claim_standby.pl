# A standby tells how a claim stands, as far as it has heard, and refuses
# everything that writes; promoted, it goes on where the primary was.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->start;
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

$primary->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE ROLE other;
	SELECT idem_claim('held', lease => '1 hour');
	SELECT idem_checkpoint('held', 1, 'half');
	SELECT idem_claim('ran out', lease => '1 microsecond');
	BEGIN;
	SELECT idem_claim('done');
	SELECT idem_claim('expired', ttl => '1 microsecond');
	COMMIT;
});
$primary->wait_for_catchup($standby);

# How a key stands there.
sub look_up
{
	my ($node, $key) = @_;

	return $node->safe_psql('postgres', qq{
		SELECT outcome, response ->> 'name', fence, lease_until > clock_timestamp()
		FROM idem_lookup('$key')});
}

# The SQLSTATE and the hint that a statement ends with.
sub refusal
{
	my ($node, $sql) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");
	my ($state) = $err =~ /ERROR:\s+(\w{5})/;
	my ($hint) = $err =~ /HINT:\s+(.*)/;

	return join '|', $state // "none: $out$err", $hint // '';
}

is(look_up($standby, 'held'), 'in_progress|half|1|t', 'held, and how far it came');
is($standby->safe_psql('postgres', q{
	SELECT name, data, recorded_at < clock_timestamp() FROM idem_checkpoints('held');
	SELECT outcome, response ->> 'name', fence FROM idem_wait('held', '10 ms');
	SELECT outcome FROM idem_wait('done', '1 minute')}), "half||t\nin_progress|half|1\ncompleted",
	'and may be waited for');
is(look_up($standby, 'ran out'), 'abandoned||1|f', 'a lease that ran out');
is(look_up($standby, 'done'), 'completed||1|', 'done');
is(look_up($standby, 'expired'), '|||', 'expired');
is(look_up($standby, 'unknown'), '|||', 'unknown');
is($standby->safe_psql('postgres', q{
	BEGIN ISOLATION LEVEL REPEATABLE READ;
	SELECT outcome FROM idem_lookup('done');
	COMMIT}), 'completed', 'at REPEATABLE READ too');
like(refusal($standby, "SET ROLE other; SELECT $_"), qr/^42501/, "to its owner only: $_")
	foreach q{idem_lookup('done')}, q{idem_wait('held', '1 minute')}, q{idem_checkpoints('held')};

foreach my $call (
	q{idem_claim('new', lease => '1 hour')},
	q{idem_claim('held', lease => '1 hour', wait => false)},
	q{idem_complete('held', '1', 1)},
	q{idem_fail('held', '1', 1)},
	q{idem_release('held', 1)},
	q{idem_extend('held', 1, '1 hour')},
	q{idem_checkpoint('held', 1, 'more')},
	q{idem_forget('done')})
{
	is(refusal($standby, "SELECT $call"),
		'25006|Call it on the primary. Here idem_lookup() tells how a key stands.',
		"$call is refused there");
}

# A wait there ends with what is replayed.
{
	$primary->safe_psql('postgres', q{SELECT idem_claim('waited for', lease => '1 hour')});
	$primary->wait_for_catchup($standby);
	my $waiting = $standby->background_psql('postgres');
	$waiting->query_until(qr/now/, "\\echo now\nSELECT outcome, response FROM idem_wait('waited for', '1 minute');\n");
	$standby->poll_query_until('postgres', q{
		SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND query LIKE '%waited for%'
			AND pid <> pg_backend_pid()}) or die 'it does not wait';
	$primary->safe_psql('postgres', q{SELECT idem_complete('waited for', '"done"', 1)});
	like($waiting->query_until(qr/\n/, ''), qr/^completed\|"done"$/, 'a wait ends by replication');
	$waiting->quit;
}

# What the primary has in the making, nobody there knows of.
my $psql = $primary->background_psql('postgres', on_error_stop => 1);
$psql->query_safe(q{BEGIN; SELECT idem_complete('held', '{"name": "all"}', 1);
	SELECT idem_claim('new')});
$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');
$primary->wait_for_catchup($standby);
is(look_up($standby, 'held'), 'in_progress|half|1|t', 'completed, but not committed');
is(look_up($standby, 'new'), '|||', 'claimed, but not committed');
is(look_up($primary, 'new'), 'in_progress|||', 'which the primary knows');
$psql->query_safe('COMMIT');
$primary->wait_for_catchup($standby);
is(look_up($standby, 'held'), 'completed|all|1|', 'completed');
is(look_up($standby, 'new'), 'completed||1|', 'claimed');
$psql->quit;

$primary->stop('immediate');
$standby->promote;
is($standby->safe_psql('postgres', q{
	SELECT outcome, fence FROM idem_claim('ran out', lease => '1 hour')}),
	'claimed|2', 'promoted, it takes over');
like(refusal($standby, q{SELECT idem_complete('ran out', '1', 1)}), qr/^ID002/,
	'from the holder of before');
is($standby->safe_psql('postgres', q{SELECT outcome FROM idem_claim('held', lease => '1 hour')}),
	'completed', 'and knows what was done');

$standby->stop;
done_testing();

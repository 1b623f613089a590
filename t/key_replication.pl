# Keys follow the rows that were written under them: to a standby, which
# answers retries once it is promoted, and to a logical subscriber.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 'logical');
$primary->start;
$primary->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE t (id int PRIMARY KEY, v text);
});

my $first = q{SELECT * FROM idem_upsert('k1', 't', '{"id": 1, "v": "a"}')};
my $other = q{SELECT * FROM idem_upsert('k1', 't', '{"id": 1, "v": "b"}')};

# The SQLSTATE that a statement ends with.
sub sqlstate
{
	my ($node, $sql) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\n$sql");
	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : "none: $out$err";
}

# A logical subscriber.
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init;
$subscriber->start;
$subscriber->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE t (id int PRIMARY KEY, v text);
});
$primary->safe_psql('postgres', 'CREATE PUBLICATION p FOR TABLE t, idem_key');
$subscriber->safe_psql('postgres', sprintf(
	q{CREATE SUBSCRIPTION s CONNECTION '%s dbname=postgres' PUBLICATION p},
	$primary->connstr));
$subscriber->wait_for_subscription_sync($primary, 's');

# A standby.
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

my $answer = $primary->safe_psql('postgres', $first);
is($answer, 'inserted|f|{"v": "a", "id": 1}', 'the primary does the work');
$primary->safe_psql('postgres', q{
	SELECT idem_upsert('k2', 't', '{"id": 2}', ttl => '1 microsecond');
	SELECT idem_upsert('k2', 't', '{"id": 2, "v": "anew"}');
	SELECT idem_upsert('k3', 't', '{"id": 3}', ttl => '1 microsecond');
});
my $keys = 'SELECT * FROM idem_key ORDER BY key';
my $all = $primary->safe_psql('postgres', $keys);

$primary->wait_for_catchup('s');
is($subscriber->safe_psql('postgres', $keys), $all, 'the subscriber has the keys');
is($subscriber->safe_psql('postgres', $first), 'inserted|t|{"v": "a", "id": 1}',
	'and answers a retry');
is(sqlstate($subscriber, $other), 'ID001', 'but not a different request');
is($subscriber->safe_psql('postgres', q{SELECT outcome, replayed FROM idem_upsert('k3', 't', '{"id": 3}')}),
	'unchanged|f', 'an expired key is free there');
is($subscriber->safe_psql('postgres', q{SELECT fence FROM idem_key WHERE key = 'k3'}), '2',
	'and its use is counted on');

$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $keys), $all, 'the standby has the keys');
is(sqlstate($standby, $first), '25006', 'but cannot promise anything, so it refuses');

$primary->stop('immediate');
$standby->promote;
is($standby->safe_psql('postgres', $first), 'inserted|t|{"v": "a", "id": 1}',
	'promoted, it answers a retry');
is(sqlstate($standby, $other), 'ID001', 'but not a different request');
is($standby->safe_psql('postgres', q{SELECT * FROM idem_upsert('k4', 't', '{"id": 4}')}),
	'inserted|f|{"v": null, "id": 4}', 'and does new work');

$standby->stop;
$subscriber->stop('immediate');
done_testing();

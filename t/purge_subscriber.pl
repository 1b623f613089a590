# What a subscription fills is purged by its publisher: a key that is used again
# there after it had expired would find no row to change on the subscriber.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->start;
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init;
$subscriber->append_conf('postgresql.conf', q{
shared_preload_libraries = 'idem'
idem.purge_naptime = '20ms'
});
$subscriber->start;

foreach my $node ($publisher, $subscriber)
{
	$node->safe_psql('postgres', q{
		CREATE EXTENSION idem;
		CREATE TABLE t (id int PRIMARY KEY)});
}
$publisher->safe_psql('postgres', 'CREATE PUBLICATION p FOR TABLE t, idem_key');
$subscriber->safe_psql('postgres', sprintf(
	q{CREATE SUBSCRIPTION s CONNECTION '%s dbname=postgres' PUBLICATION p},
	$publisher->connstr));
$subscriber->wait_for_subscription_sync($publisher, 's');

# Waits until the worker has been in the database: messages are not published.
sub wait_for_worker
{
	$subscriber->safe_psql('postgres', q{SELECT idem_consume('c', 'm', ttl => '1 microsecond')});
	ok($subscriber->poll_query_until('postgres', 'SELECT count(*) = 0 FROM idem_message'),
		'the worker purges what is not published');
}

sub is_kept
{
	my ($keys, $name) = @_;

	is($subscriber->safe_psql('postgres', q{SELECT string_agg(key, ' ' ORDER BY key) FROM idem_key}),
		$keys, $name);
}

$publisher->safe_psql('postgres', q{
	SELECT idem_upsert('k1', 't', '{"id": 1}', ttl => '1 microsecond');
	SELECT idem_upsert('k2', 't', '{"id": 2}', ttl => '1 microsecond')});
$publisher->wait_for_catchup('s');
wait_for_worker() for 1 .. 2;
is_kept('k1 k2', 'but not a key that has expired on the publisher');

$subscriber->safe_psql('postgres', 'ALTER SYSTEM SET idem.worker = off');
$subscriber->reload;
my ($rc, $out, $err) = $subscriber->psql('postgres', q{
	SELECT idem_consume('c', 'm', ttl => '1 microsecond');
	SELECT idem_purge()});
like($err, qr/NOTICE:  table "idem_key" is not purged\nDETAIL:  A subscription/, 'idem_purge() tells so');
like($out, qr/^t\n[01]$/, 'and purges the rest');
is_kept('k1 k2', 'but no key');
$subscriber->safe_psql('postgres', 'ALTER SYSTEM RESET idem.worker');
$subscriber->reload;

$publisher->safe_psql('postgres', q{SELECT idem_upsert('k2', 't', '{"id": 2}')});
$publisher->wait_for_catchup('s');
is($subscriber->safe_psql('postgres', q{
	SELECT key, expires_at > now(), fence FROM idem_key ORDER BY key}), "k1|f|1\nk2|t|2",
	'a key that was used again is there');
$subscriber->safe_psql('postgres', 'ALTER SUBSCRIPTION s DISABLE');
wait_for_worker();
is_kept('k1 k2', 'a subscription that is disabled may go on');

$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION s');
ok($subscriber->poll_query_until('postgres', q{SELECT array_agg(key) = '{k2}' FROM idem_key}),
	'a subscriber that takes over purges');

$subscriber->stop;
$publisher->stop;
done_testing();

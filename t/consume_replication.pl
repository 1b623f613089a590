# A message that has expired, and was purged where it is replicated to, is consumed
# once more: its new row arrives there all the same, so that the server that takes
# over knows of it.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->start;
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init(allows_streaming => 'logical');
$subscriber->start;

$_->safe_psql('postgres', 'CREATE EXTENSION idem') foreach $publisher, $subscriber;
$publisher->safe_psql('postgres',
	'CREATE PUBLICATION known FOR TABLE idem_message, idem_offset, idem_consumer');
$subscriber->safe_psql('postgres', sprintf(
	q{CREATE SUBSCRIPTION known CONNECTION '%s' PUBLICATION known},
	$publisher->connstr . ' dbname=postgres application_name=known'));
$subscriber->wait_for_subscription_sync($publisher, 'known');

my $remembered = q{
	SELECT consumer, message_id, expires_at > now() FROM idem_message ORDER BY 1, 2};

$publisher->safe_psql('postgres', q{
	SELECT idem_consume('mail', 'single', '1 microsecond');
	SELECT idem_consume_batch('mail', ARRAY['a', 'b', 'c'], '1 microsecond');
	SELECT idem_consume('mail', 'kept');
	SELECT idem_advance('mail', 'log', 0, 0, 9);
});
$publisher->wait_for_catchup('known');
is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM idem_message'),
	'5', 'what was consumed is replicated');
# some are gone by the time that they are renewed, and some are not
$subscriber->safe_psql('postgres', q{
	DELETE FROM idem_message WHERE message_id IN ('single', 'a', 'c')});

is( $publisher->safe_psql('postgres', q{
		SELECT idem_consume('mail', 'single');
		SELECT string_agg(id, ' ') FROM idem_consume_batch('mail', ARRAY['c', 'b', 'a', 'd']) AS id;
		SELECT idem_consume('mail', 'kept');
		SELECT idem_advance('mail', 'log', 0, 5, 14)}),
	"t\nc b a d\nf\n10", 'they count as new');
$publisher->wait_for_catchup('known');
is( $subscriber->safe_psql('postgres', $remembered),
	join("\n", map { "mail|$_|t" } qw(a b c d kept single)),
	'and are known there');
is( $subscriber->safe_psql('postgres', $remembered),
	$publisher->safe_psql('postgres', $remembered),
	'as they are where they come from');

$publisher->stop;
is( $subscriber->safe_psql('postgres', q{
		ALTER SUBSCRIPTION known DISABLE;
		SELECT idem_consume('mail', 'single');
		SELECT string_agg(id, ' ') FROM idem_consume_batch('mail', ARRAY['a', 'b', 'c', 'd', 'e']) AS id;
		SELECT idem_advance('mail', 'log', 0, 10, 19)}),
	"f\ne\n15", 'who takes over does none of them again');

$subscriber->stop;
done_testing();

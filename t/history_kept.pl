# History where it is kept, and where it goes: purged in the background, for as
# long as each database says, readable on a standby, and replicated with the
# tables that it is of.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 'logical');
$primary->append_conf('postgresql.conf', q{
shared_preload_libraries = 'idem'
idem.purge_naptime = '20ms'
idem.purge_batch_size = 10
});
$primary->start;

my $orders = q{
	CREATE TABLE orders (id int PRIMARY KEY, status order_status NOT NULL DEFAULT 'PENDING',
		version bigint NOT NULL DEFAULT 1);
	SELECT idem_attach('orders', 'order', history => true);
};
# An order that is shipped now, and many that were begun a week ago.
my $rows = q{
	INSERT INTO orders SELECT generate_series(1, 101);
	UPDATE orders SET status = 'PROCESSING' WHERE id > 1;
	UPDATE idem_history SET changed_at = changed_at - interval '1 week';
	UPDATE orders SET status = 'PROCESSING' WHERE id = 1;
	UPDATE orders SET status = 'SHIPPED' WHERE id = 1;
};
my $count = 'SELECT count(*) FROM idem_history';

# The subscriber's tables have other OIDs.
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init;
$subscriber->start;
$subscriber->safe_psql('postgres', "CREATE TABLE other (); CREATE EXTENSION idem; $orders");
$primary->safe_psql('postgres', "CREATE EXTENSION idem; $orders
	CREATE PUBLICATION p FOR TABLE orders, idem_history");
isnt($subscriber->safe_psql('postgres', q{SELECT 'orders'::regclass::oid}),
	$primary->safe_psql('postgres', q{SELECT 'orders'::regclass::oid}),
	'the same table has another OID on the subscriber');
$primary->safe_psql('postgres', 'INSERT INTO orders VALUES (0);'
	. q{UPDATE orders SET status = 'PROCESSING'});
$subscriber->safe_psql('postgres', sprintf(
	q{CREATE SUBSCRIPTION s CONNECTION '%s dbname=postgres' PUBLICATION p},
	$primary->connstr));
$subscriber->wait_for_subscription_sync($primary, 's');

$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

# Nothing is forgotten that is not to be.
$primary->safe_psql('postgres', $rows);
my $history = q{SELECT * FROM idem_history('orders', 1)};
my $first = $primary->safe_psql('postgres', $history);
is(scalar(split /\n/, $first), 3, 'history is kept');

$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $history), $first, 'and can be read on a standby');
is($standby->safe_psql('postgres', $count), 205, 'which has all of it');

$primary->wait_for_catchup('s');
is($subscriber->safe_psql('postgres', $history), $first,
	'the subscriber has the history of its table');
is($subscriber->safe_psql('postgres', $count), 205,
	'once: what is replicated is no transition there');
is($subscriber->safe_psql('postgres', q{SELECT version, to_state FROM idem_history('orders', 0)}),
	"1|PENDING\n2|PROCESSING", 'and what was copied');

# A database says for how long.
$primary->safe_psql('postgres', 'CREATE DATABASE brief');
$primary->safe_psql('brief', "CREATE EXTENSION idem; $orders $rows");
$primary->safe_psql('postgres', q{ALTER DATABASE brief SET idem.history_retention = '1d'});
ok($primary->poll_query_until('brief', "SELECT ($count) = 2"),
	'the worker purges what is older, batch by batch');
is($primary->safe_psql('brief', q{SELECT version, to_state FROM idem_history('orders', 1)}),
	"2|PROCESSING\n3|SHIPPED", 'and nothing else');
is($primary->safe_psql('postgres', $count), 205, 'and nothing in another database');

# Or the server does.  What is purged is purged on the standby.
$primary->append_conf('postgresql.conf', q{idem.history_retention = '1d'});
$primary->reload;
ok($primary->poll_query_until('postgres', "SELECT ($count) = 2"),
	'the worker heeds a setting that is changed');
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $count), 2, 'the standby forgets, too');

# A promoted standby goes on.
$primary->stop('immediate');
$standby->promote;
$standby->safe_psql('postgres', q{UPDATE orders SET status = 'DELIVERED' WHERE id = 1});
is($standby->safe_psql('postgres', q{SELECT version, to_state FROM idem_history('orders', 1)}),
	"2|PROCESSING\n3|SHIPPED\n4|DELIVERED", 'history goes on after a failover');

$standby->stop;
$subscriber->stop('immediate');
done_testing();

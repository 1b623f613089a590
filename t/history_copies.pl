# History on another server: a subscriber that takes over goes on with it, and
# what is of tables that it does not have, or no longer, neither stops it nor
# is taken for another table's.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $orders = q{
	CREATE TABLE orders (id int PRIMARY KEY, status order_status NOT NULL DEFAULT 'PENDING',
		version bigint NOT NULL DEFAULT 1);
	SELECT idem_attach('orders', 'order', history => true);
};
my $history = q{SELECT version, from_state, to_state, key FROM idem_history('orders', 1)};

sub server
{
	my ($name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(allows_streaming => 'logical');
	$node->start;
	return $node;
}

# A table of a server's own, with a transition that is recorded.
sub extra
{
	my ($node, $kind, $name) = @_;
	$node->safe_psql('postgres', "
		CREATE $kind TABLE $name (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING',
			version bigint NOT NULL DEFAULT 1);
		SELECT idem_attach('$name', 'order', history => true);
		INSERT INTO $name VALUES (1);
		UPDATE $name SET status = 'PROCESSING';");
	return;
}

my $publisher = server('publisher');
$publisher->safe_psql('postgres', "CREATE EXTENSION idem; $orders");
extra($publisher, '', 'gone');
my $gone = $publisher->safe_psql('postgres', q{SELECT 'gone'::regclass::oid});
$publisher->safe_psql('postgres', q{
	DROP TABLE gone;
	INSERT INTO orders VALUES (1);
	UPDATE orders SET status = 'PROCESSING';
	CREATE PUBLICATION p FOR TABLE orders, idem_history});

my @subscribers;
foreach my $binary ('false', 'true')
{
	my $node = server("subscriber_$binary");
	# one that has a table under the OID of one that was dropped elsewhere
	$node->safe_psql('postgres', "CREATE EXTENSION idem; CREATE TABLE other (); $orders");
	my $last = $node->safe_psql('postgres', q{SELECT 'orders'::regclass::oid});
	while ($last < $gone && $gone - $last < 1000)
	{
		$last = $node->safe_psql('postgres', sprintf(
			'CREATE TABLE taker_%d (id int PRIMARY KEY); SELECT %s::regclass::oid',
			$last, "'taker_$last'"));
	}
	$node->safe_psql('postgres', sprintf(
		q{CREATE SUBSCRIPTION s_%s CONNECTION '%s dbname=postgres' PUBLICATION p WITH (binary = %s)},
		$binary, $publisher->connstr, $binary));
	$node->wait_for_subscription_sync($publisher, "s_$binary");
	push @subscribers, [ $node, "s_$binary" ];
}

extra($publisher, '', 'only_here');
extra($publisher, 'TEMP', 'fleeting');
$publisher->safe_psql('postgres', q{
	SELECT outcome FROM idem_update('orders', 1, '{"status": "SHIPPED"}', key => 'k')});

foreach (@subscribers)
{
	my ($node, $name) = @$_;
	$publisher->wait_for_catchup($name);
	is($node->safe_psql('postgres', $history),
		"1||PENDING|\n2|PENDING|PROCESSING|\n3|PROCESSING|SHIPPED|k",
		"$name: has the history of its table");
	is($node->safe_psql('postgres', q{
		SELECT count(*) FROM idem_history WHERE target::oid <> 0 AND target <> 'orders'::regclass}),
		'0', 'and nothing else of any table');
	is($node->safe_psql('postgres', q{
		SELECT DISTINCT regexp_replace(target::text, '\d+', 'N') FROM idem_history WHERE target::oid = 0 ORDER BY 1}),
		"pg_temp_N.fleeting\npublic.gone (dropped, N)\npublic.only_here",
		'what it has no table for is there by name');

	# It takes over.
	$node->safe_psql('postgres', "ALTER SUBSCRIPTION $name DISABLE;
		ALTER SUBSCRIPTION $name SET (slot_name = NONE); DROP SUBSCRIPTION $name;
		UPDATE orders SET status = 'DELIVERED'");
	is($node->safe_psql('postgres', $history),
		"1||PENDING|\n2|PENDING|PROCESSING|\n3|PROCESSING|SHIPPED|k\n4|SHIPPED|DELIVERED|",
		'goes on with it');
	# where the clock is behind
	$node->safe_psql('postgres', q{
		UPDATE idem_history SET changed_at = changed_at - interval '1 minute' WHERE version = 4});
	is($node->safe_psql('postgres', q{SELECT version FROM idem_history('orders', 1)}),
		"1\n2\n3\n4", 'in order, even if its clock is behind');
	# and has a table that it did not have
	$node->safe_psql('postgres',
		'CREATE TABLE only_here (id int PRIMARY KEY); CREATE TABLE gone (id int PRIMARY KEY)');
	is($node->safe_psql('postgres', q{SELECT version, to_state FROM idem_history('only_here', 1)}),
		"1|PENDING\n2|PROCESSING", 'and with that of a table that it gets later');
	my ($rc, $out, $err) = $node->psql('postgres', q{SELECT * FROM idem_history('gone', 1)});
	like($err, qr/keeps no history/, 'but not with that of one that was dropped');
	$node->stop;
}

$publisher->stop;
done_testing();

# A logical subscriber that takes over: by the list of tables that the guide gives,
# by the schema that idem is in, and by a publication of all tables.
use strict;
use warnings;

use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->append_conf('postgresql.conf', "max_wal_senders = 20\nmax_replication_slots = 20\n");
$publisher->start;

# What the guide says to publish.
my $guide = slurp_file(dirname(__FILE__) . '/../docs/operations.md');
$guide =~ /^(CREATE PUBLICATION shop FOR TABLE orders, .*?;)$/ms or die 'the guide has no publication';
my %publication = (
	list => $1,
	schema => 'CREATE PUBLICATION shop FOR TABLE orders, TABLES IN SCHEMA retries',
	whole => 'CREATE PUBLICATION shop FOR ALL TABLES');
my @ways = sort keys %publication;

my $schema = q{
	CREATE SCHEMA retries;
	CREATE EXTENSION idem SCHEMA retries;
	CREATE TABLE orders (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
};
my $path = 'SET search_path = public, retries;';
# What an application defines as it is installed, on either side.
my $definitions = $path . q{
	SELECT idem_machine_define('lamp', 'OFF', '{"OFF": ["ON"], "ON": ["OFF"]}');
	SELECT idem_machine_define('order', 'PENDING', '{"PENDING": ["PROCESSING"],
		"PROCESSING": ["SHIPPED"], "SHIPPED": ["DELIVERED", "RETURNED"]}');
	SELECT idem_consumer_define('mail', '7 days');
	SELECT idem_scope_define('tenant a');
};

# The SQLSTATE that a statement ends with.
sub sqlstate
{
	my ($node, $sql) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\n$path $sql");
	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : "none: $out$err";
}

my %subscriber;
foreach my $way (@ways)
{
	$publisher->safe_psql('postgres', "CREATE DATABASE $way");
	$publisher->safe_psql($way, "$schema
		SELECT retries.idem_attach('orders', 'order', history => true);");
	$publisher->safe_psql($way, "$path $publication{$way}");
	is( $publisher->safe_psql($way, q{
			SELECT c.relname FROM pg_class AS c JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
			JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
			WHERE e.extname = 'idem' AND c.relkind = 'r' AND c.relpersistence = 'p'
			AND NOT EXISTS (SELECT FROM pg_publication_tables AS t WHERE t.tablename = c.relname)}),
		'', "$way: no table of idem's is left out");

	# What is there when a subscriber comes is copied, but for what is there already.
	$publisher->safe_psql($way, $definitions . q{
		SELECT idem_consume('mail', 'm1');
		SELECT idem_advance('mail', 'log', 0, 0, 9);
		SELECT idem_upsert('k1', 'orders', '{"id": 1}');
		SELECT order_transition('orders', 1, 'PROCESSING', key => 'k2');
		SELECT idem_upsert(k, 'orders', '{"id": 2}', ttl => '1 microsecond') FROM unnest('{expired-1,expired-2}'::text[]) AS k;
		SELECT idem_consume('post', m, '1 microsecond') FROM unnest('{expired-1,expired-2}'::text[]) AS m;
	});
	my $node = PostgreSQL::Test::Cluster->new("subscriber_$way");
	$node->init;
	$node->start;
	$node->safe_psql('postgres', "$schema $definitions
		SELECT retries.idem_attach('orders', 'order', history => true);");
	$node->safe_psql('postgres', sprintf(
		q{CREATE SUBSCRIPTION %s CONNECTION '%s' PUBLICATION shop},
		"s_$way", $publisher->connstr . " dbname=$way"));
	$subscriber{$way} = $node;
}

my $everything = $path . q{
	SELECT scope, key, outcome, response, fence FROM idem_key ORDER BY 1, 2;
	SELECT name, initial, states FROM idem_machine ORDER BY 1;
	SELECT machine, from_state, to_state FROM idem_machine_edge ORDER BY 1, 2, 3;
	SELECT consumer, ttl FROM idem_consumer ORDER BY 1;
	SELECT scope, owner FROM idem_scope ORDER BY 1;
	SELECT consumer, message_id FROM idem_message ORDER BY 1, 2;
	SELECT consumer, topic, partition, next_offset FROM idem_offset ORDER BY 1, 2, 3;
	SELECT row_key, version, from_state, to_state, key FROM idem_history ORDER BY 1, 2;
	SELECT * FROM orders ORDER BY 1};

foreach my $way (@ways)
{
	my $node = $subscriber{$way};

	$node->wait_for_subscription_sync($publisher, "s_$way");

	# A session that has used definitions as they were.
	$node->safe_psql('postgres', $path . q{
		CREATE FUNCTION late() RETURNS text LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM idem_consume('mail', 'old' || random(), sent_at => '2000-01-01');
			RETURN 'applied';
		EXCEPTION WHEN SQLSTATE 'ID301' THEN
			RETURN 'late';
		END $$});
	my $session = $node->background_psql('postgres');
	is($session->query_safe("$path SELECT idem_machine_graph('lamp') ~ 'DIM', idem_machine_graph('order') ~ 'LOST'"),
		'f|f', "$way: machines are there");

	# What comes later is applied.
	$publisher->safe_psql($way, $path . q{
		SELECT idem_machine_define('lamp', 'OFF', '{"OFF": ["ON", "DIM"], "ON": ["OFF"]}');
		SELECT idem_machine_define('order', 'PENDING', '{"PENDING": ["PROCESSING"],
			"PROCESSING": ["SHIPPED", "LOST"], "SHIPPED": ["DELIVERED", "RETURNED"]}');
		SELECT idem_scope_define('tenant b');
		SELECT idem_consume('mail', 'm2');
		SELECT idem_advance('mail', 'log', 0, 10, 19);
		SELECT order_transition('orders', 1, 'SHIPPED', key => 'k3');
	});
	$publisher->wait_for_catchup("s_$way");
	is($node->safe_psql('postgres', $everything), $publisher->safe_psql($way, $everything),
		"$way: the subscriber has everything");
	is($session->query_safe("SELECT idem_machine_graph('lamp') ~ 'DIM', idem_machine_graph('order') ~ 'LOST'"),
		't|t', "$way: and its sessions hear of it");
	is($session->query_safe('SELECT late()'), 'late', "$way: a late message is refused");

	# Even where pg_restore --disable-triggers has made ordinary triggers of those
	# that tell them.
	$node->safe_psql('postgres', $path . join '', map { qq{
		ALTER TABLE $_ DISABLE TRIGGER ALL;
		ALTER TABLE $_ ENABLE TRIGGER ALL;} } ('idem_machine', 'idem_machine_edge', 'idem_consumer', 'idem_scope'));
	is($session->query_safe("SELECT idem_machine_graph('lamp') ~ 'BRIGHT', late()"), 'f|late', "$way: so far");
	$publisher->safe_psql($way, $path . q{
		SELECT idem_machine_define('lamp', 'OFF', '{"OFF": ["ON", "DIM"], "ON": ["OFF", "BRIGHT"]}');
		SELECT idem_consumer_define('mail', '7 days', 'apply')});
	$publisher->wait_for_catchup("s_$way");
	is($session->query_safe("SELECT idem_machine_graph('lamp') ~ 'BRIGHT', late()"), 't|applied',
		"$way: and then");
	$session->quit;
	$node->safe_psql('postgres', "$path DELETE FROM idem_message WHERE starts_with(message_id, 'old')");

	# What has expired is the publisher's to purge: it may be used anew there.  Then
	# it is known here, even if somebody has deleted it.
	is($node->safe_psql('postgres', $path . q{
			SELECT idem_purge();
			DELETE FROM idem_message WHERE message_id = 'expired-2';
			SELECT count(*) FROM idem_key WHERE key ~ 'expired';
			SELECT count(*) FROM idem_message WHERE message_id ~ 'expired'}),
		"0\n2\n1", "$way: nothing is purged");
	is($publisher->safe_psql($way, $path . q{
			SELECT u.outcome, u.replayed FROM unnest('{expired-1,expired-2}'::text[]) AS k,
				idem_upsert(k, 'orders', '{"id": 2}') AS u;
			SELECT idem_consume('post', m) FROM unnest('{expired-1,expired-2}'::text[]) AS m}),
		"unchanged|f\nunchanged|f\nt\nt", "$way: what has expired is used anew");
	$publisher->wait_for_catchup("s_$way");
	is($node->safe_psql('postgres', $everything), $publisher->safe_psql($way, $everything),
		"$way: the subscriber has that, too");

	# Takeover.
	$node->safe_psql('postgres', "ALTER SUBSCRIPTION s_$way DISABLE");
	is($node->safe_psql('postgres', $path . q{
			SELECT outcome, replayed FROM idem_upsert('k1', 'orders', '{"id": 1}');
			SELECT outcome, replayed FROM order_transition('orders', 1, 'SHIPPED', key => 'k3');
			SELECT outcome, replayed FROM order_transition('orders', 1, 'DELIVERED', key => 'k4');
			SELECT idem_consume('mail', 'm2');
			SELECT idem_consume('mail', 'm3');
			SELECT idem_advance('mail', 'log', 0, 10, 29);
			SELECT outcome, replayed FROM idem_upsert('expired-1', 'orders', '{"id": 2}');
			SELECT outcome, replayed FROM idem_upsert('expired-2', 'orders', '{"id": 2}');
			SELECT idem_consume('post', m) FROM unnest('{expired-1,expired-2}'::text[]) AS m;
			SELECT version, to_state FROM idem_history('orders', 1)}),
		"inserted|t\napplied|t\napplied|f\nf\nt\n20\nunchanged|t\nunchanged|t\nf\nf\n"
		  . "1|PENDING\n2|PROCESSING\n3|SHIPPED\n4|DELIVERED",
		"$way: it goes on where the publisher was");
	is(sqlstate($node, q{UPDATE orders SET status = 'PENDING'}), 'ID201', "$way: by the rules");
	is(sqlstate($node, q{SELECT idem_machine_define('order', 'PENDING', '{"PENDING": ["LOST"]}')}), '23514',
		"$way: which may be changed there");
}

$_->stop foreach values %subscriber;
$publisher->stop;
done_testing();

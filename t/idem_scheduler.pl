# Beside pg_cron, which calls idem_purge() for a role that may, and pg_partman, which
# keeps making partitions of a table that follows a state machine: as PostgreSQL with
# both preloaded has it, and idem too.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

chomp(my $share = qx(pg_config --sharedir));
foreach my $extension ('pg_cron', 'pg_partman')
{
	plan skip_all => "$extension is not installed" if !-f "$share/extension/$extension.control";
}

# The worker of pg_partman begins when there is a database for it, and work: it starts another
# at each turn, and rests for ten minutes if that one has ended before it looks.
my $node = PostgreSQL::Test::Cluster->new('scheduler');
my $user = getpwuid($<);
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'pg_cron, idem, pg_partman_bgw'
cron.use_background_workers = on
cron.database_name = 'shop'
max_worker_processes = 20
idem.worker = off
pg_partman_bgw.role = '$user'
pg_partman_bgw.interval = 1
});
$node->start;
$node->safe_psql('postgres', q{CREATE ROLE regress_cron LOGIN; CREATE DATABASE shop});
$node->safe_psql('shop', q{
	CREATE EXTENSION pg_cron;
	CREATE SCHEMA partman;
	CREATE EXTENSION pg_partman SCHEMA partman;
	CREATE EXTENSION idem;
	GRANT USAGE ON SCHEMA cron TO regress_cron;
	GRANT EXECUTE ON FUNCTION idem_purge TO regress_cron;

	-- not by a date, which pg_partman 5.5 compares with the ends of a partition as text, and moves nothing
	CREATE TABLE orders (day timestamptz NOT NULL DEFAULT current_date, id int, status text NOT NULL DEFAULT 'PENDING',
		version int NOT NULL DEFAULT 1, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
	SELECT idem_attach('orders', 'order', history => true);
});
my ($partman) = $node->safe_psql('shop', q{SELECT extversion FROM pg_extension WHERE extname = 'pg_partman'}) =~ /^(\d+)/;
my $type = $partman < 5 ? q{'native', 'daily'} : q{'1 day'};
$node->safe_psql('shop', qq{SELECT partman.create_parent('public.orders', 'day', $type, p_premake => 2)});

# Partitions follow the machine: those that are there, and those that come.
my $partitions = $node->safe_psql('shop', q{SELECT count(*) FROM pg_inherits WHERE inhparent = 'orders'::regclass});
cmp_ok($partitions, '>=', 5, 'there are partitions');
is($node->safe_psql('shop', q{
		SELECT outcome, replayed FROM idem_upsert('k1', 'orders', '{"id": 1}', conflict => '{day,id}');
		SELECT outcome, replayed FROM idem_upsert('k1', 'orders', '{"id": 1}', conflict => '{day,id}');
		SELECT outcome, version FROM idem_transition('orders', jsonb_build_object('day', current_date, 'id', 1), 'PROCESSING', key => 'k2');
		SELECT outcome, version FROM idem_transition('orders', jsonb_build_object('day', current_date, 'id', 1), 'PROCESSING', key => 'k2')}),
	"inserted|f\ninserted|t\napplied|2\napplied|2", 'rows of a partitioned table are moved');
$node->safe_psql('shop', q{UPDATE partman.part_config SET premake = 6 WHERE parent_table = 'public.orders'});
$node->append_conf('postgresql.conf', q{pg_partman_bgw.dbname = 'shop'});
$node->reload;
ok( $node->poll_query_until('shop',
		"SELECT count(*) > $partitions FROM pg_inherits WHERE inhparent = 'orders'::regclass"),
	'the worker of pg_partman makes more of them');
is($node->safe_psql('shop', q{
		SELECT count(*) FROM pg_inherits AS i WHERE inhparent = 'orders'::regclass
			AND (SELECT count(*) FROM pg_trigger WHERE tgrelid = i.inhrelid AND tgname ~ 'idem') <>
				(SELECT count(*) FROM pg_trigger WHERE tgrelid = 'orders'::regclass AND tgname ~ 'idem')}),
	'0', 'which follow the machine');
my (undef, undef, $err) = $node->psql('shop', q{\set VERBOSITY sqlstate
	INSERT INTO orders (day, id, status) VALUES (current_date + 5, 1, 'SHIPPED')});
like($err, qr/ID201/, 'and its rules');
# Rows that arrived in the default partition are moved by INSERT, which is refused for
# those that are further on, unless their triggers are kept quiet.
$node->safe_psql('shop', q{
	INSERT INTO orders (day, id) VALUES (current_date + 40, 1);
	UPDATE orders SET status = 'PROCESSING' WHERE day > current_date + 30});
my $move = q{CALL partman.partition_data_proc('public.orders')};
(undef, undef, $err) = $node->psql('shop', $move);
# pg_partman may catch an error, and raises another with the same text
like($err, qr/cannot begin in state "PROCESSING"/, 'rows of the default partition are not moved as new ones');
$node->safe_psql('shop', "SET session_replication_role = replica; $move");
is($node->safe_psql('shop', q{SELECT count(*) FROM orders_default}), '0', 'but as a restore moves rows');
is($node->safe_psql('shop', q{SELECT status, version FROM orders WHERE day > current_date + 30}),
	'PROCESSING|2', 'so they stay as they are');

# idem_purge() by the clock, as a role that may call it and no more.
$node->safe_psql('shop', q{
	SELECT outcome FROM generate_series(1, 50) AS n, idem_execute('e' || n, 'SELECT 1', ttl => '1 microsecond');
	SELECT outcome FROM idem_execute('live', 'SELECT 1')});
$node->safe_psql('shop', q{SELECT cron.schedule('* * * * *', 'SELECT idem_purge()')},
	extra_params => [ '-U', 'regress_cron' ]);
ok( $node->poll_query_until('shop', q{SELECT NOT EXISTS (SELECT FROM idem_key WHERE starts_with(key, 'e'))}),
	'pg_cron purges');
ok( $node->poll_query_until('shop', q{SELECT status = 'succeeded' FROM cron.job_run_details LIMIT 1}),
	'and has been answered');
is($node->safe_psql('shop', q{SELECT count(*) FROM idem_key WHERE key = 'live'}), '1', 'what has not expired stays');

$node->stop;
done_testing();

# idem on Citus: a coordinator and two workers, each layout of docs/scale.md.  The calls
# answer as they do on one node, and 18 clients over three nodes that send the same keys
# again and again have each effect once: also while nodes are killed, a shard moves, and
# a node is added.
#
# Skipped where Citus is not installed.  SECONDS says how long each load goes on.
use strict;
use warnings;

use File::Basename;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $top = dirname(__FILE__) . '/..';
my ($sharedir) = map { s/\s+\z//r } `pg_config --sharedir`;
plan skip_all => 'Citus is not installed' unless -e "$sharedir/extension/citus.control";

my $seconds = $ENV{SECONDS} || 6;

sub make_node
{
	my ($name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(extra => [ '--locale=C', '--encoding=UTF8' ]);
	$node->append_conf('postgresql.conf', q{
		shared_preload_libraries = 'citus'
		listen_addresses = '127.0.0.1'
		max_connections = 150
		max_prepared_transactions = 150
		wal_level = logical
		max_wal_senders = 20
		max_replication_slots = 20
		citus.shard_count = 8
		citus.node_conninfo = 'sslmode=prefer'
		citus.enable_unsafe_triggers = on
		citus.max_cached_conns_per_worker = 4
		citus.recover_2pc_interval = '1s'
		citus.defer_shard_delete_interval = '1s'
		log_min_messages = warning
	});
	$node->append_conf('pg_hba.conf', 'host all all 127.0.0.1/32 trust');
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION citus');
	return $node;
}

my @nodes = map { make_node($_) } qw(coordinator worker1 worker2);
my ($coordinator, @workers) = @nodes;
my $one = PostgreSQL::Test::Cluster->new('one');

$one->init(extra => [ '--locale=C', '--encoding=UTF8' ]);
$one->start;

sub c { return $coordinator->safe_psql('postgres', $_[0]) }
sub add_node { return c("SELECT citus_add_node('127.0.0.1', " . $_[0]->port . ')') }

c("SELECT citus_set_coordinator_host('127.0.0.1', " . $coordinator->port . ')');
add_node($_) foreach @workers;
c('CREATE EXTENSION idem');
$one->safe_psql('postgres', 'CREATE EXTENSION idem');

# Tables, by layout.  "app" are rows by tenant, "bykey" those without, "t1" to "t3" have
# a schema each.
my $tables = q{
	CREATE TABLE app.parcel (tenant bigint, id int, name text, price numeric(8, 2), tags text[],
		at timestamptz DEFAULT '2024-01-01 00:00Z', status text NOT NULL DEFAULT 'PENDING',
		version int NOT NULL DEFAULT 1, PRIMARY KEY (tenant, id));
	CREATE TABLE app.effect (tenant bigint, key text, at timestamptz DEFAULT clock_timestamp());
	CREATE TABLE bykey.effect (key text, row text, at timestamptz DEFAULT clock_timestamp());
};
foreach my $node ($coordinator, $one)
{
	$node->safe_psql('postgres', q{
		CREATE SCHEMA app; CREATE SCHEMA bykey;
		SELECT idem_store_create('app', 'bigint');
		SELECT idem_store_create('bykey');
	} . $tables);
	$node->safe_psql('postgres', "SELECT idem_attach('app.parcel', 'order')");
}
c(q{
	SELECT create_distributed_table('app.parcel', 'tenant');
	SELECT create_distributed_table('app.effect', 'tenant', colocate_with => 'app.parcel');
	SELECT create_distributed_table('app.idem_key', 'scope', colocate_with => 'app.parcel');
	SELECT create_distributed_table('app.idem_message', 'consumer');
	SELECT create_distributed_table('app.idem_offset', 'consumer', colocate_with => 'app.idem_message');
	SELECT create_distributed_table('bykey.idem_key', 'key', shard_count => 6, colocate_with => 'none');
	SELECT create_distributed_table('bykey.effect', 'row', shard_count => 4, colocate_with => 'none');
});
c(q{
	CREATE FUNCTION app.done(tenant bigint, k text) RETURNS text LANGUAGE plpgsql SET idem.store = 'app' AS $$
	BEGIN
		RETURN (SELECT outcome FROM public.idem_execute(k, 'INSERT INTO app.effect (tenant, key) VALUES ($1, $2)',
			jsonb_build_array(tenant, k), scope => tenant::text));
	END $$;
	SELECT create_distributed_function('app.done(bigint, text)', 'tenant',
		colocate_with => 'app.parcel', force_delegation => true);
});
c(qq{
	SELECT idem_store_create('t$_');
	CREATE TABLE t$_.effect (tenant bigint, key text, at timestamptz DEFAULT clock_timestamp());
	SELECT citus_schema_distribute('t$_');
}) foreach 1 .. 3;

# The calls, as one tenant makes them.
my $calls = q{
	SET timezone = 'Asia/Kolkata';
	SET idem.store = 'app';
	SET idem.scope = '7';
	SELECT * FROM idem_upsert('c1', 'app.parcel', '{"tenant": 7, "id": 1, "name": "a", "price": 1, "tags": ["x"]}');
	SELECT * FROM idem_upsert('c1', 'app.parcel', '{"tenant": 7, "id": 1, "name": "a", "price": 1, "tags": ["x"]}');
	SELECT * FROM idem_upsert('c1', 'app.parcel', '{"tenant": 7, "id": 1, "name": "z", "price": 1, "tags": ["x"]}');
	SELECT * FROM idem_upsert('c2', 'app.parcel', '{"tenant": 7, "id": 1, "name": "a", "price": 1.00}');
	SELECT * FROM idem_upsert('c3', 'app.parcel', '{"tenant": 7, "id": 1, "name": "b"}', expected_version => 1);
	SELECT * FROM idem_upsert('c4', 'app.parcel', '{"tenant": 7, "id": 1, "name": "b"}', expected_version => 1);
	SELECT * FROM idem_upsert('c5', 'app.parcel', '{"tenant": 7, "id": 1, "name": "c"}', expected_version => 1);
	SELECT * FROM idem_upsert('c6', 'app.parcel', '{"tenant": 7, "id": 2, "name": "c"}', expected_version => 1);
	SELECT * FROM idem_upsert('c7', 'app.parcel', '{"tenant": 7, "id": 1, "price": 0.5}', merge => '{"price": "max"}');
	SELECT * FROM idem_upsert_batch('{b1,b2,b1}', 'app.parcel', ARRAY['{"tenant": 7, "id": 3}', '{"tenant": 7, "id": 4}', '{"tenant": 7, "id": 3}']::jsonb[]);
	SELECT * FROM idem_update('app.parcel', '{"tenant": 7, "id": 1}', '{"price": 7}', expected_version => 1, key => 'u1');
	SELECT * FROM idem_update('app.parcel', '{"tenant": 7, "id": 1}', '{"price": 7}', expected_version => 2, key => 'u1');
	SELECT * FROM idem_update('app.parcel', '{"tenant": 7, "id": 1}', '{"price": 7}', expected_version => 2, key => 'u1');
	SELECT * FROM idem_update('app.parcel', '{"tenant": 7, "id": 9}', '{"price": 7}', key => 'u2');
	SELECT * FROM order_transition('app.parcel', '{"tenant": 7, "id": 3}'::jsonb, 'PROCESSING', key => 't1');
	SELECT * FROM order_transition('app.parcel', '{"tenant": 7, "id": 3}'::jsonb, 'PROCESSING', key => 't1');
	SELECT * FROM order_transition('app.parcel', '{"tenant": 7, "id": 3}'::jsonb, 'DELIVERED', key => 't2');
	SELECT * FROM idem_transition_batch('app.parcel', ARRAY['{"tenant": 7, "id": 3}', '{"tenant": 7, "id": 4}']::jsonb[], 'PROCESSING', key => 't3');
	SELECT * FROM idem_execute('e1', 'UPDATE app.parcel SET price = price + 1 WHERE tenant = 7 AND id = 1 RETURNING id, price, at');
	SELECT * FROM idem_execute('e1', 'UPDATE app.parcel SET price = price + 1 WHERE tenant = 7 AND id = 1 RETURNING id, price, at');
	SELECT outcome, replayed, result->>'sqlstate' FROM idem_execute('e2', 'INSERT INTO app.parcel VALUES (7, 1)', remember_errors => '{23505}');
	SELECT outcome, replayed, result->>'sqlstate' FROM idem_execute('e2', 'INSERT INTO app.parcel VALUES (7, 1)', remember_errors => '{23505}');
	SELECT outcome, fence FROM idem_claim('l1', '{"a": 1}', '1 min');
	SELECT outcome, fence FROM idem_claim('l1', '{"a": 1}', '1 min');
	SELECT idem_checkpoint('l1', 1, 'sent', '{"n": 1}');
	SELECT idem_release('l1', 1);
	SELECT outcome, fence, response FROM idem_claim('l1', '{"a": 1}', '1 min');
	SELECT idem_extend('l1', 2, '1 hour') > now();
	SELECT idem_complete('l1', '{"ok": true}', 1);
	SELECT idem_complete('l1', '{"ok": true}', 2);
	SELECT outcome, response FROM idem_lookup('l1');
	SELECT idem_checkpoints('l1') IS NOT NULL;
	BEGIN; SELECT outcome, fence FROM idem_claim('l2'); SELECT idem_complete('l2', '1'); COMMIT;
	SELECT outcome, response FROM idem_claim('l2', lease => '1 min');
	SELECT outcome FROM idem_claim('x1', lease => '1 ms', ttl => '1 ms');
	SELECT pg_sleep(0.05);
	SELECT outcome, fence FROM idem_claim('x1', lease => '1 min');
	SELECT idem_forget('l2'), idem_forget('l2');
	SELECT idem_consume('calls', 'm1'), idem_consume('calls', 'm1'), idem_seen('calls', 'm1');
	SELECT * FROM idem_consume_batch('calls', '{m3,m1,m2,m3}');
	SELECT idem_advance('calls', 'log', 0, 0, 9), idem_advance('calls', 'log', 0, 5, 14), idem_offset('calls', 'log', 0);
	SELECT idem_advance('calls', 'log', 0, 99, 100);
	SELECT tenant, id, name, price, tags, status, version FROM app.parcel ORDER BY tenant, id;
	SELECT scope, key, outcome, fence, claimed_by FROM app.idem_key ORDER BY key;
};

sub answers
{
	my ($node) = @_;
	my $out = '';

	IPC::Run::run([ 'psql', '-X', '-q', '-d', $node->connstr('postgres') ], '<', \$calls, '>', \$out, '2>&1');
	$out =~ s/\b20\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d+([+-]\d\d(:\d\d)?)?\b/TIME/g;
	$out =~ s/^CONTEXT:  while executing command.*\n//mg;
	return $out;
}

my $single = answers($one);
is(answers($coordinator), $single, 'all keyed calls answer on the coordinator as on one node');
c(q{DELETE FROM app.parcel; DELETE FROM app.idem_key; DELETE FROM app.idem_message; DELETE FROM app.idem_offset});
is(answers($workers[1]), $single, 'and on a worker');

# Loads: a pgbench script a layout.  :k is the key, :t its tenant.
my %layouts = (
	'by scope' => {
		store => 'app', schemas => ['app'],
		script => q{SELECT idem_execute('k:k', 'INSERT INTO app.effect (tenant, key) VALUES ($1, $2)', '[:t, "k:k"]', scope => ':t');}
	},
	'by scope, delegated' => {
		store => '', schemas => ['app'],
		script => q{SELECT app.done(:t, 'k:k');}
	},
	'a schema a tenant' => {
		store => '', schemas => [qw(t1 t2 t3)],
		script => q{
BEGIN;
SET LOCAL idem.store = 't:s';
SELECT idem_execute('k:k', 'INSERT INTO t:s.effect (tenant, key) VALUES ($1, $2)', '[:s, "k:k"]');
COMMIT;}
	},
	'by key' => {
		store => 'bykey', schemas => ['bykey'],
		script => q{SELECT idem_execute('k:k', 'INSERT INTO bykey.effect (key, row) VALUES ($1, $2)', '["k:k", "row-:k"]');}
	});

my $dir = PostgreSQL::Test::Utils::tempdir;
my $keys = 3000 * $seconds;

# Should the test die, the clients stop with it.
END { append_to_file("$dir/stop", '') if defined $dir && -d $dir }

# Six clients at each node, as long as there is no file "stop".
sub begin_load
{
	my ($name) = @_;
	my $layout = $layouts{$name};
	my @running;

	unlink "$dir/stop";
	append_to_file("$dir/script.sql", '') unless -e "$dir/script.sql";
	open(my $file, '>', "$dir/script.sql") or die;
	print $file "\\set k random(1, $keys)\n\\set t :k % 20\n\\set s :k % 3 + 1\n$layout->{script}\n";
	close($file);
	foreach my $node (@nodes)
	{
		my $command = "while [ ! -e $dir/stop ]; do PGOPTIONS='-c idem.store=$layout->{store} -c client_min_messages=error'"
			. " pgbench -n -c 6 -j 2 -T 1 --max-tries=20 -f $dir/script.sql -h " . $node->host
			. ' -p ' . $node->port . ' postgres >/dev/null 2>&1 || sleep 0.2; done';
		push @running, IPC::Run::start([ 'sh', '-c', $command ], '<', \undef);
	}
	return \@running;
}

sub end_load
{
	my ($running) = @_;

	append_to_file("$dir/stop", '');
	$_->finish foreach @$running;
	return;
}

# Waits until no transaction is prepared on any node.
sub settle
{
	foreach (1 .. 300)
	{
		c('SELECT recover_prepared_transactions()');
		my $left = 0;
		$left += $_->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts') foreach @nodes;
		return if $left == 0;
		usleep(100_000);
	}
	fail('transactions stay prepared');
	return;
}

sub each_once
{
	my ($name, $case) = @_;
	my ($total, $distinct, $kept, $both) = (0, 0, 0, 0);

	settle();
	foreach my $schema (@{ $layouts{$name}{schemas} })
	{
		my ($n, $d, $k, $b) = split /\|/, c(qq{
			SELECT (SELECT count(*) FROM $schema.effect), (SELECT count(DISTINCT key) FROM $schema.effect),
				(SELECT count(*) FROM $schema.idem_key WHERE key ~ '^k[0-9]'),
				(SELECT count(*) FROM (SELECT key FROM $schema.effect INTERSECT SELECT key FROM $schema.idem_key) AS x)});
		$total += $n; $distinct += $d; $kept += $k; $both += $b;
	}
	cmp_ok($total, '>', 50, "$name, $case: there are effects");
	is("$distinct $kept $both", "$total $total $total", "$name, $case: $total effects, each once, each with its key")
		or diag(map { "$_: twice " . c("SELECT string_agg(key, ' ') FROM (SELECT key FROM $_.effect GROUP BY key HAVING count(*) > 1) AS x")
				. ', without a key ' . c("SELECT string_agg(key, ' ') FROM (SELECT key FROM $_.effect EXCEPT SELECT key FROM $_.idem_key) AS x") } @{ $layouts{$name}{schemas} });
	return;
}

sub empty
{
	my ($name) = @_;

	c("DELETE FROM $_.effect; DELETE FROM $_.idem_key") foreach @{ $layouts{$name}{schemas} };
	return;
}

foreach my $name (sort keys %layouts)
{
	my $running = begin_load($name);

	usleep($seconds * 1_000_000);
	end_load($running);
	each_once($name, '18 clients');
	empty($name);
}

# Nodes that are killed under load.
sub kill_and_start
{
	my ($node) = @_;

	$node->stop('immediate');
	$node->start;
	return;
}

foreach my $name (sort keys %layouts)
{
	my $running = begin_load($name);

	foreach my $node ($coordinator, $workers[0], $coordinator, $coordinator, $workers[1], $coordinator)
	{
		usleep($seconds * 250_000);
		kill_and_start($node);
	}
	usleep($seconds * 250_000);
	end_load($running);
	each_once($name, 'four crashes of the coordinator, two of workers');
	empty($name);
}

# A shard moves, and a node is added and gets shards, under load.  Citus 13.2 loses writes of
# a worker that the shard neither leaves nor enters, where a transaction has read before
# (docs/citus.md), so a call must hold the shard where it is before it reads.
my $name = 'by scope';
my $running = begin_load($name);

usleep($seconds * 250_000);
my ($shard, $from, $to) = split /\|/, c(qq{
	SELECT s.shardid, s.nodeport, (SELECT min(n.nodeport) FROM pg_dist_node AS n WHERE n.nodeport <> s.nodeport AND n.groupid > 0)
	FROM citus_shards AS s WHERE s.table_name = 'app.parcel'::regclass ORDER BY s.shardid LIMIT 1});
c("SELECT citus_move_shard_placement($shard, '127.0.0.1', $from, '127.0.0.1', $to, 'force_logical')");
is(c("SELECT nodeport FROM citus_shards WHERE shardid = $shard"), $to, 'a shard has moved');
my $third = make_node('worker3');
add_node($third);
my ($moved) = split /\|/, c(qq{SELECT shardid FROM citus_shards WHERE table_name = 'app.parcel'::regclass AND nodeport = $to ORDER BY shardid LIMIT 1});
c("SELECT citus_move_shard_placement($moved, '127.0.0.1', $to, '127.0.0.1', " . $third->port . ", 'force_logical')");
is(c("SELECT nodeport FROM citus_shards WHERE shardid = $moved"), $third->port, 'a node was added and has shards');
foreach my $move ([ $third->port, $to ], [ $to, $third->port ], [ $third->port, $to ], [ $to, $third->port ])
{
	c("CALL citus_cleanup_orphaned_resources()");
	c("SELECT citus_move_shard_placement($moved, '127.0.0.1', $move->[0], '127.0.0.1', $move->[1], 'force_logical')");
}
# once more by a copy, for which the writes wait
foreach my $move ([ $third->port, $to ], [ $to, $third->port ])
{
	c("CALL citus_cleanup_orphaned_resources()");
	c("SELECT citus_move_shard_placement($moved, '127.0.0.1', $move->[0], '127.0.0.1', $move->[1], 'block_writes')");
}
usleep($seconds * 250_000);
end_load($running);
push @nodes, $third;
each_once($name, 'a shard moves, a node is added');
my ($shards) = c("SELECT min(shardid) FROM citus_shards WHERE table_name = 'app.idem_key'::regclass AND nodeport = " . $third->port);
cmp_ok($third->safe_psql('postgres', "SELECT count(*) FROM app.idem_key_$shards"), '>', 0, 'keys have moved with their rows');

# The schema of a tenant moves, with its store.
empty('a schema a tenant');
$running = begin_load('a schema a tenant');
foreach my $schema (qw(t1 t2 t3), qw(t1 t2 t3))
{
	my ($on) = c("SELECT nodeport FROM citus_shards WHERE table_name = '$schema.idem_key'::regclass");
	my ($next) = grep { $_ != $on } map { $_->port } @workers, $third;

	usleep($seconds * 100_000);
	c("CALL citus_cleanup_orphaned_resources()");
	c("SELECT citus_schema_move('$schema', '127.0.0.1', $next, '" . ($schema eq 't2' ? 'block_writes' : 'force_logical') . "')");
	is(c("SELECT count(DISTINCT nodeport) FROM citus_shards WHERE table_name::text LIKE '$schema.%' AND nodeport = $next"), '1',
		"schema $schema has moved");
}
end_load($running);
each_once('a schema a tenant', 'schemas move');

# Messages and offsets, by consumer, from all nodes at once, while a node of theirs is killed.
c(q{CREATE TABLE app.paid (consumer text COLLATE "C", message text); SELECT create_distributed_table('app.paid', 'consumer', colocate_with => 'app.idem_message');
	CREATE TABLE app.read_to (consumer text COLLATE "C", "offset" bigint); SELECT create_distributed_table('app.read_to', 'consumer', colocate_with => 'app.idem_message')});
$layouts{messages} = { store => 'app', script => q{
\set c :k % 7
\set m random(1, 400)
BEGIN;
WITH new AS MATERIALIZED (SELECT idem_consume('c:c', 'm:m') AS yes) INSERT INTO app.paid SELECT 'c:c', 'm:m' FROM new WHERE yes;
COMMIT;
BEGIN;
INSERT INTO app.read_to SELECT 'c:c', o FROM (SELECT coalesce(idem_offset('c:c', 'log', 0), 0) AS at) AS now,
    generate_series(idem_advance('c:c', 'log', 0, at, at + 3), at + 3) AS o;
COMMIT;} };
$running = begin_load('messages');
foreach my $node ($workers[0], $coordinator)
{
	usleep($seconds * 400_000);
	kill_and_start($node);
}
usleep($seconds * 250_000);
end_load($running);
settle();
my ($paid, $once) = split /\|/, c('SELECT count(*), count(DISTINCT (consumer, message)) FROM app.paid');
cmp_ok($paid, '>', 50, 'messages were paid');
is($once . ' ' . c(q{SELECT count(*) FROM app.idem_message WHERE consumer ~ '^c[0-9]'}), "$paid $paid",
	"each of $paid messages was paid once, and is remembered");
is(c(q{SELECT count(*) > 0, bool_and(r.n = r.d AND r.n = o.next_offset) FROM (
	SELECT consumer, count(*) AS n, count(DISTINCT "offset") AS d FROM app.read_to GROUP BY consumer) AS r
	JOIN app.idem_offset AS o ON o.consumer = r.consumer AND o.topic = 'log'}), 't|t',
	'each offset was read once, without a gap: ' . c('SELECT count(*) FROM app.read_to'));
delete $layouts{messages};

# Each node purges the shards that are on it.
c(q{
	SET idem.store = 'app';
	SELECT count(idem_execute('gone' || i, 'SELECT 1', scope => i::text, ttl => '1 ms')) FROM generate_series(1, 60) AS i;
	SELECT pg_sleep(0.05);
});
my @purged = map { $_->safe_psql('postgres', 'SELECT idem_purge()') } @nodes;
my $sum = 0;
$sum += $_ foreach @purged;
is($sum, 60, "each node purges its shards: @purged");
is(c(q{SELECT count(*) FROM app.idem_key WHERE key LIKE 'gone%'}), '0', 'nothing is left');

# What must not be done here.
my ($rc, $out, $err) = $coordinator->psql('postgres', q{SELECT idem_execute('k', 'INSERT INTO app.effect VALUES (1)')});
like($err, qr/table "idem_key" cannot be used in a database with distributed tables/, 'no key is kept on the coordinator');

# What docs/citus.md shows, from top to bottom.
my $guide = join '', slurp_file("$top/docs/citus.md") =~ /^```psql\n(.*?)^```$/msg;
($rc, $out, $err) = $coordinator->psql('postgres', $guide, on_error_stop => 1);
is($rc, 0, 'the statements of docs/citus.md run') or diag($err);

# What a new key takes, one client at the coordinator: for the record.
c('CREATE TABLE bare (tenant bigint, key text)');
c(q{SELECT create_distributed_table('bare', 'tenant', colocate_with => 'app.parcel')});
$layouts{'plain distributed insert'} = { store => '', script => q{INSERT INTO bare VALUES (:t, 'k:k');} };
foreach my $name ('plain distributed insert', sort grep { $_ ne 'plain distributed insert' } keys %layouts)
{
	open(my $file, '>', "$dir/one.sql") or die;
	print $file "\\set k random(1000000, 2000000000)\n\\set t :k % 20\n\\set s :k % 3 + 1\n$layouts{$name}{script}\n";
	close($file);
	local $ENV{PGOPTIONS} = "-c idem.store=$layouts{$name}{store}";
	my @figures = sort { $a <=> $b } map {
		my $out = `pgbench -n -c 1 -T 2 -f $dir/one.sql -h @{[ $coordinator->host ]} -p @{[ $coordinator->port ]} postgres 2>&1`;
		$out =~ /latency average = ([0-9.]+) ms/ ? $1 : die $out;
	} 1 .. 3;
	note(sprintf('%-26s %.2f ms', $name, $figures[1]));
}

$_->stop foreach @nodes, $one;
done_testing();

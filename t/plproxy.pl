# Four partitions behind PL/Proxy, as docs/scale.md has them: calls are routed by their
# tenant, each partition keeps keys and rows together, and whatever is lost between
# client, proxy and partition, each request has its effect once.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use IPC::Run;
use List::Util qw(shuffle);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Storm;
use Test::More;

use constant {
	PARTITIONS => 4,
	REQUESTS => 240,    # in all, which every client sends
	CRASHES => 4,
};

chomp(my $share = qx(pg_config --sharedir));
plan skip_all => 'PL/Proxy is not installed' if !-f "$share/extension/plproxy.control";

my $page = slurp_file("$FindBin::RealBin/../docs/scale.md");
my ($section) = $page =~ /^## PL\/Proxy\n(.*?)(?=^## )/ms or die 'the page has no such section';

# The blocks of a section that are run by psql, each with the answer that is shown.
my @blocks;
while ($section =~ /^```(psql|text)\n(.*?)^```$/msg)
{
	if ($1 eq 'psql') { push @blocks, [ $2, undef ] }
	else { $blocks[-1][1] = $2 }
}

# The next block of the page, which is to have this in it.
sub block
{
	my ($has) = @_;
	my $block = shift @blocks or die "the page has no more blocks, and should have $has";

	die "the next block of the page has no $has" if $block->[0] !~ /\Q$has\E/;
	return @$block;
}

# Runs a block of the page, with what is said on the way.
sub run_page
{
	my ($node, $database, $sql, @options) = @_;
	my $file = $node->basedir . '/page.sql';

	unlink $file;
	append_to_file($file, $sql);
	my $output = qx(psql -X @options -d "@{[ $node->connstr($database) ]}" <"$file" 2>&1);
	unlike($output, qr/^ERROR:/m, "$database: no error from the page") or diag($output);
	return $output =~ s/[ \t]+$//gmr;
}

my @nodes;
foreach my $part (0 .. PARTITIONS - 1)
{
	my $node = PostgreSQL::Test::Cluster->new("partition$part");
	$node->init;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'idem'\nidem.worker = off\n");
	$node->start;
	$node->safe_psql('postgres', "CREATE DATABASE shop$part");
	push @nodes, $node;
}
my $proxy = PostgreSQL::Test::Cluster->new('proxy');
$proxy->init;
$proxy->start;
$proxy->safe_psql('postgres', 'CREATE DATABASE shop');

# What the page has for hosts is where these are.
sub place
{
	my ($sql) = @_;

	return $sql =~ s/host=db(\d)/'host=' . $nodes[$1]->host . ' port=' . $nodes[$1]->port/ger;
}

my ($role) = block('CREATE ROLE');
my ($partition) = block('right_partition');
foreach my $part (0 .. PARTITIONS - 1)
{
	run_page($nodes[$part], 'postgres', $role);
	run_page($nodes[$part], "shop$part", $partition, '-v', "part=$part");
}
my ($routing) = block('CREATE SERVER');
run_page($proxy, 'shop', place($routing));
my ($calls, $answers) = block('place_order');
is(run_page($proxy, 'shop', $calls), $answers, 'calls are answered as the page says');

sub ask { return $proxy->safe_psql('shop', @_) }

# The SQLSTATE and the message that a call ends with.
sub refusal
{
	my ($node, $database, $sql) = @_;
	my ($status, $out, $err) = $node->psql($database, "\\set VERBOSITY verbose\n$sql");
	return $err =~ /ERROR:\s+(.*)/ ? $1 : "none: $out$err";
}

# Each partition has what is its own, and refuses what is not.
my @tenants = map { "tenant $_" } 1 .. 40;
ask("SELECT count(*) FROM generate_series(1, 40) AS n, place_order('tenant ' || n, 'first', 1, 5)");
my %of = map { split /\|/ } split /\n/, ask(q{SELECT t, shard_of(t) & 3 FROM (SELECT 'tenant ' || n AS t FROM generate_series(1, } . REQUESTS . q{) AS n) AS x});
foreach my $part (0 .. PARTITIONS - 1)
{
	my $mine = join ' ', sort grep { $of{$_} == $part } @tenants;

	isnt($mine, '', "partition $part has tenants");
	is($nodes[$part]->safe_psql("shop$part", q{SELECT string_agg(tenant, ' ' ORDER BY tenant COLLATE "C") FROM orders WHERE starts_with(tenant, 'tenant')}),
		$mine, '... its own');
	is($nodes[$part]->safe_psql("shop$part", q{SELECT string_agg(scope, ' ' ORDER BY scope COLLATE "C") FROM idem_key WHERE key = 'first'}),
		$mine, '... with their keys');
	my ($stranger) = grep { $of{$_} != $part } @tenants;
	like(refusal($nodes[$part], "shop$part", "SELECT * FROM place_order('$stranger', 'astray', 2, 5)"),
		qr/^23514: .*right_partition/, '... and refuses another');
	is($nodes[$part]->safe_psql("shop$part", q{SELECT count(*) FROM idem_key WHERE key = 'astray'}), '0', '... without a key');
}

# What else the partitions are asked: an effect that would be seen twice if it were.
$_->[1]->safe_psql("shop$_->[0]", q{
	CREATE TABLE effect (tenant text, key text, serial bigint GENERATED ALWAYS AS IDENTITY);
	GRANT SELECT, INSERT ON effect TO app;
	CREATE FUNCTION take_effect(tenant text, key text) RETURNS SETOF jsonb
	LANGUAGE sql BEGIN ATOMIC
		SELECT result FROM idem_execute(key, 'INSERT INTO effect VALUES ($1, $2) RETURNING serial',
			jsonb_build_array(tenant, key), scope => tenant);
	END}) foreach map { [ $_, $nodes[$_] ] } 0 .. PARTITIONS - 1;
ask(q{
	CREATE FUNCTION take_effect(tenant text, key text) RETURNS SETOF jsonb
	LANGUAGE plproxy AS $$ CLUSTER 'shops'; RUN ON shard_of(tenant); $$;
	CREATE FUNCTION take_effect_everywhere(key text) RETURNS SETOF jsonb
	LANGUAGE plproxy AS $$ CLUSTER 'shops'; RUN ON ALL; SELECT * FROM take_effect('all', key); $$});

# What the partitions answer to this, in their order.
sub everywhere
{
	my ($sql) = @_;

	return map { $nodes[$_]->safe_psql("shop$_", $sql) } 0 .. PARTITIONS - 1;
}

# The proxy's transaction is not that of the partition.
ask(q{BEGIN; SELECT * FROM place_order('acme', 'rolled back', 7, 1); ROLLBACK});
is(ask(q{SELECT outcome, replayed FROM place_order('acme', 'rolled back', 7, 1)}), 'inserted|t',
	'a transaction of the proxy that rolls back leaves what was called');
like(refusal($proxy, 'shop', q{SELECT * FROM place_order('acme', 'rolled back', 7, 2)}), qr/key "rolled back" was used for a different request/,
	'a partition refuses another request, and the proxy says so');
is(ask(q{SET idem.scope = 'acme'; SELECT outcome, replayed FROM place_order('delta', 'rolled back', 7, 1)}), 'inserted|f',
	'a setting of the proxy concerns no partition');

# Eight clients send all requests, in orders of their own, while partitions lose answers
# and requests, backends are terminated, and partitions are killed.
$nodes[$_]->safe_psql('postgres', "ALTER DATABASE shop$_ SET idem.lose_ack = 0.1; ALTER DATABASE shop$_ SET idem.lose_request = 0.1")
  foreach 0 .. PARTITIONS - 1;
my @requests = map { [ $_ % 2 ? "pay-$_" : "order-$_", "tenant $_" ] } 1 .. REQUESTS;

# How many of these keys have no effect in their partition.
sub missing
{
	my $keys = key_list(@_);
	my $there = 0;

	$there += $_ foreach everywhere(qq{
		SELECT count(*) FROM (VALUES $keys) AS acknowledged (name) JOIN idem_key AS k ON k.key = name
		WHERE EXISTS (SELECT FROM effect AS e WHERE e.tenant = k.scope AND e.key = k.key)
			OR EXISTS (SELECT FROM orders AS o WHERE o.tenant = k.scope AND k.key = 'order-' || o.id)});
	return @_ - $there;
}

my ($answered, $crashes, $terminated) = (0, 0, 0);
{
	package Shop;
	sub connstr { return $proxy->connstr('shop') }
	sub installed_command { my ($self, @what) = @_; return $proxy->installed_command(@what) }
}
my %answers = crowd(bless({}, 'Shop'), sub {
	my ($key, $answer, $count, $all) = @_;

	$answered = $count;
	if ($count % int(CLIENTS * REQUESTS / (CRASHES + 1)) == 0 && $crashes < CRASHES)
	{
		my $victim = $nodes[$crashes++ % PARTITIONS];
		my @acknowledged = keys %$all;

		$victim->kill9;
		start_again($victim);
		is(missing(@acknowledged), 0, $victim->name . " was killed, and all of " . @acknowledged . ' acknowledged are there');
	}
	elsif ($count % 100 == 0)
	{
		my ($node, $database) = $count % 200 ? ($proxy, 'shop') : ($nodes[ $count / 200 % PARTITIONS ], '');
		$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname ~ '^shop' AND backend_type = 'client backend' ORDER BY random() LIMIT 1});
		$terminated++;
	}
}, sub {
	return map {
		my ($key, $tenant) = @$_;
		[ $key, $key =~ /^order-(\d+)/ ? "SELECT outcome, result FROM place_order('$tenant', '$key', $1, 5)" : "SELECT take_effect('$tenant', '$key')" ]
	} shuffle(@requests);
	# a connection that PL/Proxy lost is an internal error
}, qr/^(40|57P|XX000)/);
is($answered, CLIENTS * REQUESTS, 'every request of every client was answered');
is(scalar(grep { !all_equal($_) } values %answers), 0, 'one key, one answer');
is(join(' ', grep { $answers{$_}[0] =~ /^\w{5}$/ } sort keys %answers), '', 'which is no error');
note "$terminated backends terminated";
my $lost = 0;
foreach my $node (@nodes)
{
	my $log = slurp_file($node->logfile);
	my $here = () = $log =~ /idem loses the/g;
	$lost += $here;
}
cmp_ok($lost, '>', 20, 'answers and requests were lost');
note "$lost lost";
is(missing(keys %answers), 0, 'each key has its effect');
is(join(' ', everywhere('SELECT count(*) FROM effect')),
	join(' ', map { my $part = $_; scalar grep { $_->[0] =~ /^pay/ && $of{ $_->[1] } == $part } @requests } 0 .. PARTITIONS - 1),
	'once: what was done');
is(join(' ', everywhere(q{SELECT count(*) FROM orders WHERE starts_with(tenant, 'tenant') AND id > 1})),
	join(' ', map { my $part = $_; scalar grep { $_->[0] =~ /^order/ && $of{ $_->[1] } == $part } @requests } 0 .. PARTITIONS - 1),
	'and the rows that were written');

# A call of all partitions is not one transaction: where one of them fails, others
# have committed; the next attempt does the rest.
$nodes[$_]->safe_psql('postgres', "ALTER DATABASE shop$_ RESET ALL") foreach 0 .. PARTITIONS - 1;
my $holder = $nodes[2]->background_psql('shop2', on_error_stop => 1);
$holder->query_safe('BEGIN; LOCK TABLE effect');
my $everywhere = IPC::Run::start([ 'psql', '-X', '-d', $proxy->connstr('shop'), '-c', q{SELECT * FROM take_effect_everywhere('all')} ],
	'>', \my $nothing, '2>', \my $error);
my $all = q{SELECT count(*) FROM effect WHERE tenant = 'all'};
$nodes[$_]->poll_query_until("shop$_", $all, '1') or die "partition $_ does nothing" foreach 0, 1, 3;
my $stuck = q{FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'shop2'};
$nodes[2]->poll_query_until('shop2', "SELECT count(*) = 1 $stuck") or die 'partition 2 does not wait';
$nodes[2]->safe_psql('shop2', "SELECT pg_terminate_backend(pid) $stuck");
$everywhere->finish;
like($error, qr/shop2\] REMOTE FATAL/, 'one of all fails');
$holder->query_safe('ROLLBACK');
$holder->quit;
is(join(' ', everywhere($all)), '1 1 0 1', 'the others have done it');
is(ask(q{SELECT count(*) FROM take_effect_everywhere('all')}), '4', 'the next call is answered by all');
is(join(' ', everywhere($all)), '1 1 1 1', 'and each has done it once');

# A holder of a claim ends it although the partition was restarted meanwhile.
is(ask(q{SELECT outcome, fence FROM begin_charge('acme', 'charge-2', 1)}), 'claimed|1', 'a claim through the proxy');
my $home = $nodes[ ask(q{SELECT shard_of('acme') & 3}) ];
$home->stop('immediate');
start_again($home);
until ($proxy->psql('shop', q{SELECT end_charge('acme', 'charge-2', 1, 'ch_2', 1)}) == 0) { }
is(ask(q{SELECT outcome, response FROM begin_charge('acme', 'charge-2', 1)}), 'completed|{"charge": "ch_2"}', 'is ended');
like(refusal($proxy, 'shop', q{SELECT end_charge('acme', 'charge-2', 1, 'ch_3', 0)}), qr/^ID002: /, 'a wrong fence is refused, with its SQLSTATE');

# An order of the hosts that is not the one that the rows went by.
ask(q{ALTER SERVER shops OPTIONS (SET p0 'host=none dbname=none')});
my @moved = map { place("host=db$_ dbname=shop$_") } 1, 0, 2, 3;
ask("ALTER SERVER shops OPTIONS (" . join(', ', map { "SET p$_ '$moved[$_]'" } 0 .. 3) . ')');
like(refusal($proxy, 'shop', q{SELECT * FROM place_order('acme', 'checkout-1', 1, 440.00)}), qr/^23514: .*right_partition/,
	'hosts in a wrong order: nothing is done twice');

done_testing();

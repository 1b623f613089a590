# What monitoring/ has for Prometheus: its rules, by promtool; its queries, by both
# exporters of Debian's, which are started and scraped and have no right but
# pg_monitor; its dashboard, whose every query a Prometheus answers that scrapes them.
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename;
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $monitoring = abs_path(dirname(__FILE__) . '/../monitoring');
my $place = abs_path(PostgreSQL::Test::Utils::tempdir());
my $limit = 30;			# seconds until something has to have happened

sub program
{
	my ($name) = @_;
	my ($path) = grep { -x } map { "$_/$name" } split /:/, "$ENV{PATH}:/usr/bin";
	return $path;
}

sub promtool
{
	my (@arguments) = @_;
	my $out = '';

	IPC::Run::run([ program('promtool'), @arguments ], '<', \undef, '>&', \$out);
	return ($? >> 8, $out);
}

# A file of monitoring/, with changes, elsewhere.
sub changed
{
	my ($name, %changes) = @_;
	my $text = slurp_file("$monitoring/$name");

	foreach my $old (sort keys %changes)
	{
		die "no $old in $name" unless $text =~ s/\Q$old\E/$changes{$old}/g;
	}
	open(my $file, '>', "$place/$name") or die "$place/$name: $!";
	print $file $text;
	close $file;
	return "$place/$name";
}

# The queries of the dashboard and its notes, as Grafana would send them.
my $dashboard = decode_json(slurp_file("$monitoring/grafana.json"));
my @queries;
foreach my $where (@{ $dashboard->{annotations}{list} }, map { @{ $_->{targets} // [] } } @{ $dashboard->{panels} })
{
	my $query = $where->{expr};

	$query =~ s/\$__rate_interval/1m/g;
	$query =~ s/\$__range/1h/g;
	$query =~ s/\$(?:instance|datname)\b/.*/g;
	unlike($query, qr/\$/, 'no variable is left in a query of the dashboard');
	push @queries, $query;
}
cmp_ok(scalar @queries, '>', 15, 'the dashboard has queries');
my %ids;
is(join(' ', grep { $ids{$_}++ } map { $_->{id} } @{ $dashboard->{panels} }), '', 'panels have ids of their own');
is(join(' ', grep { $_->{gridPos}{x} + $_->{gridPos}{w} > 24 } @{ $dashboard->{panels} }), '', 'and fit the width');

my $rules = slurp_file("$monitoring/rules.yml");
my $tests = slurp_file("$monitoring/rules-test.yml") . slurp_file("$monitoring/rules-test-week.yml");
my @alerts = $rules =~ /- alert: (\w+)/g;
foreach my $alert (@alerts)
{
	like($tests, qr/alertname: $alert\n\s+exp_alerts: \[\]\n/, "the tests of the rules see $alert not fire");
	like($tests, qr/alertname: $alert\n\s+exp_alerts:\n\s+- exp_labels/, 'and fire');
}

SKIP:
{
	skip 'there is no promtool', 1 unless program('promtool');
	foreach my $arguments ([qw(check rules rules.yml)], [qw(check config prometheus.yml)],
		[qw(test rules rules-test.yml rules-test-week.yml)])
	{
		my ($command, $what, @files) = @$arguments;
		my ($status, $out) = promtool($command, $what, map { "$monitoring/$_" } @files);
		is($status, 0, "promtool @$arguments") or diag($out);
	}
	append_to_file("$place/queries.yml", encode_json({ groups => [ { name => 'dashboard',
		rules => [ map { { record => "query_$_", expr => $queries[$_] } } 0 .. $#queries ] } ] }));
	my ($status, $out) = promtool('check', 'rules', "$place/queries.yml");
	is($status, 0, 'promtool reads each query of the dashboard') or diag($out);
	like($out, qr/\b${\ scalar @queries} rules found/, 'all of them');
	# that the tests of the rules can fail: each of these changes makes one do so
	my %harm = (
		'ratio10m > 0.05' => 'ratio10m > 0.5', '> 0.1 * idem' => '> 0.2 * idem', '> 3 *' => '> 9 *',
		'key_stale_fence"} > 0' => 'key_takeover"} > 0', 'increase(idem_events_total{counter="key_stale_fence"}' =>
		'increase(idem_events_total{counter="key_takeover"}', 'stuck_lease"} > 0' => 'stuck_lease"} > 1');
	changed('rules.yml', %harm);
	changed($_) foreach qw(rules-test.yml rules-test-week.yml);
	($status, $out) = promtool('test', 'rules', map { "$place/$_" } qw(rules-test.yml rules-test-week.yml));
	is(join(' ', do { my %failed = map { $_ => 1 } $out =~ /alertname: ?(\w+)/g; sort keys %failed }),
		'IdemLeaseOverdue IdemPurgeLag IdemReplaysUnusual IdemStaleFence IdemVersionConflicts',
		'the tests of the rules find other limits and other counters') or diag($out);
}

my %exporter = map { $_ => program("prometheus-$_") } qw(sql-exporter postgres-exporter);
my @lacking = grep { !$exporter{$_} } sort keys %exporter;
if (@lacking)
{
	note("skipped: there is no prometheus-$_") foreach @lacking;
	SKIP: { skip 'there are not both exporters', 1 }
	done_testing();
	exit;
}

my $node = PostgreSQL::Test::Cluster->new('exporters');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'idem'\nidem.purge_naptime = 100ms\n");
$node->start;
# as README.md of monitoring/ says
$node->safe_psql('postgres', q{
	CREATE DATABASE shop;
	CREATE DATABASE other;
	CREATE ROLE idem_exporter LOGIN;
	GRANT pg_monitor TO idem_exporter;
	ALTER ROLE idem_exporter IN DATABASE shop SET search_path = idem;
	ALTER ROLE idem_exporter IN DATABASE other SET search_path = idem;
});
foreach my $database (qw(shop other))
{
	$node->safe_psql($database, q{
		CREATE SCHEMA idem;
		CREATE EXTENSION idem SCHEMA idem;
		GRANT USAGE ON SCHEMA idem TO idem_exporter;
		CREATE TABLE orders (id bigint PRIMARY KEY, status idem.order_status NOT NULL DEFAULT 'PENDING',
			version bigint NOT NULL DEFAULT 1);
		SELECT idem.idem_attach('orders', 'order');
	});
}
my $order = 0;

# Calls of each kind: a new key, two replays, a transition, a conflict, a message twice.
sub work
{
	$order++;
	$node->psql('shop', join("\n",
		("SELECT idem.idem_execute('k$order', 'INSERT INTO orders VALUES ($order)');") x 3,
		"SELECT idem.order_transition('orders', $order, 'PROCESSING');",
		"SELECT idem.order_transition('orders', $order, 'SHIPPED', expected_version => 7);",
		("SELECT idem.idem_consume('c', 'm$order');") x 2), on_error_stop => 0);
	return;
}

my %port = map { $_ => PostgreSQL::Test::Cluster::get_free_port() } 'prometheus', keys %exporter;
my @children;

sub start
{
	my ($name, @command) = @_;
	my $pid = fork() // die "fork: $!";

	if ($pid == 0)
	{
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', "$place/$name.log");
		open(STDERR, '>&', \*STDOUT);
		exec(@command) or POSIX::_exit(127);
	}
	push @children, $pid;
	return;
}

END
{
	local $?;
	kill 'TERM', @children;
	waitpid($_, 0) foreach @children;
}

my $http = HTTP::Tiny->new(timeout => 10);

sub get
{
	my ($name, $path) = @_;
	my $answer = $http->get("http://127.0.0.1:$port{$name}$path");

	return $answer->{success} ? $answer->{content} : undef;
}

# Asks until the answer is true, for so long at most.
sub until_true
{
	my ($what) = @_;
	my $until = time + $limit;
	my $answer;

	sleep 0.1 until ($answer = $what->()) || time > $until;
	return $answer;
}

my $host = $node->host;
my $connection = slurp_file("$monitoring/sql-exporter.yml") =~ /^( *- 'postgres:.*)$/m ? $1 : die 'no connection';
start('sql-exporter', $exporter{'sql-exporter'}, '-web.listen-address', "127.0.0.1:$port{'sql-exporter'}",
	'-config.file', changed('sql-exporter.yml', 'interval: 15s' => 'interval: 1s',
		$connection => join("\n", map { $connection =~ s{/shop\?}{/$_?}r =~ s{host=[^&]*}{"host=$host&port=" . $node->port}er }
			qw(shop other))));

# With these arguments, for these databases.
sub start_postgres_exporter
{
	my ($name, $databases, @arguments) = @_;
	local $ENV{DATA_SOURCE_NAME} = join ',',
	  map { "user=idem_exporter host=$host port=" . $node->port . " dbname=$_ sslmode=disable" } @$databases;

	start($name, $exporter{'postgres-exporter'}, "--web.listen-address=127.0.0.1:$port{$name}",
		"--extend.query-path=$monitoring/postgres-exporter.yml", @arguments);
	return;
}
start_postgres_exporter('postgres-exporter', ['shop']);
$port{several} = PostgreSQL::Test::Cluster::get_free_port();
my ($alone) = slurp_file("$monitoring/README.md") =~ /yml (--disable-default.*?)\n```/s;
start_postgres_exporter('several', [qw(shop other)], grep { $_ ne '\\' } split ' ', $alone);

# The series of idem in a scrape, by what the rules call them.
sub scrape
{
	my ($name, $datname) = @_;
	my %value;

	foreach (split /\n/, get($name, '/metrics') // '')
	{
		my ($metric, $labels, $value) = /^(?:sql_)?(idem_\w+)\{(.*)\} (\S+)$/ or next;
		my %label = $labels =~ /(\w+)="((?:[^"\\]|\\.)*)"/g;
		my $series = join ', ', map { "$_=\"$label{$_}\"" } grep { defined $label{$_} } qw(datname counter check);
		$value{"$metric\{$series}"} = $value + 0 if $label{datname} eq ($datname // 'shop');
	}
	return \%value;
}

sub counted
{
	my %value = map { my ($counter, $value) = split /\|/; ("idem_events_total{datname=\"shop\", counter=\"$counter\"}" => $value) }
	  split /\n/, $node->safe_psql('shop', q{SELECT counter, value FROM idem.idem_stats WHERE datname = 'shop'});
	return \%value;
}

work();
$node->psql('other', q{SELECT idem.idem_execute('k1', 'INSERT INTO orders VALUES (1)')});
my %scraped;
foreach my $name (sort keys %exporter)
{
	my $mine = until_true(sub {
		my $all = scrape($name);
		return ($all->{'idem_events_total{datname="shop", counter="message_duplicate"}'} // 0) == $order
		  && defined $all->{'idem_purge_lag_seconds{datname="shop"}'} && $all;
	}) || scrape($name);
	my %events = map { $_ => $mine->{$_} } grep { /^idem_events_total/ } keys %$mine;

	is_deeply(\%events, counted(), "$name: counters of its database as idem_stats has them")
	  or diag(slurp_file("$place/$name.log"));
	cmp_ok(scalar(keys %events), '>', 15, "$name: and not because there are none");
	is($mine->{'idem_ttl_seconds{datname="shop"}'}, 86400, "$name: idem.ttl");
	cmp_ok($mine->{'idem_purge_lag_seconds{datname="shop"}'} // -1, '>=', 0, "$name: how far purging is behind");
	is($mine->{'idem_health_severity{datname="shop", check="worker"}'}, 0, "$name: the worker is well");
	is(scalar(grep { /^idem_health_severity/ } keys %$mine),
		$node->safe_psql('shop', 'SELECT count(*) FROM idem.idem_health'), "$name: a figure for each check");
	$scraped{$name} = join "\n", sort keys %$mine;
}
is($scraped{'sql-exporter'}, $scraped{'postgres-exporter'}, 'both exporters have the same figures');

foreach my $name (qw(sql-exporter several))
{
	ok(until_true(sub {
		return (scrape($name, 'other')->{'idem_events_total{datname="other", counter="key_new"}'} // 0) == 1
		  && defined scrape($name)->{'idem_ttl_seconds{datname="shop"}'};
	}), "$name: figures of several databases");
}

# A mismatch, and the worker off.
$node->psql('shop', q{SELECT idem.idem_execute('k1', 'SELECT 1')});
$node->append_conf('postgresql.conf', 'idem.worker = off');
$node->reload;
foreach my $name (sort keys %exporter)
{
	ok(until_true(sub {
		my $all = scrape($name);
		return $all->{'idem_events_total{datname="shop", counter="key_mismatch"}'} == 1
		  && $all->{'idem_health_severity{datname="shop", check="key_mismatch"}'} == 1;
	}), "$name: a mismatch is counted, and idem_health warns of it");
}
# what either has of its own may not know a newer server
foreach my $name (qw(sql-exporter postgres-exporter several))
{
	is(join("\n", grep { /idem_|permission denied/ && /error|"err"|denied/i } split /\n/, slurp_file("$place/$name.log")), '',
		"$name: without an error");
}

SKIP:
{
	skip 'there is no prometheus', 1 unless program('prometheus');

	# what an answer of Prometheus's has, or undef
	my $ask = sub {
		my ($what, %arguments) = @_;
		my $answer = get('prometheus', "/api/v1/$what?" . $http->www_form_urlencode(\%arguments)) // return;
		return decode_json($answer)->{data};
	};
	changed('rules.yml', 'interval: 5m' => 'interval: 1s');
	my $config = changed('prometheus.yml', 'scrape_interval: 15s' => 'scrape_interval: 1s',
		'evaluation_interval: 15s' => 'evaluation_interval: 1s',
		'localhost:9187' => "127.0.0.1:$port{'postgres-exporter'}", 'localhost:9237' => "127.0.0.1:$port{'sql-exporter'}");
	start('prometheus', program('prometheus'), "--config.file=$config", "--storage.tsdb.path=$place/tsdb",
		"--web.listen-address=127.0.0.1:$port{prometheus}");

	foreach my $query (@queries, map { s/^\s*expr: \|?\s*//r } $rules =~ /^\s+- record: (\S+)/mg)
	{
		# nothing is known of sagas, and no alert fires yet
		next if $query =~ /saga_|^ALERTS/;
		ok(until_true(sub {
			return 1 if @{ ($ask->('query', query => $query) // {})->{result} // [] };
			work();
			return 0;
		}), "Prometheus answers $query");
	}
	my %known = map { $_ => 1 } @{ $ask->('label/__name__/values') // [] };
	my %named = map { $_ => 1 } map { /\b((?:sql_exporter|idem)[_:]\w[\w:]*)/g } @queries, $rules =~ /expr:((?:.*\n)(?: {12,}.*\n)*)/g;
	is(join(' ', grep { !$known{$_} } sort keys %named), '', 'each metric of the dashboard and of the rules has been scraped');
	cmp_ok(scalar(keys %named), '>', 5, 'and not because there are none');
	is_deeply([ sort map { $_->{metric}{job} } @{ $ask->('query',
		query => 'idem_events_total{counter="key_mismatch", datname="shop"}')->{result} } ],
		[qw(idem-postgres-exporter idem-sql-exporter)], 'by the same name from both exporters');
	ok(until_true(sub { grep { $_->{labels}{alertname} eq 'IdemKeyMismatch' && $_->{state} eq 'firing' }
		@{ ($ask->('alerts') // {})->{alerts} // [] } }), 'the alert of mismatches fires');

	# The role loses its right: one exporter tells so, the other one has nothing to tell.
	$node->safe_psql('shop', 'REVOKE USAGE ON SCHEMA idem FROM idem_exporter');
	foreach my $query ('sql_exporter_last_scrape_failed{query="idem_health_severity", database="shop"} > 0',
		'absent(idem_health_severity{job="idem-postgres-exporter"})')
	{
		ok(until_true(sub { scalar @{ ($ask->('query', query => $query) // {})->{result} // [] } }), "Prometheus comes to see $query");
	}
}

done_testing();

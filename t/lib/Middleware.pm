# Runs a service of examples/middleware/ on a server of the test's own, and has it
# answer the draft's cases.
package Middleware;

use strict;
use warnings;

use Clients ();
use Exporter 'import';
use HttpCases;
use IO::Socket::INET;
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shops;
use Test::More;

our @EXPORT = qw(headers order shop_server serve test_middleware);

use constant LINES => 60;
use constant CLIENTS => 4;
use constant ORDERS => 15;

# The services that run, by process id, to end with the test.
my %running;
END { kill 'KILL', map { -$_ } keys %running }

# The lines of a source that say something: not those that are blank, a comment, an
# import or the end of a block.
sub code_lines
{
	my ($file) = @_;
	my $source = slurp_file($file) =~ s/^import \((.*?)^\)//msr;

	return scalar grep {
		/\w/ && !m{^\s*(?:\#|//|/?\*|"""[^"]*"""$|(?:import|from|require|package)\b|end$)}
	} split /\n/, $source;
}

sub start_service
{
	my ($command, $environment, $log) = @_;
	my $pid = fork() // die "fork: $!";

	if ($pid == 0)
	{
		setpgrp;
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>>', $log);
		open(STDERR, '>&', \*STDOUT);
		@ENV{ keys %$environment } = values %$environment;
		{ exec @$command }
		POSIX::_exit(127);
	}
	$running{$pid} = 1;
	wait_until(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $environment->{PORT}) })
	  or BAIL_OUT("the service does not listen: " . slurp_file($log));
	return $pid;
}

sub kill_service
{
	my ($pid) = @_;

	kill 'KILL', -$pid;
	waitpid $pid, 0;
	delete $running{$pid};
	return;
}

my $number = 0;

# A key that is new, and headers with it.
sub headers
{
	my (%more) = @_;

	return {
		'Content-Type' => 'application/json',
		Authorization => 'Bearer ada',
		'Idempotency-Key' => sprintf('"more-%d"', ++$number),
		%more };
}

sub order { return encode_json({ items => [ { sku => $_[0], quantity => $_[1] // 1 } ] }) }

# Sends until there is an answer that is not for now.
sub patient
{
	my @request = @_;
	my $answer;

	wait_until(sub {
		$answer = http_send(@request);
		return !($answer->{status} =~ /^(?:409|503)$/ && $answer->{headers}{'retry-after'} || $answer->{status} == 599);
	});
	return $answer;
}

# The status that is answered to headers that HTTP::Tiny would not send.
sub send_raw
{
	my ($self, $header) = @_;
	my ($port) = $self->{url} =~ /:(\d+)$/;
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 30) or die "no connection: $!";
	my $body = order('tea');

	print $socket join "\r\n", 'POST /orders HTTP/1.1', "Host: 127.0.0.1:$port", 'Content-Type: application/json',
	  'Content-Length: ' . length($body), 'Authorization: Bearer ada', 'Connection: close', $header, '', $body;
	my ($status) = (scalar(<$socket>) // '') =~ m{^HTTP/1.[01] (\d+)};
	return $status;
}

# What each middleware has to do beside the draft's cases.
sub more_cases
{
	my ($self) = @_;
	my ($url, $node) = @{$self}{qw(url node)};
	my $orders = sub { $node->safe_psql('shop', 'SELECT count(*) FROM orders') };
	my $before = $orders->();
	my $twice = sub {
		my ($name, $status, $headers, $body) = @_;
		my @answers = map { http_send('POST', "$url/orders", $headers, $body) } 1, 2;

		is("$answers[0]{status} $answers[1]{status}", "$status $status", "$name: $status, twice");
		is($answers[1]{content}, $answers[0]{content}, "$name: the same body");
		is($answers[1]{headers}{'idempotent-replayed'}, $status < 500 ? 'true' : undef, "$name: replayed or not");
		unlike("$answers[0]{content}", qr/DETAIL|Key \(|Failing row/, "$name: no details");
		return $answers[0];
	};

	# What the work raises is a refusal, and final, if its status is; its writes are undone.
	$twice->('an unknown product', 409, headers(), order('coffee'));
	$twice->('a check', 400, headers(), order('tea', 0));
	is($orders->(), $before, 'nothing was ordered');

	# What is no JSON is refused before there is a claim.  What the handler throws that is
	# no error of the database's frees the key for any request.
	my $headers = headers();
	is(http_send('POST', "$url/orders", $headers, 'items: 7')->{status}, 400, 'a body that is no JSON');
	my $status = $self->{no_object} // 500;
	$twice->('a body that is no object', $status, $headers, '7') if $status;
	is(http_send('POST', "$url/orders", $headers, order('tea'))->{status}, $status =~ /^4/ ? 422 : 201, 'and its key');

	# A JSON value may be spelled otherwise, other bytes may not.
	$headers = headers();
	is(http_send('POST', "$url/orders", $headers, '{"items":[{"sku":"tea","quantity":1}]}')->{status}, 201, 'JSON');
	is(http_send('POST', "$url/orders", $headers, '{"items": [ {"quantity": 1.0, "sku": "t\u0065a"} ] }')->{headers}{'idempotent-replayed'},
		'true', 'spelled otherwise');
	is(http_send('POST', "$url/orders", { %$headers, 'Content-Type' => 'text/plain' }, '{"items":[{"sku":"tea","quantity":1}]}')->{status},
		422, 'as text') if !$self->{last_header};

	# The same key, another target
	my $answer;
	$headers = headers();
	is(http_send('POST', "$url/orders?gift=1", $headers, order('tea'))->{status}, 201, 'a target with a query');
	is(http_send('POST', "$url/orders?gift=2", $headers, order('tea'))->{status}, 422, 'another one');
	$answer = http_send('POST', "$url/orders?gift=1", $headers, order('tea'));
	is($answer->{headers}{'idempotent-replayed'}, 'true', 'the first again')
	  or diag(explain($answer));

	# Two headers are no key, and bytes that are not ASCII are none.
	$answer = http_send('POST', "$url/orders", headers('Idempotency-Key' => [ '"more-a"', '"more-b"' ]), order('tea'));
	is($answer->{status}, $self->{last_header} ? 201 : 400, 'two headers');
	is(send_raw($self, "Idempotency-Key: \"more-\xe4\""), 400, 'bytes that are not ASCII');
	is(http_send('POST', "$url/orders", headers('Idempotency-Key' => '"' . 'x' x 255 . '"'), order('tea'))->{status}, 201, 'a key of 255 bytes');
	is(http_send('POST', "$url/orders", headers('Idempotency-Key' => '"' . 'x' x 256 . '"'), order('tea'))->{status}, 400, 'one of 256');

	# What needs no key passes.
	if ($self->{last_header})
	{
		my $count = $orders->();
		$answer = http_send('POST', "$url/orders", headers(), '[' . order('tea') . ',' . order('tea', 2) . ']');
		is($answer->{status}, 422, 'a list is two requests under one key');
		is($orders->(), $count, 'and nothing is done');
	}
	else
	{
		$answer = http_send('GET', "$url/.well-known/idempotency", {});
		is($answer->{status}, 200, 'the policy is published');
		is(decode_json($answer->{content})->{lifetime}, $node->safe_psql('shop', "LOAD 'idem'; SHOW idem.ttl"), 'and has the lifetime of keys');
	}
	return;
}

# Clients at once, each order sent until there is an answer and once more, while the server
# cuts connections after the commit, and is killed.
sub storm
{
	my ($self) = @_;
	my ($url, $node) = @{$self}{qw(url node)};
	my $before = $node->safe_psql('shop', 'SELECT count(*) FROM orders');
	my @pids;

	$node->append_conf('postgresql.conf', "idem.lose_ack = 0.3");
	$node->reload;
	pipe(my $out, my $in) or die "pipe: $!";
	foreach my $client (1 .. CLIENTS)
	{
		my $pid = fork() // die "fork: $!";
		if ($pid == 0)
		{
			foreach my $order (1 .. ORDERS)
			{
				my @request = ('POST', "$url/orders", headers('Idempotency-Key' => "\"storm-$client-$order\""), order('tea', $order));
				my ($first, $second) = map { patient(@request) } 1, 2;
				my $same = $first->{status} == 201 && $second->{status} == 201 && $first->{content} eq $second->{content}
				  && $second->{headers}{'idempotent-replayed'};

				syswrite $in, ($same ? 'ok' : "$first->{status} $first->{content} $second->{status} $second->{content}") . "\n";
			}
			POSIX::_exit(0);
		}
		push @pids, $pid;
	}
	close $in;
	my %said;
	while (my $line = <$out>)
	{
		chomp $line;
		$said{$line}++;
		$node->stop('immediate'), $node->start if $. == CLIENTS * ORDERS / 2;
		$self->{kill}->(), $self->{start}->() if $. == CLIENTS * ORDERS / 4;
	}
	waitpid $_, 0 foreach @pids;
	is_deeply(\%said, { ok => CLIENTS * ORDERS }, 'each order gets the same answer twice');
	is($node->safe_psql('shop', 'SELECT count(*) FROM orders') - $before, CLIENTS * ORDERS, 'and is placed once');
	$node->append_conf('postgresql.conf', "idem.lose_ack = 0");
	$node->reload;
	return;
}

# A server with the database of the shop, and a role that may only place orders.
sub shop_server
{
	my @files = ("$middleware/shop.sql", @_);
	my $node = PostgreSQL::Test::Cluster->new('shop');

	$node->init;
	# not all drivers can use the socket of a server
	$node->append_conf('postgresql.conf',
		"shared_preload_libraries = 'idem'\nlisten_addresses = '127.0.0.1'\nidem.purge_naptime = '1h'\n");
	$node->start;
	$node->safe_psql('postgres', 'CREATE DATABASE shop');
	$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d',
			$node->connstr('shop'), map { ('-f', $_) } @files ], 'there is a shop');
	$node->safe_psql('shop', q{
		CREATE ROLE seller LOGIN;
		GRANT SELECT ON products TO seller;
		GRANT SELECT, INSERT ON orders, order_items TO seller});
	return $node;
}

# serve(NODE, SHOP): makes and starts a service; what is known of it then.
sub serve
{
	my ($node, $shop) = @_;

	if ($shop->{build})
	{
		my ($out, $err) = run_command($shop->{build});
		is($?, 0, "$shop->{name} is built") or BAIL_OUT("$out\n$err");
	}
	$node->safe_psql('shop', $shop->{grant}) if $shop->{grant};
	my %environment = (PGHOST => '127.0.0.1', PGPORT => $node->port, PGUSER => 'seller', PGDATABASE => 'shop',
		PORT => PostgreSQL::Test::Cluster::get_free_port());
	my $log = Clients::place() . '/service.log';
	my $pid = start_service($shop->{command}, \%environment, $log);
	return {
		%$shop,
		url => "http://127.0.0.1:$environment{PORT}",
		node => $node,
		dbname => 'shop',
		log => $log,
		kill => sub { kill_service($pid) },
		start => sub { $pid = start_service($shop->{command}, \%environment, $log) } };
}

# test_middleware(SHOP): a service that answers the cases, or is skipped.
sub test_middleware
{
	my ($shop) = @_;

	plan skip_all => $shop->{lacking} if defined $shop->{lacking};
	if ($shop->{source})
	{
		my $lines = code_lines("$middleware/$shop->{source}");
		note("$shop->{source}: $lines lines");
		cmp_ok($lines, '<=', LINES, LINES . ' lines of code at most');
	}
	my $node = shop_server(@{ $shop->{sql} // [] });
	my $service = serve($node, $shop);

	http_cases(%$service);
	subtest 'more cases' => sub { more_cases($service) };
	subtest 'a storm' => sub { storm($service) };

	$service->{kill}->();
	$node->stop;
	note(slurp_file($service->{log}));
	done_testing();
	return;
}

1;

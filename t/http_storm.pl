# Eight clients send the same orders and payments, while the line to the service is cut,
# the server loses acknowledgements, and service, provider and server are killed: one
# order and one charge for each, and every answer to a key is the same.
#
# IDEM_HTTP_ORDERS says how many orders, IDEM_HTTP_SEED repeats the random choices of clients.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use lib "$FindBin::RealBin/lib";
use HttpCases;
use OrdersService;

use constant CLIENTS => 8;

my $lacking = OrdersService::lacking_parts();
plan skip_all => $lacking if defined $lacking;

my $orders = $ENV{IDEM_HTTP_ORDERS} // 50;
my $seed = $ENV{IDEM_HTTP_SEED} // time ^ $$;
my $patience = 60 + $orders;    # seconds for one answer, while everything is killed now and then
my $end = time + 120 + 2 * $orders;
note "IDEM_HTTP_ORDERS=$orders IDEM_HTTP_SEED=$seed";

my $node = PostgreSQL::Test::Cluster->new('storm');
$node->init;
# the library from the start, so that every session may lose its acknowledgements
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'idem'\nmax_connections = 60\nrestart_after_crash = on");
$node->start;
my $service = OrdersService->new($node, lease => '1 second', cut => 0.05, seed => $seed,
	sql => 'ALTER ROLE shop SET idem.lose_ack = 0.1');
my $dir = PostgreSQL::Test::Utils::tempdir();

# One client: has each order placed and paid, in an order of its own.  Notes a line for
# each answer: the key, and all of the answer that has to be the same.  Sends again what
# got none, and now and then what got one.
sub client
{
	my ($number) = @_;
	my %tally = (answers => 0, replays => 0, cut => 0, busy => 0, unavailable => 0);

	srand($seed + $number);
	open(my $notes, '>', "$dir/client-$number") or die "$!";

	# an answer that is none of the moment
	my $answer = sub {
		my ($path, $key, $body) = @_;
		my $until = time + $patience;

		while (1)
		{
			die "no answer to $key in time" if time > $until;
			my $got = http_send('POST', $service->url . $path,
				{ 'Authorization' => 'Bearer ada', 'Idempotency-Key' => "\"$key\"", 'Content-Type' => 'application/json' }, $body);
			if ($got->{status} =~ /^(?:599|503|409)$/)
			{
				die "$got->{status} without Retry-After: $got->{content}" if $got->{status} != 599 && !$got->{headers}{'retry-after'};
				$tally{ { 599 => 'cut', 503 => 'unavailable', 409 => 'busy' }->{ $got->{status} } }++;
				# more often than it was asked to
				sleep rand 0.2;
				next;
			}
			die "$key: $got->{status} $got->{content}" if $got->{status} != 201;
			$tally{answers}++;
			$tally{replays}++ if ($got->{headers}{'idempotent-replayed'} // '') eq 'true';
			print $notes join("\t", $key, $got->{status}, (map { $got->{headers}{$_} // '' } qw(content-type location etag)),
				$got->{content}), "\n";
			return $got;
		}
	};
	my $order = sub { return encode_json({ items => [ { sku => $_[0] % 2 ? 'tea' : 'cup', quantity => 1 + $_[0] % 5 } ] }) };
	# half of them go one way, half the other
	my @numbers = $number % 2 ? (1 .. $orders) : reverse(1 .. $orders);
	foreach my $n (@numbers)
	{
		my $place = $order->($n);
		my $id = decode_json($answer->('/orders', "order-$n", $place)->{content})->{id};
		$answer->('/orders', "order-$n", $place) if rand() < 0.2;
		my $pay = encode_json({ order_id => $id, card => 'tok_visa' });
		$answer->('/payments', "pay-$n", $pay);
		$answer->('/payments', "pay-$n", $pay) if rand() < 0.2;
	}
	# and asks on until everything has been killed once
	until (-e "$dir/enough")
	{
		my $n = 1 + int rand $orders;
		$answer->('/orders', "order-$n", $order->($n));
	}
	close $notes;
	open(my $out, '>', "$dir/tally-$number") or die "$!";
	print $out encode_json(\%tally);
	close $out;
}

my %client;
foreach my $number (1 .. CLIENTS)
{
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		eval { client($number); 1 } and POSIX::_exit(0);
		open(my $out, '>', "$dir/fault-$number");
		print $out $@;
		close $out;
		POSIX::_exit(1);
	}
	$client{$pid} = $number;
}

# Something is killed, and started again, again and again.
my %killed = map { $_ => 0 } qw(service provider backend server);
my %ended;

sub clients_left
{
	foreach my $pid (keys %client)
	{
		$ended{$pid} = $? if !exists $ended{$pid} && waitpid($pid, POSIX::WNOHANG()) == $pid;
	}
	return CLIENTS - keys %ended;
}

sub answers { return -s "$dir/client-1" // 0 }

# The server, once the last session of the one before is gone.
sub start_server
{
	wait_until(sub { $node->start(fail_ok => 1) }) or BAIL_OUT('the server does not start');
}

# bytes of answers to a client between two kills: some eighty kills at the most, or more where there are more orders
my $pace = $orders < 75 ? 8 * $orders : 600;
my $start = time;
my @turn = qw(service backend provider server service);
for (my $n = 0; clients_left() && time < $end; $n++)
{
	my $what = $turn[ $n % @turn ];

	if ($what eq 'service')
	{
		my $name = $n % 2 ? 'first' : 'second';
		$service->kill_process($name);
		$service->start($name);
	}
	elsif ($what eq 'provider')
	{
		$service->kill_process('provider');
		$service->start('provider');
	}
	elsif ($what eq 'backend')
	{
		# the server takes all sessions down with it, and recovers
		my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE usename = 'shop' LIMIT 1});
		kill 'KILL', $pid if $pid =~ /^\d+$/;
		wait_until(sub { $node->psql('postgres', 'SELECT 1') == 0 }) or BAIL_OUT('the server does not recover');
	}
	else
	{
		my ($pid) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
		$node->kill9;
		wait_until(sub { !kill 0, $pid }) or BAIL_OUT('the server does not end');
		start_server();
	}
	$killed{$what}++;
	append_to_file("$dir/enough", "$what\n") unless grep { !$_ } values %killed;
	# until some more answers are there
	my $size = answers();
	my $until = time + 3;
	sleep 0.05 while clients_left() && answers() < $size + $pace && time < $until;
}

ok(!clients_left(), 'all clients have come to their end in time');
kill 'KILL', grep { !exists $ended{$_} } keys %client;
foreach my $file (glob "$dir/fault-*")
{
	fail("a client gave up: " . slurp_file($file));
}
is(scalar(grep { $_ != 0 } values %ended), 0, 'none with a fault');

my (%tally, %answers, %count);
foreach my $number (1 .. CLIENTS)
{
	my $tally = -e "$dir/tally-$number" ? decode_json(slurp_file("$dir/tally-$number")) : {};
	$tally{$_} += $tally->{$_} foreach keys %$tally;
	foreach my $line (split /\n/, slurp_file("$dir/client-$number"))
	{
		my ($key, $answer) = split /\t/, $line, 2;
		$answers{$key}{$answer}++;
		$count{$key}++;
	}
}
my $lost = () = slurp_file($node->logfile) =~ /idem loses the acknowledgement/g;
my $charges = () = $service->charges;

note sprintf 'in %.0f s: %d answers to %d keys, %d of them replays; %d cut, %d told to wait, %d unavailable; '
  . '%d acknowledgements lost; killed: %s', time - $start, $tally{answers} // 0, scalar keys %answers, $tally{replays} // 0,
  $tally{cut} // 0, $tally{busy} // 0, $tally{unavailable} // 0, $lost, join(', ', map { "$killed{$_} $_" } sort keys %killed);

sub value { return $node->safe_psql('shop', $_[0]) }

is(scalar(keys %answers), 2 * $orders, 'each order and each payment was answered');
is(scalar(grep { $count{$_} < CLIENTS } keys %count), 0, 'to each client');
is(scalar(grep { keys %{ $answers{$_} } != 1 } keys %answers), 0, 'always the same, byte for byte')
  or diag(join "\n", map { keys %{ $answers{$_} } } (grep { keys %{ $answers{$_} } != 1 } keys %answers)[0]);
is(value('SELECT count(*) FROM orders'), $orders, 'orders');
is(value('SELECT count(*) FROM order_item'), $orders, 'items');
is(value('SELECT 3000000 - sum(stock) FROM product'), value('SELECT sum(quantity) FROM order_item'), 'what was taken out of stock');
is($charges, $orders, 'charges');
is(value('SELECT count(DISTINCT charge) FROM payment WHERE paid_at IS NOT NULL'), $orders, 'payments');
is(value('SELECT sum(amount) FROM payment'), value('SELECT sum(total) FROM orders'), 'their sum');
cmp_ok($tally{replays} // 0, '>=', (CLIENTS - 1) * $orders, 'replays');
cmp_ok($tally{cut} // 0, '>', 0, 'lines were cut');
cmp_ok($lost, '>', 0, 'acknowledgements were lost');
cmp_ok($killed{$_}, '>', 0, "kill -9: $_") foreach sort keys %killed;
unlike(slurp_file($service->{log}), qr/Exception in ASGI|^ERROR: +(?!08|57)/m, 'no error that was not foreseen');

done_testing();

# Exactly once under fire: clients that retry until they are answered, while
# backends are terminated, connections are cut before the answer is read, and
# the server crashes.  At the end every request has had its effect once, all
# answers to one key are equal, and nothing acknowledged was lost.

use strict;
use warnings;

use IO::Handle;
use IPC::Open2;
use List::Util qw(shuffle);
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant {
	CLIENTS => 8,
	REQUESTS => 1000,
	ORDERS => 100,
	CRASHES => 3,
	TERMINATE_EVERY => 80,    # acknowledgements
	CUT_ONE_IN => 60,         # lines of answers, before which a client hangs up
	DEADLINE => 300,          # seconds, for a whole storm
};

my $parent = $$;    # clients end with the test that started them
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "restart_after_crash = on\n");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION idem;
CREATE TABLE request_row (id int PRIMARY KEY, amount numeric NOT NULL,
	serial bigint GENERATED ALWAYS AS IDENTITY);
CREATE TABLE effect (id int, command text);
CREATE FUNCTION note_effect() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO effect VALUES (new.id, tg_op);
	RETURN NULL;
END $$;
CREATE TRIGGER effect AFTER INSERT OR UPDATE ON request_row
	FOR EACH ROW EXECUTE FUNCTION note_effect();

CREATE TABLE orders (id int PRIMARY KEY,
	status order_status NOT NULL DEFAULT 'PENDING',
	version bigint NOT NULL DEFAULT 1);
SELECT idem_attach('orders', 'order');
CREATE TABLE step (id int, status order_status);
CREATE FUNCTION note_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO step VALUES (new.id, new.status);
	RETURN NULL;
END $$;
CREATE TRIGGER step AFTER UPDATE ON orders
	FOR EACH ROW EXECUTE FUNCTION note_step();
SQL
$node->safe_psql('postgres',
	'INSERT INTO orders SELECT i FROM generate_series(1, ' . ORDERS . ') AS i');

# One connection of a client: a psql that ends when its connection is lost.
sub connect_psql
{
	my ($name) = @_;
	my $pid = open2(my $out, my $in,
		'sh', '-c', 'exec "$0" "$@" 2>/dev/null',
		$node->installed_command('psql'), '-XAtq',
		'-d', $node->connstr('postgres') . " application_name=$name");
	$in->autoflush(1);
	return { pid => $pid, in => $in, out => $out };
}

sub disconnect_psql
{
	my ($connection) = @_;

	kill 'KILL', $connection->{pid};
	close $connection->{in};
	close $connection->{out};
	waitpid $connection->{pid}, 0;
}

# Sends a statement until it is answered.  Returns the row, or the SQLSTATE of
# an error that retrying does not help against.
sub send_until_answered
{
	my ($connection, $sql) = @_;

	while (1)
	{
		my ($row, $state);

		POSIX::_exit(1) if getppid() != $parent;
		$$connection //= connect_psql('client');
		if (print {$$connection->{in}} "$sql;\n\\echo SQLSTATE :SQLSTATE\n")
		{
			my $out = $$connection->{out};

			while (rand() > 1 / CUT_ONE_IN && defined(my $line = <$out>))
			{
				chomp $line;
				($state) = $line =~ /^SQLSTATE (.*)/ and last;
				$row = $line;
			}
		}
		if (($state // '') eq '')
		{
			disconnect_psql($$connection);
			undef $$connection;
		}
		elsif ($state eq '00000')
		{
			return $row;
		}
		elsif ($state !~ /^(40|57P)/)
		{
			return $state;
		}
	}
}

# A client process: sends its statements and tells the parent, through a pipe,
# what it was answered.
sub run_client
{
	my ($number, $pipe, $statements) = @_;
	my $connection;

	srand($number);
	$SIG{PIPE} = 'IGNORE';
	foreach my $statement ($statements->())
	{
		my ($key, $sql) = @$statement;
		my $answer = send_until_answered(\$connection, $sql);

		# shorter than PIPE_BUF, so lines of several clients do not mix
		syswrite $pipe, substr("$key\t$answer", 0, 500) . "\n";
	}
	disconnect_psql($connection) if $connection;
	POSIX::_exit(0);
}

# Lets the clients loose, and terminates and crashes at their progress.
# Returns the answers by key, as lists.
sub storm
{
	my ($expected, $check_acknowledged, $statements) = @_;
	my (%answers, @clients, $count, $crashes, $terminated);

	pipe(my $read, my $write) or die "pipe: $!";
	foreach my $number (1 .. CLIENTS)
	{
		my $pid = fork() // die "fork: $!";

		run_client($number, $write, $statements) if $pid == 0;
		push @clients, $pid;
	}
	close $write;

	local $SIG{ALRM} = sub { die 'the storm did not end' };
	alarm DEADLINE;
	while (my $line = <$read>)
	{
		chomp $line;
		my ($key, $answer) = split /\t/, $line, 2;
		push @{ $answers{$key} }, $answer;
		$count++;

		if ($count % int($expected / (CRASHES + 1)) == 0 && $crashes++ < CRASHES)
		{
			my $victim = connect_psql('victim');
			my @acknowledged = keys %answers;
			my $log_end = -s $node->logfile;

			print { $victim->{in} } "SELECT pg_backend_pid();\n";
			ok(kill('KILL', scalar readline $victim->{out}),
				"backend killed at $count answers");
			ok($node->wait_for_log(
					qr/all server processes terminated.*ready to accept connections/s,
					$log_end),
				'the server recovers');
			is($check_acknowledged->(@acknowledged), 0,
				'all ' . @acknowledged . ' acknowledged are there');
			disconnect_psql($victim);
		}
		elsif ($count % TERMINATE_EVERY == 0)
		{
			$node->safe_psql('postgres',
				"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'client' ORDER BY random() LIMIT 1"
			);
			$terminated++;
		}
	}
	alarm 0;
	waitpid $_, 0 foreach @clients;
	note "$count answers, $terminated backends terminated";
	is($count, $expected, 'every request of every client was answered');
	return %answers;
}

sub all_equal
{
	my ($answers) = @_;

	return !grep { $_ ne $answers->[0] } @$answers;
}

sub key_list
{
	return join(', ', map { "('$_')" } @_);
}

# Upserts: REQUESTS requests, each sent by every client.
my %answers = storm(
	CLIENTS * REQUESTS,
	sub {
		my $keys = key_list(@_);

		return $node->safe_psql('postgres', <<"SQL");
SELECT count(*) FROM (VALUES $keys) AS acknowledged (key)
WHERE NOT EXISTS (SELECT FROM idem_key AS k WHERE k.key = acknowledged.key)
	OR NOT EXISTS (SELECT FROM request_row WHERE id = acknowledged.key::int)
SQL
	},
	sub {
		return map {
			[
				$_,
				"SELECT outcome, result FROM idem_upsert('$_', 'request_row', '{\"id\": $_, \"amount\": $_.50}')"
			]
		} shuffle(1 .. REQUESTS);
	});

is(scalar(keys %answers), REQUESTS, 'every key was answered');
is(scalar(grep { !all_equal($_) } values %answers),
	0, 'all answers to one key are equal');
is(scalar(grep { $_->[0] !~ /^inserted\|/ } values %answers),
	0, 'the answer is that of the first time');
is( $node->safe_psql('postgres',
		'SELECT count(*), count(DISTINCT id), sum(amount - id) FROM request_row'),
	REQUESTS . '|' . REQUESTS . '|' . REQUESTS / 2 . '.00',
	'one row a request');
is( $node->safe_psql('postgres',
		'SELECT count(*), count(DISTINCT id), max(command) FROM effect'),
	REQUESTS . '|' . REQUESTS . '|INSERT',
	'each was written once, and never updated');

# Transitions: every client walks every order through its life, the even ones
# with a key for each step, the odd ones with the version they expect.
my @states = qw(PROCESSING SHIPPED DELIVERED);

%answers = storm(
	CLIENTS * ORDERS * @states,
	sub {
		my $keys = key_list(@_);

		return $node->safe_psql('postgres', <<"SQL");
SELECT count(*) FROM (VALUES $keys) AS acknowledged (key),
	split_part(key, ':', 1) AS order_id, split_part(key, ':', 2) AS state
WHERE NOT EXISTS (SELECT FROM step
	WHERE id = order_id::int AND status::text = state)
SQL
	},
	sub {
		return map {
			my $id = $_;

			map {
				my $expect = $id % 2 == 0 ? "key => '$id:$states[$_]'" :
				  'expected_version => ' . ($_ + 1);

				[
					"$id:$states[$_]",
					"SELECT outcome, from_state, to_state, version FROM order_transition('orders', $id, '$states[$_]', $expect)"
				]
			} 0 .. $#states;
		} shuffle(1 .. ORDERS);
	});

my @keyed = grep { $_ % 2 == 0 } 1 .. ORDERS;
my $unequal = 0;
my $untrue = 0;
my $twice = 0;
foreach my $id (1 .. ORDERS)
{
	foreach my $step (0 .. $#states)
	{
		my $got = $answers{"$id:$states[$step]"};
		my $from = $step == 0 ? 'PENDING' : $states[ $step - 1 ];
		my $applied = "applied|$from|$states[$step]|" . ($step + 2);

		if ($id % 2 == 0)
		{
			$unequal++ unless all_equal($got) && $got->[0] eq $applied;
			next;
		}
		# without a key a retry learns that it is done, or that it is late
		$twice++ if grep({ $_ eq $applied } @$got) > 1;
		$untrue++
		  if grep { $_ ne $applied && !/^noop\|/ && $_ ne 'ID203' } @$got;
	}
}
is($unequal, 0, 'with a key, every answer is that of the first time');
is($twice, 0, 'without a key, no step is told to be applied twice');
is($untrue, 0, 'without a key, a retry is told so or refused');
is( $node->safe_psql('postgres',
		'SELECT status, version, count(*) FROM orders GROUP BY 1, 2'),
	'DELIVERED|4|' . ORDERS,
	'versions count exactly the applied transitions');
is( $node->safe_psql('postgres',
		'SELECT count(*), count(DISTINCT (id, status)) FROM step'),
	3 * ORDERS . '|' . 3 * ORDERS,
	'each transition was made once');

$node->stop;
done_testing();

# A storm of clients: processes that send requests until they are answered,
# while backends are terminated, connections are cut before the answer is read,
# and the server crashes.

package Storm;

use strict;
use warnings;

use Exporter 'import';
use IO::Handle;
use IPC::Open2;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(CLIENTS storm crowd start_again all_equal key_list);

use constant {
	CLIENTS => 8,
	CRASHES => 3,
	TERMINATE_EVERY => 80,    # acknowledgements
	CUT_ONE_IN => 60,         # lines of answers, before which a client hangs up
	DEADLINE => 300,          # seconds, for a whole storm
	RETRIED => qr/^(40|57P)/, # states after which a client sends a statement again
};

my $parent = $$;    # clients end with the test that started them

# One connection of a client: a psql that ends when its connection is lost.
sub connect_psql
{
	my ($node, $name) = @_;
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
	my ($node, $connection, $sql, $retried) = @_;

	while (1)
	{
		my ($row, $state);

		POSIX::_exit(1) if getppid() != $parent;
		$$connection //= connect_psql($node, 'client');
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
			# as clients do, and so that a server has time to start
			select undef, undef, undef, 0.02;
		}
		elsif ($state eq '00000')
		{
			return $row;
		}
		elsif ($state !~ $retried)
		{
			return $state;
		}
	}
}

# A client process: sends its statements and tells the parent, through a pipe,
# what it was answered.
sub run_client
{
	my ($node, $number, $pipe, $statements, $retried) = @_;
	my $connection;

	srand($number);
	$SIG{PIPE} = 'IGNORE';
	foreach my $statement ($statements->())
	{
		my ($key, $sql) = @$statement;
		my $answer = send_until_answered($node, \$connection, $sql, $retried);

		# shorter than PIPE_BUF, so lines of several clients do not mix
		syswrite $pipe, substr("$key\t$answer", 0, 500) . "\n";
	}
	disconnect_psql($connection) if $connection;
	POSIX::_exit(0);
}

# Lets the clients loose on what has a connstr() and an installed_command(), and calls
# progress with each key that is answered, with the answer, with how many there are by
# now, and with all answers by key, as lists, which it returns in the end.
#
# statements returns what one client sends, as pairs of a key and a statement; retried
# has the states after which it sends that again.
sub crowd
{
	my ($node, $progress, $statements, $retried) = @_;
	my (%answers, @clients, $count);

	pipe(my $read, my $write) or die "pipe: $!";
	foreach my $number (1 .. CLIENTS)
	{
		my $pid = fork() // die "fork: $!";

		if ($pid == 0)
		{
			# or nobody would learn that the parent reads no more
			close $read;
			run_client($node, $number, $write, $statements, $retried // RETRIED);
		}
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
		$progress->($key, $answer, ++$count, \%answers);
	}
	alarm 0;
	waitpid $_, 0 foreach @clients;
	return %answers;
}

# Starts a node that has been killed: its processes end by themselves, and not at once.
sub start_again
{
	my ($node) = @_;
	my $pid_file = $node->data_dir . '/postmaster.pid';
	my ($killed) = -f $pid_file ? slurp_file($pid_file) =~ /^(\d+)/ : ();

	foreach my $attempt (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		if (!defined $killed || !kill 0, $killed)
		{
			return if $node->start(fail_ok => 1);
			$node->stop('fast', fail_ok => 1);
		}
		select undef, undef, undef, 0.1;
	}
	die $node->name . ' does not start';
}

# Lets the clients loose on a node, and terminates and crashes at their progress.
#
# statements returns what one client sends, as pairs of a key and a statement,
# in all expected many; check_acknowledged counts those of the keys given to it
# whose effect is not there.  Returns the answers by key, as lists.
sub storm
{
	my ($node, $expected, $check_acknowledged, $statements) = @_;
	my ($all, $crashes, $terminated) = (0, 0, 0);

	my %answers = crowd($node, sub {
		my ($key, $answer, $count, $answers) = @_;

		$all = $count;
		if ($count % int($expected / (CRASHES + 1)) == 0 && $crashes++ < CRASHES)
		{
			my $victim = connect_psql($node, 'victim');
			my @acknowledged = keys %$answers;
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
	}, $statements);
	note "$all answers, $terminated backends terminated";
	is($all, $expected, 'every request of every client was answered');
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

1;

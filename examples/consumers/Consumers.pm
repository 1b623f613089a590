# Puts an example to the test: several of its consumers, killed and started again
# until all messages are booked, and then the count of what they have booked.
#
# A consumer tells on standard output what befalls it: "delivered ID", followed by
# 1 if the broker says that it has delivered it before, "booked" after the
# commit, "idle" when there has been no message for a while, "paused" when it stops
# itself, and "fenced" when the database has refused it.

package Consumers;

use strict;
use warnings;

use Exporter 'import';
use File::Basename;
use File::Spec;
use IO::Select;
use IO::Socket::INET;
use POSIX qw(:sys_wait_h);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw($place need python start_database background await published
  rehearse);

use constant {
	MESSAGES => 10_000,
	REDELIVERED => 1_000,    # at least
	CONSUMERS => 4,
	PATIENCE => 15,          # seconds, for another to get what a paused one holds
	DEADLINE => 240,         # seconds, for all of it
};

# by its whole name: RabbitMQ compares it with one that it has made whole
our $place = File::Spec->rel2abs(PostgreSQL::Test::Utils::tempdir());
my $here = dirname(__FILE__);
my ($node, @background);
my %running;    # consumers by process id
my %seen;       # messages delivered so far, to which consumer last
my %count = (deliveries => 0, redelivered => 0);    # what has happened
my $last_delivery;

# Whatever the end is, nothing goes on running.
$SIG{$_} = sub { exit 1 }
  foreach qw(HUP INT TERM);

END
{
	my $status = $?;

	kill 'KILL', @background, keys %running;
	waitpid $_, 0 foreach @background, keys %running;
	$? = $status;
}

# need PACKAGE => FOUND, ...: goes on if all are found.  The packages are
# Debian's; where it has no such package there is nothing to test.
sub need
{
	my (@packages) = @_;
	my @missing;

	while (my ($package, $found) = splice(@packages, 0, 2))
	{
		push @missing, $package unless $found;
	}
	return unless @missing;
	foreach my $package (@missing)
	{
		plan skip_all => "there is no package $package here"
		  if qx(apt-cache madison libc6 2>/dev/null) ne ''
		  && qx(apt-cache madison $package 2>/dev/null) eq '';
	}
	BAIL_OUT("please install, as root: @missing (the names are those of Debian's packages)");
}

# The Python that has these modules, if any.
sub python
{
	my $modules = join(', ', @_);

	foreach my $python ('python3', '/usr/bin/python3')
	{
		return $python if system("$python -c 'import $modules' 2>/dev/null") == 0;
	}
	return;
}

sub start_database
{
	$node = PostgreSQL::Test::Cluster->new('consumers');
	$node->init;
	$node->start;
	$node->safe_psql('postgres', slurp_file("$here/payments.sql"));
	@ENV{qw(PGHOST PGPORT PGDATABASE)} = ($node->host, $node->port, 'postgres');
	# strings, whatever the locale, where psycopg would give bytes
	$ENV{PGCLIENTENCODING} = 'UTF8';
}

# A process with additions to the environment, and its standard output here.
sub launch
{
	my ($output, $environment, @command) = @_;
	my $pid = fork() // die "fork: $!";

	return $pid if $pid;
	@ENV{ keys %$environment } = values %$environment;
	open(STDOUT, '>&', $output) && exec(@command);
	POSIX::_exit(127);
}

# Starts a process that ends with the test.  Returns the file that it writes to.
sub background
{
	my ($environment, @command) = @_;
	my $file = "$place/output" . @background;

	open(my $output, '>', $file) or die "$file: $!";
	push @background, launch($output, $environment, @command);
	return $file;
}

# Waits for something to be true, and returns it.
sub await
{
	my ($what, $condition) = @_;

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $answer = $condition->();

		return $answer if $answer;
		die "$what has ended" if grep { waitpid($_, WNOHANG) > 0 } @background;
		select(undef, undef, undef, 0.1);
	}
	die "waited in vain for $what";
}

# Has all the messages published, by a command to which their number is added.
sub published
{
	my ($out, $err) = run_command([ @_, MESSAGES ]);

	is($out, MESSAGES . ' published', MESSAGES . ' messages are published') or diag($err);
}

sub start_consumer
{
	my ($slot, $example) = @_;

	pipe(my $output, my $write) or die "pipe: $!";
	my $faults = effects() < MESSAGES ? $example->{faults}->($slot, \%count) : {};
	my $pid = launch($write, $faults, @{ $example->{command} });
	$running{$pid} = { pid => $pid, slot => $slot, output => $output, line => '' };
}

# What a consumer says.
sub hear
{
	my ($consumer, $line) = @_;

	if (my ($id, $again) = $line =~ /^delivered (\S+) ?([01]?)$/)
	{
		$again = exists $seen{$id} if $again eq '';
		$count{deliveries}++;
		$count{redelivered}++ if $again;
		$seen{$id} = $consumer->{pid};
		@$consumer{qw(holds idle)} = ($id, 0);
		$last_delivery = time;
		note(figures()) if $count{deliveries} % 2000 == 0;
	}
	elsif ($line eq 'booked')
	{
		$_->{robbed} = 1
		  foreach grep { $_->{paused} && $seen{ $_->{holds} } == $consumer->{pid} }
		  values %running;
	}
	elsif ($line =~ /^(idle|paused|fenced)$/)
	{
		$consumer->{$1} = 1;
	}
	else
	{
		die "not understood: $line";
	}
}

# Takes in what a consumer has said since.  False at the end of it.
sub listen_to
{
	my ($consumer) = @_;
	my $got = sysread($consumer->{output}, $consumer->{line}, 65536,
		length $consumer->{line});

	hear($consumer, $1) while $consumer->{line} =~ s/^(.*)\n//;
	return $got;
}

# Looks after a consumer as a supervisor does, and starts it again.
sub look_after
{
	my ($consumer, $example) = @_;

	if (waitpid($consumer->{pid}, WNOHANG) > 0)
	{
		my $status = $?;

		while (listen_to($consumer)) { }
		delete $running{ $consumer->{pid} };
		$count{
			# which it has been, even if it was struck while it ended
			  $consumer->{fenced} ? 'fenced'
			: $consumer->{struck} ? 'killed at any moment'
			: $status == 9        ? 'killed before acknowledging'
			: 'failed'
		}++;
		die 'consumers fail, see the log' if ($count{failed} // 0) > 5;
		start_consumer($consumer->{slot}, $example);
	}
	elsif ($consumer->{paused}
		&& ($consumer->{robbed} || time - $last_delivery > PATIENCE))
	{
		$count{'paused too long'}++ if $consumer->{robbed};
		kill 'CONT', $consumer->{pid};
		@$consumer{qw(paused robbed)} = (0, 0);
	}
}

# From outside, a consumer is struck at a moment that it knows nothing of.
sub strike
{
	my ($example) = @_;
	my @awake = grep { !$_->{paused} && !$_->{struck} } values %running;
	my $consumer = $awake[ rand @awake ] // return;

	if ($example->{pauses} && $consumer->{holds} && rand() < 1 / 4)
	{
		kill 'STOP', $consumer->{pid};
		$consumer->{paused} = 1;
	}
	else
	{
		$consumer->{struck} = 1;
		kill 'KILL', $consumer->{pid};
	}
}

# Is all done?  Then every consumer has been idle since the last delivery, for
# longer than the broker takes to deliver anything again.
sub settled
{
	my ($example) = @_;

	return 0 if time - $last_delivery <= $example->{settles};
	return 0 if grep { !$_->{idle} || $_->{paused} } values %running;
	return effects() >= MESSAGES || time - $last_delivery > 2 * PATIENCE;
}

# rehearse(command => [...], strikes => DELIVERIES, settles => SECONDS,
#	faults => sub {...})
#
# Lets the consumers have the messages, and checks what they have booked.  Until
# that is all, one of them is struck every so many deliveries, on average.  settles is how long the
# broker can take, at most, until it delivers again what a consumer held.  faults
# tells a consumer's environment, given which of them it is and the counts.
# Returns those.
sub rehearse
{
	my (%example) = @_;
	my $next_strike = $example{strikes};

	local $SIG{ALRM} = sub { die 'no end in sight: ' . figures() };
	alarm DEADLINE;
	$last_delivery = time;
	start_consumer($_, \%example) foreach 1 .. CONSUMERS;
	until (settled(\%example))
	{
		my %ready = map { $_ => 1 }
		  IO::Select->new(map { $_->{output} } values %running)->can_read(0.2);

		listen_to($_) foreach grep { $ready{ $_->{output} } } values %running;
		look_after($_, \%example) foreach values %running;
		if ($count{deliveries} >= $next_strike && effects() < MESSAGES)
		{
			strike(\%example);
			$next_strike = $count{deliveries} + rand(2 * $example{strikes});
		}
	}
	alarm 0;
	judge();
	return %count;
}

# Compares what was booked with what was published.
sub judge
{
	my $published = q{SELECT 'payment-' || n, n % 100, n + 0.25 FROM generate_series(1, }
	  . MESSAGES . ') AS n';
	my $booked = 'SELECT id, account, amount FROM payments';

	note(figures());
	is($node->safe_psql('postgres', "$published EXCEPT ALL $booked LIMIT 10"),
		'', 'every message has its effect');
	is($node->safe_psql('postgres', "$booked EXCEPT ALL $published LIMIT 10"),
		'', 'no message has more than one');
	is(effects(), MESSAGES, MESSAGES . ' effects');
	cmp_ok($count{redelivered}, '>=', REDELIVERED,
		'at least ' . REDELIVERED . ' messages were delivered again');
	cmp_ok($count{'killed before acknowledging'},
		'>', 0, 'consumers were killed between effect and acknowledgement');
	is($count{failed}, undef, 'no consumer failed of itself');
}

sub figures
{
	return join ', ', effects() . ' effects', map { "$count{$_} $_" } sort keys %count;
}

sub effects
{
	return $node->safe_psql('postgres', 'SELECT count(*) FROM payments');
}

1;

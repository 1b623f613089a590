# The processes of examples/orders-service, on a server of the test's own: the payment
# provider, two of the service, and the line to them.
package OrdersService;

use strict;
use warnings;

use File::Basename;
use File::Spec;
use FindBin;
use HTTP::Tiny;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

use lib dirname(__FILE__);
use Clients;
use HttpCases;

my $dir = File::Spec->rel2abs(dirname(__FILE__) . '/../../examples/orders-service');
my %running;    # by process id

# What is missing here, in words, or nothing.
sub lacking_parts
{
	my $python = python(qw(fastapi uvicorn psycopg psycopg_pool));

	return defined $python ? undef : "there are no python3-fastapi, uvicorn, python3-psycopg and python3-psycopg-pool";
}

# A database shop on the node, and all processes.  cut and seed are those of line.py; sql is
# run when the tables are there.
sub new
{
	my ($class, $node, %options) = @_;
	my $self = bless {
		node => $node, python => scalar python(qw(fastapi uvicorn psycopg psycopg_pool)),
		lease => '30 seconds', cut => 0, seed => 1, %options,
		journal => PostgreSQL::Test::Utils::tempdir() . '/charges.jsonl',
		log => "$PostgreSQL::Test::Utils::log_path/" . basename($0, '.pl') . '.service.log',
		ports => { map { $_ => PostgreSQL::Test::Cluster::get_free_port() } qw(provider first second line) },
	}, $class;

	$node->safe_psql('postgres', 'CREATE DATABASE shop');
	$node->safe_psql('shop', slurp_file("$dir/schema.sql") . ($self->{sql} // ''));
	$self->start($_) foreach qw(provider first second line);
	return $self;
}

sub url { return "http://127.0.0.1:$_[0]{ports}{$_[1] // 'line'}" }

sub command
{
	my ($self, $name) = @_;
	my $ports = $self->{ports};

	return ("$dir/provider.py", '--port', $ports->{provider}, '--journal', $self->{journal}) if $name eq 'provider';
	return ("$dir/line.py", '--listen', $ports->{line}, '--to', "$ports->{first},$ports->{second}",
		'--cut', $self->{cut}, '--seed', $self->{seed}) if $name eq 'line';
	return ('-m', 'uvicorn', '--app-dir', $dir, 'service:app', '--port', $ports->{$name}, '--no-access-log',
		'--log-level', 'warning');
}

# Starts a process, and waits until it listens.
sub start
{
	my ($self, $name) = @_;
	my $node = $self->{node};

	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		$ENV{ORDERS_DATABASE} = 'dbname=shop user=shop host=' . $node->host . ' port=' . $node->port;
		$ENV{ORDERS_PROVIDER} = $self->url('provider');
		$ENV{ORDERS_LEASE} = $self->{lease};
		$ENV{PYTHONDONTWRITEBYTECODE} = 1;
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>>', $self->{log});
		open(STDERR, '>>', $self->{log});
		exec($self->{python}, $self->command($name)) or POSIX::_exit(127);
	}
	$running{$pid} = 1;
	$self->{pid}{$name} = $pid;
	wait_until(sub {
		my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{ports}{$name});
		return defined $socket;
	}) or die "$name does not listen: " . slurp_file($self->{log});
}

# kill -9.
sub kill_process
{
	my ($self, $name) = @_;
	my $pid = $self->{pid}{$name};

	kill 'KILL', $pid;
	waitpid $pid, 0;
	delete $running{$pid};
}

# What the provider has charged: its journal's whole lines.
sub charges
{
	my ($self) = @_;

	return grep { /\n\z/ } split /^/, slurp_file($self->{journal});
}

sub stop
{
	my $status = $?;
	foreach my $pid (keys %running)
	{
		kill 'KILL', $pid;
		waitpid $pid, 0;
	}
	%running = ();
	$? = $status;
}

END { stop() }

1;

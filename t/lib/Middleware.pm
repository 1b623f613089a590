# Runs a service of examples/middleware/ on a server of the test's own, and has it
# answer the draft's cases.
package Middleware;

use strict;
use warnings;

use Clients ();
use Exporter 'import';
use File::Basename;
use File::Spec;
use HttpCases;
use IO::Socket::INET;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw($middleware test_middleware);

use constant LINES => 60;

our $middleware = File::Spec->rel2abs(dirname(__FILE__) . '/../../examples/middleware');

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
	my ($command, $port, $log) = @_;
	my $pid = fork() // die "fork: $!";

	if ($pid == 0)
	{
		setpgrp;
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>>', $log);
		open(STDERR, '>&', \*STDOUT);
		$ENV{PORT} = $port;
		{ exec @$command }
		POSIX::_exit(127);
	}
	$running{$pid} = 1;
	wait_until(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) })
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

# test_middleware(OPTIONS): a service that answers the cases, or is skipped.
#   source   the file that has the middleware, if it is a short one
#   sql      files for its database, after shop.sql
#   unlike   what its refusals are not, of what the cases expect: a list
#   lacking  what the service lacks here, if anything
#   build    a command that makes it, if it has to be made
#   command  the command that runs it
sub test_middleware
{
	my (%service) = @_;

	plan skip_all => $service{lacking} if defined $service{lacking};
	if ($service{source})
	{
		my $lines = code_lines("$middleware/$service{source}");
		note("$service{source}: $lines lines");
		cmp_ok($lines, '<=', LINES, LINES . ' lines of code at most');
	}
	if ($service{build})
	{
		my ($out, $err) = run_command($service{build});
		is($?, 0, 'is built') or BAIL_OUT("$out\n$err");
	}
	my $node = PostgreSQL::Test::Cluster->new('shop');
	$node->init;
	# not all drivers can use the socket of a server
	$node->append_conf('postgresql.conf',
		"shared_preload_libraries = 'idem'\nlisten_addresses = '127.0.0.1'\nidem.purge_naptime = '1h'\n");
	$node->start;
	$node->safe_psql('postgres', 'CREATE DATABASE shop');
	$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d',
			$node->connstr('shop'), map { ('-f', $_) } "$middleware/shop.sql", @{ $service{sql} // [] } ], 'there is a shop');

	local @ENV{qw(PGHOST PGPORT PGUSER PGDATABASE)} =
	  ('127.0.0.1', $node->port, $node->safe_psql('postgres', 'SELECT current_user'), 'shop');
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $log = Clients::place() . '/service.log';
	my $pid = start_service($service{command}, $port, $log);
	my $url = "http://127.0.0.1:$port";
	http_cases(
		url => $url,
		node => $node,
		dbname => 'shop',
		unlike => $service{unlike},
		kill => sub { kill_service($pid) },
		start => sub { $pid = start_service($service{command}, $port, $log) });

	kill_service($pid);
	$node->stop;
	note(slurp_file($log));
	done_testing();
	return;
}

1;

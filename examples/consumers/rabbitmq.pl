# RabbitMQ: consumers that book payments in batches, by their ids.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Consumers;
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use Test::More;

# Debian's wrapper of this wants to be run by the package's own user.
my $server = '/usr/lib/rabbitmq/bin/rabbitmq-server';
my $python = python(qw(pika psycopg));
need(
	'rabbitmq-server' => -x $server,
	'python3-pika' => python('pika'),
	'python3-psycopg' => python('psycopg'));

start_database();

# Its nodes find each other by a daemon that would be left behind, were it not
# started here.
my ($port, $node_port, $epmd_port) =
  map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. 3;
my %environment = (
	HOME => $place,
	ERL_EPMD_ADDRESS => '127.0.0.1',
	ERL_EPMD_PORT => $epmd_port,
	RABBITMQ_CONF_ENV_FILE => '/dev/null',
	RABBITMQ_CONFIG_FILE => "$place/none",
	RABBITMQ_DIST_PORT => $node_port,
	RABBITMQ_ENABLED_PLUGINS_FILE => "$place/no_plugins",
	RABBITMQ_LOG_BASE => "$place/log",
	RABBITMQ_MNESIA_BASE => "$place/mnesia",
	RABBITMQ_NODENAME => "idem$port\@localhost",
	RABBITMQ_NODE_IP_ADDRESS => '127.0.0.1',
	RABBITMQ_NODE_PORT => $port,
	RABBITMQ_PID_FILE => "$place/rabbitmq.pid",
	RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS => '-kernel inet_dist_use_interface {127,0,0,1}',
	# one process, not one that waits for another
	RUNNING_UNDER_SYSTEMD => 'true');

sub listening
{
	return IO::Socket::INET->new("127.0.0.1:$_[0]");
}

background(\%environment, 'epmd');
await('epmd', sub { listening($epmd_port) });
background(\%environment, $server);
await('RabbitMQ', sub { listening($port) });

my $url = "amqp://guest:guest\@127.0.0.1:$port";
published($python, "$FindBin::RealBin/rabbitmq/publish.py", $url);
rehearse(
	command => [ $python, "$FindBin::RealBin/rabbitmq/consumer.py", $url ],
	strikes => 400,
	settles => 1,
	faults => sub { { DIE_WITHIN => 8 } });

done_testing();

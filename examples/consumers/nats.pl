# NATS JetStream: consumers that book payments one by one, by their ids.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Consumers;
use PostgreSQL::Test::Utils;
use Test::More;

my $config = $ENV{PG_CONFIG} // 'pg_config';
my ($server) = grep { -x } map { "$_/nats-server" } split(/:/, $ENV{PATH}), '/usr/sbin';
chomp(my $compiler = qx($config --cc));
chomp(my $headers = qx($config --includedir));
my $compiles = "$compiler -std=gnu99 -Wall -Wextra -Werror -I$headers";

need(
	'nats-server' => $server,
	'libnats-dev' => system("echo '#include <nats/nats.h>' | $compiler -E - >/dev/null 2>&1") == 0,
	'libpq-dev' => -e "$headers/libpq-fe.h");

foreach my $program (qw(publish consumer))
{
	system_or_bail("$compiles -o $place/$program"
		  . " $FindBin::RealBin/nats/$program.c -lnats -lpq");
}

start_database();

# The server chooses a free port, and says so in a file.
background({}, $server, '--addr', '127.0.0.1', '--port', '-1', '--jetstream',
	'--store_dir', "$place/jetstream", '--ports_file_dir', $place,
	'--log', "$place/nats.log");
my ($ports) = await('NATS', sub { glob "$place/nats-server_*.ports" });
my ($url) = await('its port', sub { slurp_file($ports) =~ m{"(nats://[^"]+)"} && $1 });

published("$place/publish", $url);
rehearse(
	command => [ "$place/consumer", $url ],
	pauses => 1,
	strikes => 400,
	settles => 3,
	faults => sub { { DIE_WITHIN => 200 } });

done_testing();

# The program of examples/clients/rust, by tokio-postgres.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Clients;
use PostgreSQL::Test::Utils;

# Debian's libraries stand in for the registry; scripts/install-clients has compiled
# them, which takes a minute.
my $libraries = '/usr/share/cargo/registry';
my $compiled = packages_dir() . '/rust';
my $cargo = found('cargo', 'version');
my $copy = copy_of('rust');
my $lacking = lacking(
	'cargo' => $cargo,
	'librust-tokio-postgres-dev' => scalar(() = glob "$libraries/tokio-postgres-*"),
	'what scripts/install-clients compiles' => -d "$compiled/target");

if (!defined $lacking)
{
	system_or_bail('cp', '-Rp', "$compiled/target", "$compiled/Cargo.lock", "$compiled/.cargo", $copy);
}
client(
	'tokio-postgres',
	lacking => $lacking,
	build => [ $cargo // '', '--offline', '--config', "$copy/.cargo/config.toml", '-q', 'build',
		'--manifest-path', "$copy/Cargo.toml" ],
	command => ["$copy/target/debug/shop"]);
test_clients();

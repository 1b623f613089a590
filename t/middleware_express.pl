# The draft's cases, by Express and examples/middleware/node/idempotency.mjs.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Clients;
use Middleware;
use PostgreSQL::Test::Utils;

my $node = found('node', '-e', 'process.exit(Number(parseInt(process.versions.node) < 18))');
my $modules = packages_dir() . '/node/node_modules';
my $copy = place() . '/node';
system_or_bail('cp', '-R', "$middleware/node", $copy);
symlink $modules, "$copy/node_modules" or die "$copy/node_modules: $!";

test_middleware(
	no_object => 400,
	source => 'node/idempotency.mjs',
	lacking => lacking(
		'Node.js 18' => $node,
		map { ("$_ of npm" => -d "$modules/$_") } qw(express pg)),
	command => [ $node // '', "$copy/express_shop.mjs" ]);

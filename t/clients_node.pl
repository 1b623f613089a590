# The programs of examples/clients/node, by node-postgres, postgres.js, knex, Drizzle,
# Sequelize and TypeORM.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Clients;

my $node = found('node', '-e', 'process.exit(Number(parseInt(process.versions.node) < 18))');
my $modules = packages_dir() . '/node/node_modules';
my $copy = copy_of('node');
symlink $modules, "$copy/node_modules" or die "$copy/node_modules: $!";

foreach (
	[ 'node-pg', 'pg', 'pg' ],
	[ 'postgres.js', 'postgres', 'postgres' ],
	[ 'knex', 'knex', 'knex', 'pg' ],
	[ 'drizzle', 'drizzle', 'drizzle-orm', 'pg' ],
	[ 'sequelize', 'sequelize', 'sequelize', 'pg' ],
	[ 'typeorm', 'typeorm', 'typeorm', 'reflect-metadata', 'pg' ])
{
	my ($name, $program, @packages) = @$_;

	client(
		$name,
		lacking => lacking(
			'Node.js 18' => $node,
			map { ("$_ of npm" => -d "$modules/$_") } @packages),
		command => [ $node, "$copy/$program.mjs" ]);
}
test_clients();

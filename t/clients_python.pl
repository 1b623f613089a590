# The programs of examples/clients/python, by psycopg, psycopg2, asyncpg, SQLAlchemy
# and Django.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Clients;

foreach (
	[ 'psycopg', [ 'psycopg' ], [ 'python3-psycopg' ] ],
	[ 'psycopg2', [ 'psycopg2' ], [ 'python3-psycopg2' ] ],
	[ 'asyncpg', [ 'asyncpg' ], [ 'python3-asyncpg' ] ],
	[ 'sqlalchemy', [ 'sqlalchemy', 'psycopg2' ], [ 'python3-sqlalchemy', 'python3-psycopg2' ] ],
	[ 'django', [ 'django', 'psycopg2' ], [ 'python3-django', 'python3-psycopg2' ] ])
{
	my ($name, $modules, $packages) = @$_;
	my $python = python(@$modules);

	client(
		$name,
		lacking => lacking(join(' or ', @$packages) => $python),
		command => [ $python, "$clients/python/${name}_shop.py" ]);
}
test_clients();

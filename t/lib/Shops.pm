# The services of examples/middleware/: what each needs, how it is made and run.
package Shops;

use strict;
use warnings;

use Clients;
use Exporter 'import';
use File::Basename;
use File::Spec;
use PostgreSQL::Test::Utils;

our @EXPORT = qw($middleware shop);

our $middleware = File::Spec->rel2abs(dirname(__FILE__) . '/../../examples/middleware');

my %shops = (
	fastapi => sub {
		my $python = python(qw(fastapi uvicorn psycopg psycopg_pool));

		return (
			source => 'python/asgi_idempotency.py',
			no_object => 422,
			lacking => lacking('python3-fastapi, python3-uvicorn or python3-psycopg-pool' => $python),
			command => [ $python // '', "$middleware/python/fastapi_shop.py" ]);
	},
	django => sub {
		my $python = python(qw(django psycopg2));

		return (
			source => 'python/django_idempotency.py',
			lacking => lacking('python3-django or python3-psycopg2' => $python),
			command => [ $python // '', "$middleware/python/django_shop.py" ]);
	},
	express => sub {
		my $node = found('node', '-e', 'process.exit(Number(parseInt(process.versions.node) < 18))');
		my $modules = packages_dir() . '/node/node_modules';
		my $copy = place() . '/node';

		system_or_bail('cp', '-R', "$middleware/node", $copy);
		symlink $modules, "$copy/node_modules" or die "$copy/node_modules: $!";
		return (
			source => 'node/idempotency.mjs',
			no_object => 400,
			lacking => lacking(
				'Node.js 18' => $node,
				map { ("$_ of npm" => -d "$modules/$_") } qw(express pg)),
			command => [ $node // '', "$copy/express_shop.mjs" ]);
	},
	rack => sub {
		my $ruby = found('ruby', '-rpg', '-rrack', '-e', 'Rack::Handler.get("puma")');

		return (
			source => 'ruby/idempotency.rb',
			lacking => lacking('ruby-pg, ruby-rack or puma' => $ruby),
			command => [ $ruby // '', "$middleware/ruby/rack_shop.rb" ]);
	},
	go => sub {
		# Debian's libraries are a workspace of before there were modules.
		my $workspace = '/usr/share/gocode';
		my $place = place();
		my $go = found('go', 'version');

		return (
			source => 'go/idempotency.go',
			no_object => 400,
			lacking => lacking(
				'golang-go' => $go,
				'golang-github-lib-pq-dev' => -d "$workspace/src/github.com/lib/pq"),
			build => [ 'env', 'GO111MODULE=off', "GOPATH=$workspace", 'GOFLAGS=', 'GOTOOLCHAIN=local', "GOCACHE=$place/cache",
				$go // '', 'build', '-o', "$place/shop", glob "$middleware/go/*.go" ],
			command => ["$place/shop"]);
	},
	java => sub {
		my ($java, $javac) = (found('java', '-version'), found('javac', '--release', '16', '-version'));
		my $jdbc = jars('postgresql');
		my $json = jars(qw(jackson-databind jackson-core jackson-annotations));
		my $classes = place() . '/classes';
		my $path = join ':', $classes, $jdbc // '', $json // '';

		return (
			source => 'java/Idempotency.java',
			lacking => lacking(
				'Java 16' => $java && $javac,
				'libpostgresql-jdbc-java' => $jdbc,
				'libjackson2-databind-java' => $json),
			build => [ $javac // '', '-d', $classes, '-cp', $path, glob "$middleware/java/*.java" ],
			command => [ $java // '', '-cp', $path, 'Shop' ]);
	},
	# PostgREST itself is not in Debian: a stub does what it does.
	postgrest => sub {
		my $python = python('psycopg');

		return (
			sql => ["$middleware/postgrest/api.sql"],
			grant => 'GRANT web TO seller',
			last_header => 1,
			no_object => 0,
			# PostgREST has a form of its own for errors
			unlike => ['problem'],
			lacking => lacking('python3-psycopg' => $python),
			command => [ $python // '', dirname(__FILE__) . '/postgrest_stub.py' ]);
	});

# shop NAME: the service of that name.
#   source   the file that has the middleware, if it is a short one
#   sql      files for its database, after shop.sql
#   grant    what else the role of the service needs
#   unlike   what its refusals are not, of what the cases expect: a list
#   no_object  the status of a body that is a number, if not 500; 0: it never gets that far
#   last_header  whether only the last of two headers arrives
#   lacking  what the service lacks here, if anything
#   build    a command that makes it, if it has to be made
#   command  the command that runs it
sub shop
{
	my ($name) = @_;

	return { name => $name, $shops{$name}->() };
}

1;

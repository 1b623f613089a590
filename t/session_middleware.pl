# The key of an HTTP request as that of its transaction: the services of
# examples/transactions/http, whose middleware docs/transactions.md shows, while the server
# loses three acknowledgements in ten and one request in ten.
#
# IDEM_STACKS is a pattern of the services that are run, all by default.

use strict;
use warnings;

use File::Spec;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Clients;
use HttpCases;
use JSON::PP;
use Middleware;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant REQUESTS => 30;

my $examples = File::Spec->rel2abs("$FindBin::RealBin/../examples/transactions");
my @services = (python_services(), rails(), sequelize(), spring(), go());

sub python_services
{
	return map {
		my ($name, $packages, @modules) = @$_;
		my $python = python(@modules);

		{ name => $name, source => "${name}_shop.py", lacking => lacking($packages => $python),
			command => [ $python // '', "$examples/http/${name}_shop.py" ] }
	} ([ 'django', 'python3-django or python3-psycopg2', 'django', 'psycopg2' ],
		[ 'sqlalchemy', 'python3-sqlalchemy or python3-psycopg2', 'sqlalchemy', 'psycopg2' ]);
}

sub rails
{
	my $ruby = found('ruby', '-rpg', '-ractive_record', '-raction_controller', '-e', 'Rack::Handler.get("puma")');

	return { name => 'rails', source => 'rails_shop.rb', clock => 1,
		lacking => lacking('ruby-activerecord, ruby-actionpack, ruby-pg or puma' => $ruby),
		command => [ $ruby // '', "$examples/http/rails_shop.rb" ] };
}

sub sequelize
{
	my $node = found('node', '-e', 'process.exit(Number(parseInt(process.versions.node) < 18))');
	my $modules = packages_dir() . '/node/node_modules';
	my $copy = place() . '/http';

	# a copy, beside which npm's packages can stand
	system_or_bail('cp', '-R', "$examples/http", $copy);
	symlink $modules, "$copy/node_modules" or die "$copy/node_modules: $!";
	return { name => 'sequelize', source => 'sequelize_shop.mjs', clock => 1,
		lacking => lacking('Node.js 18' => $node,
			map { ("$_ of npm" => -d "$modules/$_") } qw(express sequelize pg)),
		command => [ $node // '', "$copy/sequelize_shop.mjs" ] };
}

sub spring
{
	my ($java, $javac) = (found('java', '-version'), found('javac', '--release', '16', '-version'));
	my $jdbc = jars('postgresql');
	my $eclipselink = jars(qw(eclipselink eclipselink-jpa-2.1-spec org.eclipse.persistence.jpa.jpql));
	my $spring = jars((map { "spring3-$_" } qw(orm transaction jdbc core beans)), 'commons-logging');
	my $classes = place() . '/spring';
	my $path = join ':', $classes, "$examples/java", map { $_ // '' } $jdbc, $eclipselink, $spring;

	return { name => 'spring', source => 'SpringShop.java',
		lacking => lacking('Java 16' => $java && $javac, 'libpostgresql-jdbc-java' => $jdbc,
			'libeclipselink-java' => $eclipselink, 'libspring-orm-java' => $spring),
		build => [ $javac // '', '-d', $classes, '-cp', $path, "$examples/http/SpringShop.java" ],
		command => [ $java // '', '-cp', $path, 'SpringShop' ] };
}

sub go
{
	my $go = found('go', 'version');
	# Debian's libraries are a workspace of before there were modules
	my $workspace = '/usr/share/gocode';
	my $place = place();

	return { name => 'go', source => 'shop.go',
		lacking => lacking('golang-go' => $go,
			'golang-github-lib-pq-dev' => -d "$workspace/src/github.com/lib/pq"),
		build => [ 'env', 'GO111MODULE=off', "GOPATH=$workspace", 'GOFLAGS=', 'GOTOOLCHAIN=local',
			"GOCACHE=$place/cache", $go // '', 'build', '-o', "$place/shop", "$examples/http/shop.go" ],
		command => ["$place/shop"] };
}

is_deeply([ sort map { s{.*/}{}r } glob "$examples/http/*.*" ], [ sort map { $_->{source} } @services ],
	'each service of the folder is here');

# what the guide shows is a part of a service
my $sources = join '', map { slurp_file("$examples/http/$_->{source}") =~ s/^\s+//mgr } @services;
my $guide = slurp_file("$FindBin::RealBin/../docs/transactions.md");
my %shown;
while ($guide =~ /^```(python|ruby|js|java|go)\n(.*?)^```$/msg)
{
	my ($language, $snippet) = ($1, $2);

	$snippet =~ s/^\s+//mg;
	ok(index($sources, $snippet) >= 0, "what docs/transactions.md shows in $language is of a service")
	  or diag($snippet);
	$shown{$language}++;
}
is(join(' ', sort keys %shown), 'go java js python ruby', 'which it shows in each language');

my $server = PostgreSQL::Test::Cluster->new('services');
$server->init;
# not all drivers can use the socket of a server
$server->append_conf('postgresql.conf',
	"shared_preload_libraries = 'idem'\nlisten_addresses = '127.0.0.1'\n");
$server->start;
my $user = $server->safe_psql('postgres', 'SELECT current_user');
$server->safe_psql('postgres', 'CREATE DATABASE shop');
$server->safe_psql('shop', slurp_file("$examples/shop.sql") . q{
	CREATE EXTENSION idem;
	CREATE ROLE seller LOGIN;
	GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO seller;
	GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO seller;
	ALTER ROLE seller SET idem.lose_ack = 0.3;
	ALTER ROLE seller SET idem.lose_request = 0.1;
});

# Sends a request once.
sub send_to
{
	my ($service, $tenant, $key, $reference) = @_;
	my %headers = ('Content-Type' => 'application/json', Authorization => $tenant);

	$headers{'Idempotency-Key'} = $key if defined $key;
	return http_send('POST', "$service->{url}/orders", \%headers,
		encode_json({ reference => $reference, customer => "$service->{name} $tenant" }));
}

# Sends it until there is an answer.
sub answer
{
	my @request = @_;
	my $answer;

	wait_until(sub { $answer = send_to(@request); $answer->{status} == 201 })
	  or diag("$answer->{status} $answer->{content}");
	return $answer;
}

# How many orders there are of references that begin so, and of how many references.
sub orders
{
	my ($prefix) = @_;

	return $server->safe_psql('shop', "SELECT count(*), count(DISTINCT reference) FROM orders
		WHERE starts_with(reference, '$prefix')");
}

sub test_service
{
	my ($service) = @_;
	my $name = $service->{name};
	my $log = -s $server->logfile;

	answer($service, 'ada', undef, "$name free $_") foreach 1 .. REQUESTS;
	my ($orders, $references) = split /\|/, orders("$name free ");
	is($references, REQUESTS, 'without a key, each order is there');
	cmp_ok($orders, '>', REQUESTS, "some twice: $orders");

	my (%first, $same, $right);
	foreach my $number (1 .. REQUESTS)
	{
		$first{$number} = answer($service, 'ada', "$name-$number", "$name keyed $number")->{content};
		my $second = answer($service, 'ada', "$name-$number", "$name keyed $number")->{content};
		my ($order, $stock) = @{ decode_json($first{$number}) }{qw(order stock)};

		$same += $second eq $first{$number};
		$right += $server->safe_psql('shop', "SELECT count(*) FROM orders
			WHERE id = $order AND reference = '$name keyed $number'");
	}
	is(orders("$name keyed "), REQUESTS . '|' . REQUESTS, 'with a key, each is there once');
	is($right, REQUESTS, 'and is what the answer says');
	is($same, REQUESTS, 'and the second answer is the first');
	my $lost = () = slurp_file($server->logfile, $log) =~ /LOG: +idem loses the (?:acknowledgement|request) of/g;
	cmp_ok($lost, '>', 0, "though some were lost: $lost");

	# another tenant's key is another one
	answer($service, 'bob', "$name-1", "$name keyed 1");
	is(orders("$name keyed 1"), (1 + 1 + 10) . '|11', "another tenant's order is placed");

	# the same key for something else
	my @statuses = map { send_to($service, 'ada', "$name-2", "$name keyed other")->{status} } 1 .. 5;
	is(scalar(grep { /^5/ } @statuses), 5, 'the key of another request is refused');
	is(orders("$name keyed other"), '0|0', 'and nothing is done');

	# two at once
	my @both = map { send_in_background('POST', "$service->{url}/orders",
			{ 'Content-Type' => 'application/json', Authorization => 'ada', 'Idempotency-Key' => "$name-both" },
			encode_json({ reference => "$name both", customer => "$name ada" })) } 1, 2;
	$_->() foreach @both;
	answer($service, 'ada', "$name-both", "$name both");
	is(orders("$name both"), '1|1', 'two at once are one');
	return;
}

my $only = $ENV{IDEM_STACKS} // '';
foreach my $service (grep { $_->{name} =~ /$only/ } @services)
{
	my ($name, $why) = @$service{qw(name lacking)};

	# said by scripts/check, which looks for "skipped: "
	diag("$name skipped: $name: $why") if defined $why;
	subtest $name => sub {
		plan skip_all => $why if defined $why;
		my $match = $service->{clock} ? 'clock' : 'exact';
		$server->safe_psql('shop', "ALTER ROLE seller SET idem.key_match = '$match'");
		my $running = serve($server, $service);
		test_service($running);
		$running->{kill}->();
		note(slurp_file($running->{log}));
	};
}
$server->stop;
done_testing();

# Whole transactions under a key: the programs of examples/transactions, by their drivers
# and ORMs and through PgBouncer, while the server loses three acknowledgements in ten and
# one request in ten.  Each request is done once, and answered as it was done; without
# the key, which is the control, some are done twice.
#
# IDEM_STACKS is a pattern of the programs that are run, all by default.

use strict;
use warnings;

use File::Spec;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Clients;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant REQUESTS => 40;

my $examples = File::Spec->rel2abs("$FindBin::RealBin/../examples/transactions");
my $place = place();
my ($pgbouncer) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin';
my @programs = (python_programs(), node_programs(), active_record(), java_programs(), go_programs());

sub python_programs
{
	return map {
		my ($name, $packages, $clock, @modules) = @$_;
		my $python = python(@modules);

		{ name => $name, source => "python/${name}_orders.py", clock => $clock,
			lacking => lacking($packages => $python),
			command => [ $python // '', "$examples/python/${name}_orders.py" ] }
	} (
		[ 'psycopg', 'python3-psycopg', 0, 'psycopg' ],
		[ 'asyncpg', 'python3-asyncpg', 0, 'asyncpg' ],
		[ 'sqlalchemy', 'python3-sqlalchemy or python3-psycopg2', 0, 'sqlalchemy', 'psycopg2' ],
		[ 'django', 'python3-django or python3-psycopg2', 1, 'django', 'psycopg2' ]);
}

sub node_programs
{
	my $node = found('node', '-e', 'process.exit(Number(parseInt(process.versions.node) < 18))');
	my $modules = packages_dir() . '/node/node_modules';

	# a copy, beside which npm's packages can stand
	system_or_bail('cp', '-R', "$examples/node", "$place/node");
	-e "$place/node/node_modules" or symlink($modules, "$place/node/node_modules")
	  or die "$place/node/node_modules: $!";
	return map {
		my ($name, $clock, @packages) = @$_;

		{ name => $name, source => "node/$name.mjs", clock => $clock,
			lacking => lacking('Node.js 18' => $node, map { ("$_ of npm" => -d "$modules/$_") } @packages),
			command => [ $node // '', "$place/node/$name.mjs" ] }
	} ([ 'pg', 0, 'pg' ], [ 'knex', 0, 'knex', 'pg' ], [ 'sequelize', 1, 'sequelize', 'pg' ],
		[ 'typeorm', 0, 'typeorm', 'reflect-metadata', 'pg' ]);
}

sub active_record
{
	my $ruby = found('ruby', '-rpg', '-ractive_record', '-e', '');

	return { name => 'active_record', source => 'ruby/active_record.rb', clock => 1,
		lacking => lacking('ruby-activerecord or ruby-pg' => $ruby),
		command => [ $ruby // '', "$examples/ruby/active_record.rb" ] };
}

sub java_programs
{
	my ($java, $javac) = (found('java', '-version'), found('javac', '--release', '16', '-version'));
	my $jdbc = jars('postgresql');

	return map {
		my ($class, $package, @jars) = @$_;
		my $jars = jars(@jars);
		my $path = join ':', "$place/$class", "$examples/java", $jars // '', $jdbc // '';

		{ name => $class, source => "java/$class.java",
			lacking => lacking('Java 16' => $java && $javac, 'libpostgresql-jdbc-java' => $jdbc,
				$package => $jars),
			build => [ $javac // '', '-d', "$place/$class", '-cp', $path, "$examples/java/$class.java" ],
			command => [ $java // '', '-cp', $path, $class ] }
	} (
		[ 'EclipseLink', 'libeclipselink-java',
			qw(eclipselink eclipselink-jpa-2.1-spec org.eclipse.persistence.jpa.jpql) ],
		[ 'Hibernate', 'libhibernate3-java or libjavassist-java',
			qw(hibernate3 hibernate-commons-annotations geronimo-jpa_2.0_spec geronimo-jta-1.2-spec
				slf4j-api slf4j-nop antlr dom4j javassist commons-collections3) ]);
}

sub go_programs
{
	my $go = found('go', 'version');
	# Debian's libraries are a workspace of before there were modules
	my $workspace = '/usr/share/gocode';

	return map {
		my ($name, $library, $package) = @$_;

		{ name => $name, source => "go/$name/main.go",
			lacking => lacking('golang-go' => $go, $package => -d "$workspace/src/github.com/$library"),
			build => [ 'env', 'GO111MODULE=off', "GOPATH=$workspace", 'GOFLAGS=', 'GOTOOLCHAIN=local',
				"GOCACHE=$place/cache", $go // '', 'build', '-o', "$place/$name.program",
				"$examples/go/$name/main.go" ],
			command => ["$place/$name.program"] }
	} ([ 'pgx', 'jackc/pgx/v4', 'golang-github-jackc-pgx-v4-dev' ],
		[ 'pq', 'lib/pq', 'golang-github-lib-pq-dev' ]);
}

is_deeply(
	[ sort map { s{^\Q$examples\E/}{}r } glob "$examples/python/*_orders.py $examples/node/*.mjs "
		. "$examples/ruby/*.rb $examples/java/*.java $examples/go/*/*.go" ],
	[ sort 'node/requests.mjs', map { $_->{source} } @programs ],
	'each program of the folder is here');

my $server = PostgreSQL::Test::Cluster->new('programs');
$server->init;
# not all of them can use the socket of a server
$server->append_conf('postgresql.conf',
	"shared_preload_libraries = 'idem'\nlisten_addresses = '127.0.0.1'\n");
$server->start;

# two shops: one with idem, one where idem_begin does nothing
my $shop = slurp_file("$examples/shop.sql") . q{
	GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO PUBLIC;
	GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO PUBLIC;
};
$server->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(keyed control);
$server->safe_psql('keyed', "$shop CREATE EXTENSION idem");
$server->safe_psql('control', "$shop CREATE FUNCTION idem_begin(key text) RETURNS void LANGUAGE sql AS ''");
$server->safe_psql('postgres', "ALTER DATABASE $_ SET idem.lose_ack = 0.3;
	ALTER DATABASE $_ SET idem.lose_request = 0.1") foreach qw(keyed control);
# but not to the role that checks
my $user = $server->safe_psql('postgres', 'SELECT current_user');
$server->safe_psql('postgres', qq(ALTER ROLE "$user" SET idem.lose_ack = 0;
	ALTER ROLE "$user" SET idem.lose_request = 0));
# each program is a role of its own
foreach my $program (@programs)
{
	$server->safe_psql('postgres', qq(CREATE ROLE "$program->{name}" LOGIN));
	$server->safe_psql('postgres', qq(ALTER ROLE "$program->{name}" SET idem.key_match = 'clock'))
	  if $program->{clock};
}

# Runs a command.  Returns whether it ended well, and what it said.
sub run_program
{
	my (@command) = @_;
	my ($out, $err) = ('', '');
	my $ok = eval {
		IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(240));
	};

	return ($ok && !$@, $out, $err . ($@ || ''));
}

# Runs a program on a database, by a port.  Returns how many of its requests were done how
# often, how many answers are not of what was done, and what else there is to compare.
sub run_on
{
	my ($program, $database, $port) = @_;
	my $log = -s $server->logfile;
	my ($ok, $out, $err);
	{
		local @ENV{qw(PGHOST PGPORT PGUSER PGDATABASE REQUESTS)} =
		  ('127.0.0.1', $port, $program->{name}, $database, REQUESTS);
		($ok, $out, $err) = run_program(@{ $program->{command} });
	}
	my @answers = map { [ (split / /)[ 1 .. 3 ] ] } grep { /^placed / } split /\n/, $out;
	ok($ok && @answers == REQUESTS + 1, "each request is answered")
	  or diag(substr($err, 0, 2000) . "\n" . scalar(@answers) . ' answers');
	my $logged = slurp_file($server->logfile, $log);
	my $lost = () = $logged =~ /LOG: +idem loses the (?:acknowledgement|request) of/g;
	note("$lost lost");

	my $values = join ', ', map { "($_, '$answers[$_][0]', $answers[$_][1], $answers[$_][2])" } 0 .. $#answers;
	my ($done, $twice, $wrong, $lines, $stocks) = split /\|/, $server->safe_psql($database, qq{
		CREATE TEMP TABLE answer (n, reference, id, stock) AS VALUES $values;
		CREATE TEMP TABLE done AS SELECT rtrim(reference, '!') AS reference, id
			FROM orders WHERE rtrim(reference, '!') IN (SELECT reference FROM answer);
		SELECT (SELECT count(DISTINCT reference) FROM done),
			(SELECT count(*) - count(DISTINCT reference) FROM done),
			(SELECT count(*) FROM answer a WHERE NOT EXISTS
				(SELECT FROM done d WHERE d.reference = a.reference AND d.id = a.id)),
			(SELECT string_agg(DISTINCT l.lines, ';') FROM done LEFT JOIN LATERAL
				(SELECT coalesce(string_agg(product || ' ' || quantity, ',' ORDER BY product), '') AS lines
				FROM line WHERE order_id = done.id) AS l ON true),
			(SELECT string_agg((100000 - stock)::text, ' ' ORDER BY n) FROM answer);
	}) if @answers;
	return { lost => $lost, done => $done, twice => $twice, wrong => $wrong, lines => $lines,
		stocks => $stocks };
}

# What the stock is lower by, of both products, and how many keys and customers there are.
sub totals
{
	my ($database) = @_;

	return split / /, $server->safe_psql($database, q{
		SELECT concat_ws(' ', (SELECT 100000 - stock FROM product WHERE name = 'bolt'),
			(SELECT count(*) FROM customer)} . ($database eq 'keyed' ? ', (SELECT count(*) FROM idem_key)' : '') . ')');
}

sub keyed
{
	my ($program, $port) = @_;
	my ($bolts, $customers, $keys) = totals('keyed');
	my $run = run_on($program, 'keyed', $port);

	cmp_ok($run->{lost}, '>', 0, 'though some were lost');
	is($run->{done}, REQUESTS, 'each request is done');
	is($run->{twice}, 0, 'none twice');
	is($run->{wrong}, 0, 'each answer is of what was done');
	is($run->{lines}, 'bolt 1,nut 1', 'each order has its lines');
	is($run->{stocks}, join(' ', (map { $bolts + $_ } 1 .. REQUESTS), $bolts + 1),
		'each answer has the stock of then');
	is_deeply([ totals('keyed') ], [ $bolts + REQUESTS, $customers + 4, $keys + REQUESTS ],
		'as many bolts, customers and keys as there must be');
	return;
}

# a pooler, whose two connections serve all
my $pooled;
if ($pgbouncer)
{
	my $directory = PostgreSQL::Test::Utils::tempdir_short();
	$pooled = PostgreSQL::Test::Cluster::get_free_port();
	append_to_file("$directory/users", join '', map { qq("$_->{name}" ""\n) } @programs);
	append_to_file("$directory/pgbouncer.ini", <<"INI");
[databases]
keyed = host=127.0.0.1 port=@{[ $server->port ]}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $pooled
unix_socket_dir =
auth_type = trust
auth_file = $directory/users
pool_mode = transaction
default_pool_size = 2
ignore_startup_parameters = extra_float_digits
logfile = $directory/log
pidfile = $directory/pid
INI
	system_or_bail($pgbouncer, '-q', '-d', "$directory/pgbouncer.ini");

	sub pooler_pid { return -s "$directory/pid" ? slurp_file("$directory/pid") : undef }
}

END
{
	my $pid = $pgbouncer && defined &pooler_pid ? pooler_pid() : undef;
	kill 'INT', $pid if defined $pid;
}

my $only = $ENV{IDEM_STACKS} // '';
foreach my $program (grep { $_->{name} =~ /$only/ } @programs)
{
	my ($name, $why) = @$program{qw(name lacking)};

	# said by scripts/check, which looks for "skipped: "
	diag("$name skipped: $name: $why") if defined $why;
	subtest $name => sub {
		plan skip_all => $why if defined $why;
		if ($program->{build})
		{
			my ($ok, $out, $err) = run_program(@{ $program->{build} });
			ok($ok, 'is built') or do { diag("$out\n$err"); return };
		}
		subtest 'without the key' => sub {
			my $run = run_on($program, 'control', $server->port);

			is($run->{done}, REQUESTS, 'each request is done');
			cmp_ok($run->{twice}, '>', 0, 'some twice');
			note("$run->{twice} twice");
		};
		subtest 'with the key' => sub { keyed($program, $server->port) };
		subtest 'with the key, through PgBouncer' => sub {
			plan skip_all => 'pgbouncer is not installed' unless defined $pooled;
			keyed($program, $pooled);
		};
	};
}
$server->stop;
done_testing();

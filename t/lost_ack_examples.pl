# The programs of examples/lost-ack: right while nothing is lost; while
# acknowledgements and requests are, as docs/testing.md says how, each of those with a
# bug is found, and those that are mended stay right.

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
use Time::HiRes qw(time);

my $examples = File::Spec->rel2abs("$FindBin::RealBin/../examples/lost-ack");
my $guide = slurp_file("$FindBin::RealBin/../docs/testing.md");
my $modules = packages_dir() . '/node/node_modules';
my $jdbc = jars('postgresql');

# a copy, beside which npm's packages can stand
my $copy = place() . '/lost-ack';
system_or_bail('cp', '-R', $examples, $copy);
if (!-e "$copy/node/node_modules")
{
	symlink $modules, "$copy/node/node_modules" or die "$copy/node/node_modules: $!";
}

my $python = python('psycopg');
my $node = found('node', '-e', 'process.exit(Number(parseInt(process.versions.node) < 18))');
my $ruby = found('ruby', '-rpg', '-e', '');
my $php = found('php', '-r', 'exit(extension_loaded("pdo_pgsql") ? 0 : 1);');
my $java = found('java', '--source', '16', '-version');

# A program with a bug, how many rows it leaves of 100 requests when that shows, how many
# when it does not, what it lacks, and the command that runs it.
my @programs = (
	{ program => 'python/blind_retry.py', twin => 'python/blind_retry_mended.py',
		rows => sub { $_[0] > 100 }, right => 100,
		lacking => lacking('python3-psycopg' => $python), command => [$python] },
	{ program => 'node/new_key_each_time.mjs', twin => 'node/new_key_each_time_mended.mjs',
		rows => sub { $_[0] > 100 }, right => 100,
		lacking => lacking('Node.js 18' => $node, 'pg of npm' => -d "$modules/pg"),
		command => [$node] },
	{ program => 'ruby/key_after_first_attempt.rb', twin => 'ruby/key_after_first_attempt_mended.rb',
		rows => sub { $_[0] > 100 }, right => 100,
		lacking => lacking('ruby-pg' => $ruby), command => [$ruby] },
	# which refuses orders that are there
	{ program => 'php/number_is_taken.php', twin => 'php/number_is_taken_mended.php',
		rows => sub { $_[0] == 99 }, right => 99,
		lacking => lacking('php-cli and php-pgsql' => $php), command => [$php] },
	{ program => 'perl/last_statement_alone.pl', twin => 'perl/last_statement_alone_mended.pl',
		rows => sub { $_[0] < 200 }, right => 200,
		lacking => lacking('libdbd-pg-perl' => eval { require DBD::Pg }), command => [$^X] },
	{ program => 'java/CommitIsEnough.java', twin => 'java/CommitIsEnoughMended.java',
		rows => sub { $_[0] < 100 }, right => 100,
		lacking => lacking('Java 16' => $java, 'libpostgresql-jdbc-java' => $jdbc),
		command => [ $java, '-cp', $jdbc ] });
my @able = grep { !defined $_->{lacking} } @programs;
my %known = map { $_->{program} => 1, $_->{twin} => 1 } @programs;

is_deeply([ sort map { s{^\Q$examples\E/}{}r } glob "$examples/*/*.*" ], [ sort keys %known ],
	'each program of the folder is here');

# what the guide shows is a part of a program
my ($section) = $guide =~ /^## Lost acknowledgements\n(.*?)^## /ms;
my $sources = join '', map { slurp_file("$examples/$_") =~ s/^\s+//mgr } sort keys %known;
my $snippets = 0;
while ($section =~ /^```(python|js|ruby|php|perl|java)\n(.*?)^```$/msg)
{
	my ($language, $snippet) = ($1, $2);

	$snippet =~ s/^\s+//mg;
	ok(index($sources, $snippet) >= 0, "what docs/testing.md shows in $language is of a program");
	$snippets++;
}
is($snippets, @programs, 'which it shows in each language');

my $server = PostgreSQL::Test::Cluster->new('lost_ack');
$server->init;
$server->append_conf('postgresql.conf', "listen_addresses = '127.0.0.1'\n");
$server->start;
my $user = $server->safe_psql('postgres', 'SELECT current_user');
$server->safe_psql('postgres', 'CREATE DATABASE shop_test');
# the programs run as an ordinary role
$server->safe_psql('shop_test', slurp_file("$examples/shop.sql") . q{
	CREATE ROLE shop_app LOGIN;
	CREATE ROLE shop_check LOGIN;
	GRANT INSERT, SELECT, UPDATE ON orders, ledger TO shop_app;
	GRANT SELECT ON orders, ledger TO shop_check;
});
# How many rows are there?
sub rows
{
	return $server->safe_psql('shop_test',
		'SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM ledger)');
}

# Runs a program.  Returns what it said, how many rows it added, and how many losses of
# each kind the server logged.
sub run_program
{
	my ($program, $name) = @_;
	my ($rows, $log, $started) = (rows(), -s $server->logfile, time);
	my ($out, $err) = ('', '');

	{
		local @ENV{qw(PGHOST PGPORT PGUSER PGDATABASE)} =
		  ('127.0.0.1', $server->port, 'shop_app', 'shop_test');
		IPC::Run::run([ @{ $program->{command} }, "$copy/$program->{$name}" ],
			'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(180));
	}
	my ($status, $seconds) = ($? >> 8, time - $started);
	my $logged = slurp_file($server->logfile, $log);
	my $acks = () = $logged =~ /LOG: +idem loses the acknowledgement of/g;
	my $requests = () = $logged =~ /LOG: +idem loses the request of/g;
	note("$program->{$name}: $out$err" . sprintf('%.1f s', $seconds)
		. ", $acks acknowledgements and $requests requests lost");
	return { status => $status, said => "$out$err", rows => rows() - $rows,
		acks => $acks, requests => $requests, seconds => $seconds };
}

# A program is right, and left as many rows as it should.
sub right
{
	my ($program, $name, $run) = @_;

	ok($run->{status} == 0 && $run->{said} =~ /^right: /m, "$program->{$name} is right")
	  or diag($run->{said});
	is($run->{rows}, $program->{right}, 'and so are its rows');
	return;
}

foreach my $program (@able)
{
	foreach my $name (qw(program twin))
	{
		my $run = run_program($program, $name);

		right($program, $name, $run);
		is($run->{acks} + $run->{requests}, 0, 'nothing was lost');
	}
}

# from here on the server loses, as the guide says
my ($settings) = $section =~ /^```\n(ALTER DATABASE.*?)^```$/ms;
$server->safe_psql('postgres', $settings);
$server->safe_psql('postgres', 'ALTER DATABASE shop_test SET idem.lose_seed = 1');
foreach my $program (@able)
{
	my $run = run_program($program, 'program');

	ok($run->{status} != 0 && $run->{said} =~ /^wrong: /m, "$program->{program} is found")
	  or diag($run->{said});
	ok($program->{rows}->($run->{rows}), "by what is in its tables: $run->{rows} rows");
	cmp_ok($run->{seconds}, '<', 60, 'within a minute');

	$run = run_program($program, 'twin');
	right($program, 'twin', $run);
	cmp_ok($run->{acks}, '>', 10, 'though acknowledgements were lost');
	cmp_ok($run->{requests}, '>', 0, 'and requests');
}

# the role that checks is spared, the others are not
is($server->safe_psql('shop_test', 'SHOW idem.lose_ack', extra_params => [ '-U', 'shop_check' ]), 0,
	'the role that checks loses nothing');
is($server->safe_psql('shop_test', 'SHOW idem.lose_ack', extra_params => [ '-U', 'shop_app' ]), 0.3,
	'the application does');

# the runner, which makes a database of its own
my %command_of = (PYTHON => $python, NODE => $node, RUBY => $ruby, PHP => $php, PERL => $^X,
	JAVA => $java, JDBC => $jdbc);
local @ENV{ qw(PGHOST PGPORT PGUSER), grep { defined $command_of{$_} } keys %command_of } =
  ('127.0.0.1', $server->port, $user, grep { defined } map { $command_of{$_} } keys %command_of);

sub runner
{
	my (@names) = @_;
	my $output = '';

	IPC::Run::run([ "$copy/run", @names ], '<', \undef, '>&', \$output, IPC::Run::timeout(600));
	return ($? >> 8, $output);
}

my ($status, $output) = runner(map { ($_->{program}, $_->{twin}) } @able);
is($status, 0, 'the runner finds each bug, and nothing else') or diag($output);
my $wrong = () = $output =~ / wrong: /g;
is($wrong, scalar(@able), 'and shows them');
{
	local @ENV{qw(LOSE_ACK LOSE_REQUEST)} = (0, 0);

	($status) = runner($able[0]{program});
	is($status, 1, 'it fails where a bug is not found');
}

foreach my $program (grep { defined $_->{lacking} } @programs)
{
	# said by scripts/check, which looks for "skipped: "
	diag("$program->{program} skipped: $program->{program}: $program->{lacking}");
	SKIP: { skip "$program->{program}: $program->{lacking}", 1 }
}
$server->stop;
done_testing();

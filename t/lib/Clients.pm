# Runs the programs of examples/clients/ against a server of the test's own, and
# looks at what they have left in its tables.
package Clients;

use strict;
use warnings;

use Exporter 'import';
use File::Basename;
use File::Spec;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw($clients packages_dir place copy_of found python jars lacking client test_clients);

our $clients = File::Spec->rel2abs(dirname(__FILE__) . '/../../examples/clients');

# What scripts/install-clients has brought that is no package of the system.
sub packages_dir
{
	return $ENV{IDEM_CLIENTS}
	  // (grep { -d } map { "$_/idem/clients" } '/var/cache',
		$ENV{XDG_CACHE_HOME} // (($ENV{HOME} // '') . '/.cache'))[0] // '';
}

# A directory for what is made.
sub place
{
	return File::Spec->rel2abs(PostgreSQL::Test::Utils::tempdir());
}

# A copy of a folder of the examples, for what has to write beside its sources.
sub copy_of
{
	my ($folder) = @_;
	my $copy = place() . "/$folder";

	system_or_bail('cp', '-R', "$clients/$folder", $copy);
	return $copy;
}

# The program of this name, if there is one that answers to these arguments.
sub found
{
	my ($program, @arguments) = @_;
	my ($path) = grep { -x } map { "$_/$program" } split /:/, $ENV{PATH};

	return unless defined $path;
	return $path if !@arguments;
	return eval { IPC::Run::run([ $path, @arguments ], '<', \undef, '>', \my $out, '2>', \my $err) }
	  ? $path : undef;
}

# The first Python that has these modules: Debian's need not be the one of the PATH.
sub python
{
	my $import = 'import ' . join ', ', @_;
	local $ENV{PATH} = "$ENV{PATH}:/usr/bin";

	return found('python3', '-c', $import)
	  // do { local $ENV{PATH} = '/usr/bin'; found('python3', '-c', $import) };
}

# A class path of Debian's Java libraries, if all are there.
sub jars
{
	my @jars = map { "/usr/share/java/$_.jar" } @_;

	return if grep { !-e } @jars;
	return join ':', @jars;
}

# lacking WHAT => FOUND, ...: what a client lacks here, for a sentence.
sub lacking
{
	my @missing;

	while (my ($what, $found) = splice(@_, 0, 2))
	{
		push @missing, $what unless $found;
	}
	return @missing ? join(' and ', @missing) . ' not installed' : undef;
}

my @list;

# client NAME => OPTIONS: a program, which uses its name as customer and consumer.
#   lacking  what it lacks here, if anything
#   build    a command that makes it, if it has to be made
#   command  the command that runs it
sub client
{
	my ($name, %client) = @_;

	push @list, { name => $name, %client };
	return;
}

sub run_program
{
	my ($command) = @_;
	my ($out, $err) = ('', '');
	my $ok = eval {
		IPC::Run::run($command, '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(240));
	};

	return ($ok && !$@, $out, $err . ($@ || ''));
}

# The lines that each program prints.  Between them is what an ORM adds; and knex
# and Sequelize say there that a connection was lost.
my @lines = (
	qr/^lost: .+/,
	qr/^placed: inserted, replayed$/,
	qr/^moved order: PENDING -> PROCESSING, version 2$/,
	qr/^moved parcel: PENDING -> PROCESSING, version 2$/,
	qr/^consumed: 2, then 0$/,
	qr/^refused: ID201 \(.+\)$/);

sub test_client
{
	my ($node, $client) = @_;
	my $name = $client->{name};

	if ($client->{build})
	{
		my ($ok, $out, $err) = run_program($client->{build});
		ok($ok, 'is built') or do { diag("$out\n$err"); return };
	}
	my $log = -s $node->logfile;
	my ($ok, $out, $err) = run_program($client->{command});
	my $good = ok($ok, 'comes to its end');
	my @out = grep { /^(lost|placed|moved|consumed|refused)\b/ } split /\n/, $out;
	$good &= ok(@out == @lines && !(grep { $out[$_] !~ $lines[$_] } 0 .. $#lines),
		'every step is as it should be');
	diag("$out\n$err") unless $good;
	note($out);

	my @lost = slurp_file($node->logfile, $log) =~ /LOG: +idem loses the acknowledgement of transaction/g;
	is(scalar(@lost), 1, 'one acknowledgement was lost');
	is($node->safe_psql('shop', "SELECT count(*), min(status) FROM orders WHERE customer = '$name'"),
		'1|PROCESSING', 'there is one order');
	is($node->safe_psql('shop', "SELECT count(*), min(status) FROM parcels WHERE customer = '$name'"),
		'1|PROCESSING', 'there is one parcel');
	is($node->safe_psql('shop', "SELECT count(*) FROM idem_message WHERE consumer = '$name'"),
		2, 'there are two messages');
	return;
}

# Runs the programs, each as a test; skips those that lack something.
sub test_clients
{
	my @able = grep { !defined $_->{lacking} } @list;

	plan skip_all => join '; ', map { "$_->{name}: $_->{lacking}" } @list
	  if !@able;
	my $node = PostgreSQL::Test::Cluster->new('shop');
	$node->init;
	# not all of them can use the socket of a server
	$node->append_conf('postgresql.conf',
		"shared_preload_libraries = 'idem'\nlisten_addresses = '127.0.0.1'\n");
	$node->start;
	$node->safe_psql('postgres', 'CREATE DATABASE shop');
	$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d',
			$node->connstr('shop'), '-f', "$clients/shop.sql" ], 'there is a shop');
	my $user = $node->safe_psql('postgres', 'SELECT current_user');

	local @ENV{qw(PGHOST PGPORT PGUSER PGDATABASE)} = ('127.0.0.1', $node->port, $user, 'shop');
	foreach my $client (@list)
	{
		my $why = $client->{lacking};

		# said by scripts/check, which looks for "skipped: "
		diag("$client->{name} skipped: $client->{name}: $why") if defined $why;
		subtest $client->{name} => sub {
			plan skip_all => $why if defined $why;
			test_client($node, $client);
		};
	}
	$node->stop;
	done_testing();
	return;
}

1;

# A copy of a PostgreSQL installation, into which a test installs what it likes: a
# next version of idem, or idem for another major version.  PostgreSQL finds its
# files by where its program is, so a copy works wherever it is.
package Installation;
use strict;
use warnings;

use File::Basename;
use File::Path;
use PostgreSQL::Test::Utils;

my $top = dirname(__FILE__) . '/../..';

# What a pg_config tells.
sub ask
{
	my ($pg_config, $what) = @_;
	my $answer = qx("$pg_config" $what 2>/dev/null);

	chomp $answer;
	return $answer;
}

sub major
{
	my ($pg_config) = @_;

	return ask($pg_config, '--version') =~ /^PostgreSQL (\d+)/ ? $1 : 0;
}

# The pg_configs of servers of other major versions, where idem can be built for
# them; the oldest first.
sub others
{
	my $own = major('pg_config');

	return sort { major($a) <=> major($b) } grep {
		major($_) >= 15 && major($_) != $own
		  && -x ask($_, '--bindir') . '/postgres'
		  && -f ask($_, '--includedir-server') . '/postgres.h'
	} glob '{/usr/lib/postgresql/*,/usr/pgsql-*,/usr/local/pgsql}/bin/pg_config';
}

# Copies the installation that a pg_config belongs to into a directory.
sub new
{
	my ($class, $place, $pg_config) = @_;
	my $bin = ask($pg_config, '--bindir');

	mkpath("$place$bin");
	foreach my $program (qw(postgres initdb pg_ctl pg_config psql pg_dump pg_dumpall
		pg_restore pg_upgrade pg_resetwal pg_controldata vacuumdb))
	{
		system_or_bail('cp', '-pL', "$bin/$program", "$place$bin/");
	}
	foreach my $what ('--pkglibdir', '--sharedir')
	{
		my $dir = ask($pg_config, $what);

		mkpath("$place$dir");
		system_or_bail('cp', '-RL', "$dir/.", "$place$dir/");
	}
	foreach my $what ('--includedir', '--pkgincludedir', '--includedir-server')
	{
		my $dir = ask($pg_config, $what);

		next if -e "$place$dir";
		mkpath(dirname("$place$dir"));
		symlink $dir, "$place$dir" or die "$place$dir: $!";
	}
	return bless {
		place => $place,
		bin => "$place$bin",
		root => dirname("$place$bin"),
		pg_config => "$place$bin/pg_config",
		major => major($pg_config)
	}, $class;
}

# Copies what idem is built from into a directory; what has been built of it, too,
# where that is for this version.
sub sources
{
	my ($to, $pg_config) = @_;
	my $own = major($pg_config) == major('pg_config');

	mkpath($to);
	system_or_bail('cp', '-pR', "$top/$_", "$to/")
	  foreach 'src', 'Makefile', 'idem.control', glob_names("$top", 'idem--*.sql');
	system_or_bail('find', $to, '(', '-name', '*.o', '-o', '-name', '*.bc', ')', '-delete') if !$own;
	return $to;
}

sub glob_names
{
	my ($dir, $pattern) = @_;

	return map { basename($_) } glob "$dir/$pattern";
}

# Builds idem there, and installs it into the copy.
sub install
{
	my ($self, $sources) = @_;
	my @make = ('make', '-s', '-C', $sources, "PG_CONFIG=$self->{pg_config}", 'with_llvm=no');

	# of a make that calls this test, nothing is for this one
	local @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS)};
	delete @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS)};
	system_or_bail(@make, '-j2', 'COPT=-O0', 'all');
	system_or_bail(@make, 'install');
	return;
}

1;

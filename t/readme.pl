# What README.md claims: its SQL is run from top to bottom, as if pasted into
# psql, and each answer shown there is compared with the one that comes.

use strict;
use warnings;

use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# What differs from one run to the next.
sub general
{
	my ($text) = @_;

	$text =~ s/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.\d]*\+\d\d/<time>/g;
	$text =~ s/role "\w+"/role <name>/g;
	$text =~ s/[ \t]+$//mg;
	return $text =~ s/\n+\z//r;
}

my $readme = slurp_file(dirname(__FILE__) . '/../README.md');
my (@statements, @answers);
while ($readme =~ /^```(sql|text)\n(.*?)^```$/msg)
{
	if ($1 eq 'sql')
	{
		push @statements, $2;
	}
	elsif (@statements)
	{
		$answers[$#statements] = $2;
	}
}

my $node = PostgreSQL::Test::Cluster->new('readme');
$node->init;
$node->append_conf('postgresql.conf',
	"shared_preload_libraries = 'idem'\ntimezone = 'UTC'\n");
$node->start;

$node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'idem launcher'")
  or die 'there is no launcher';

# Standard error goes where standard output does, so that both keep their order.
my $script = join '', map { "\\echo ==\n$_" } @statements;
my $output;
{
	local $ENV{PSQLRC} = '/dev/null';
	my $file = $node->basedir . '/readme.sql';
	append_to_file($file, $script);
	$output = qx(psql -X -d "@{[ $node->connstr('postgres') ]}" <"$file" 2>&1);
}

my (undef, @got) = split /^==\n/m, $output;
is(scalar(@got), scalar(@statements), 'every block of SQL was run');
foreach my $i (0 .. $#statements)
{
	my ($first) = split /\n/, $statements[$i];

	if (defined $answers[$i])
	{
		is(general($got[$i]), general($answers[$i]), "answer to: $first");
	}
	else
	{
		unlike($got[$i], qr/^ERROR:/m, "no error from: $first");
	}
}

$node->stop;
done_testing();

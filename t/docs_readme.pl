# What README.md and the guides in docs claim: their SQL is run from top to
# bottom, each file in a database of its own, as if pasted into psql, and each
# answer shown there is compared with the one that comes.  docs/README.md lists
# every page, and README.md stays short.
#
# IDEM_DOCS is a pattern of the files whose SQL is run, all by default, and
# IDEM_DOCS_SET a setting=value for it, from a file's second block on.

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
	# times lack trailing zeros, which changes the width of their column
	$text =~ s/-{3,}/---/g;
	$text =~ s/ {2,}/ /g;
	$text =~ s/[ \t]+$//mg;
	return $text =~ s/\n+\z//r;
}

# A file's blocks of SQL, and the answers that it shows to them.  Those of several servers,
# for psql, are for a test of their own.
sub blocks
{
	my ($file) = @_;
	my (@statements, @answers);
	my $text = slurp_file($file);
	my $own = 0;

	while ($text =~ /^```(sql|psql|text)\n(.*?)^```$/msg)
	{
		if ($1 eq 'sql')
		{
			push @statements, $2;
			$own = 1;
		}
		elsif ($1 eq 'psql')
		{
			$own = 0;
		}
		elsif ($own)
		{
			$answers[$#statements] = $2;
		}
	}
	return (\@statements, \@answers);
}

# A file's pictures, which are of the machine that comes with idem.
sub pictures
{
	my ($file) = @_;

	return slurp_file($file) =~ /^```mermaid\n(.*?)^```$/msg;
}

my $only = $ENV{IDEM_DOCS} // '';
my $top = dirname(__FILE__) . '/..';

my $list = slurp_file("$top/docs/README.md");
is( join(' ', sort $list =~ /^\| \[.*\]\((.*\.md)\)/mg),
	join(' ', sort grep { $_ ne 'README.md' } map { basename($_) } glob "$top/docs/*.md"),
	'docs/README.md lists every page');
my $lines = () = slurp_file("$top/README.md") =~ /\n/g;
cmp_ok($lines, '<=', 320, 'README.md has 320 lines at most');

my $node = PostgreSQL::Test::Cluster->new('readme');
$node->init;
$node->append_conf('postgresql.conf',
	"shared_preload_libraries = 'idem'\ntimezone = 'UTC'\n");
$node->start;

$node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'idem launcher'")
  or die 'there is no launcher';

foreach my $file ("$top/README.md", sort glob "$top/docs/*.md")
{
	my $name = basename($file, '.md');
	my ($statements, $answers) = blocks($file);

	next unless @$statements && $name =~ /(?:$only)/;
	$node->safe_psql('postgres', qq(CREATE DATABASE "$name"));

	# Standard error goes where standard output does, so that both keep their
	# order.
	my $script = join '', map { "\\echo ==\n$_" } @$statements;
	if ($ENV{IDEM_DOCS_SET})
	{
		my ($setting, $value) = split /=/, $ENV{IDEM_DOCS_SET};

		$script =~ s/.\K^(?=\\echo ==)/SELECT set_config('$setting', '$value', false) \\g \/dev\/null\n/ms;
	}
	my $output;
	{
		local $ENV{PSQLRC} = '/dev/null';
		my $path = $node->basedir . "/$name.sql";
		append_to_file($path, $script);
		$output = qx(psql -X -d "@{[ $node->connstr($name) ]}" <"$path" 2>&1);
	}

	my (undef, @got) = split /^==\n/m, $output;
	is(scalar(@got), scalar(@$statements), "$name: every block of SQL was run");
	foreach my $i (0 .. $#$statements)
	{
		my ($first) = split /\n/, $statements->[$i];

		if (defined $answers->[$i])
		{
			is(general($got[$i]), general($answers->[$i]),
				"$name: answer to: $first");
		}
		else
		{
			unlike($got[$i], qr/^ERROR:/m, "$name: no error from: $first");
		}
	}
	is($_, $node->safe_psql($name, "SELECT idem_machine_graph('order')") . "\n",
		"$name: the picture is of the machine")
	  foreach pictures($file);
}

$node->stop;
done_testing();

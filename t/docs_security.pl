# What docs/security.md lists is all that there is: each place where rights change,
# each file that runs SQL, each function that PUBLIC may call, and each setting for
# superusers.  Each claim names a test, and the tests are there.
use strict;
use warnings;

use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = dirname(__FILE__) . '/..';
my $page = slurp_file("$top/docs/security.md");
my @files = map { s{^\Q$top\E/src/}{}r } glob "$top/src/*/*.c";

# The rows of the table in a section, as lists of their cells.
sub table
{
	my ($text, $heading) = @_;
	my ($section) = $text =~ /^## \Q$heading\E\n(.*?)(?=^## |\z)/ms;

	die "there is no section $heading" unless defined $section;
	my (undef, @rows) = $section =~ /^\| (.*) \|$/mg;
	return map { [ split / \| ?/ ] } @rows;
}

# What is in backquotes.
sub quoted { return $_[0] =~ /`([^`]+)`/g }

# What of the second list is not in the first.
sub missing
{
	my ($listed, $there) = @_;
	my %listed = map { $_ => 1 } @$listed;
	my %seen;

	return join("\n", sort grep { !$listed{$_} && !$seen{$_}++ } @$there);
}

# A file without its comments.
sub code { return slurp_file("$top/src/$_[0]") =~ s{/\*.*?\*/}{}gsr }

# Where the user is changed, as "file function".
sub changes_of_rights
{
	my @places;

	foreach my $file (grep { $_ ne 'run/usercontext.c' } @files)
	{
		my $function = '';

		foreach my $line (split /\n/, code($file))
		{
			$function = $1 if $line =~ /^(\w+)\(/;
			push @places, "$file $function" if $line =~ /idem_usercontext_enter\w*\s*\(/;
		}
	}
	return @places;
}

# Files that run SQL, or keep what does.
sub files_with_sql { return grep { code($_) =~ /\b(idem_spi_\w+|SPI_\w+)\s*\(/ } @files }

# Functions of the table in a section.
sub functions { return map { quoted($_->[0]) } table(@_) }

sub places { return map { join ' ', (quoted($_->[0]))[0], (quoted($_->[1]))[0] } table($_[0], 'Where rights change') }
sub sql { return map { quoted($_->[0]) } table($_[0], 'SQL that idem runs') }

is(missing([ places($page) ], [ changes_of_rights() ]), '', 'each place where rights change is listed');
is(missing([ changes_of_rights() ], [ places($page) ]), '', 'and no other');
is(missing([ sql($page) ], [ files_with_sql() ]), '', 'each file that runs SQL is listed');
is(missing([ files_with_sql() ], [ sql($page) ]), '', 'and no other');
is(join("\n", grep { code($_) =~ /\bSetUserIdAndSecContext\s*\(/ } @files), 'run/usercontext.c',
	'one file sets the user');

my $node = PostgreSQL::Test::Cluster->new('security');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION idem; CREATE ROLE regress_stranger LOGIN');

# The extension's functions that a role may call which nothing was granted to.
sub callable
{
	my ($may) = @_;

	return split /\n/, $node->safe_psql('postgres', qq{
		SELECT DISTINCT p.proname FROM pg_proc AS p
			JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
			JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
		WHERE e.extname = 'idem' AND has_function_privilege('regress_stranger', p.oid, 'EXECUTE') = $may});
}

foreach my $case ([ 'What PUBLIC may call', 'true' ], [ 'What PUBLIC may not call', 'false' ])
{
	my ($heading, $may) = @$case;
	my @there = callable($may);

	cmp_ok(scalar @there, '>', 3, "$heading: there are some");
	is(missing([ functions($page, $heading) ], \@there), '', "$heading: each function is listed");
	is(missing(\@there, [ functions($page, $heading) ]), '', "$heading: and no other");
}

# Settings for superusers, also where a role sets them before the library is loaded.
my @for_superusers = split /\n/,
  $node->safe_psql('postgres', q{LOAD 'idem'; SELECT name FROM pg_settings WHERE name ~ '^idem\.' AND context = 'superuser'});
is(missing([ map { quoted($_->[0]) } table($page, 'Settings') ], \@for_superusers), '',
	'each setting for superusers is listed');
is(missing(\@for_superusers, [ map { quoted($_->[0]) } table($page, 'Settings') ]), '', 'and no other');
foreach my $setting (@for_superusers)
{
	my $default = $node->safe_psql('postgres', "LOAD 'idem'; SHOW $setting");

	foreach my $options ("-c $setting=1", '')
	{
		local $ENV{PGOPTIONS} = $options;
		my ($rc, $out) = $node->psql('postgres', ($options eq '' ? "SET $setting = 1;" : '') .
				" SELECT idem_new_key() IS NULL; SHOW $setting", extra_params => [ '-U', 'regress_stranger' ], on_error_stop => 0);
		is($out, "f\n$default", "$setting stays as it is, " . ($options eq '' ? 'set before' : 'from the start'));
	}
	my ($rc, $out, $err) = $node->psql('postgres', "SELECT idem_new_key() IS NULL; SET $setting = 1",
		extra_params => [ '-U', 'regress_stranger' ]);
	like($err, qr/permission denied to set parameter "\Q$setting\E"/, "$setting is for superusers");
}
$node->stop;

# Each row that says something names a test, or more.
foreach my $heading ('What idem promises', 'Where rights change', 'SQL that idem runs', 'What PUBLIC may call',
	'What PUBLIC may not call', 'Settings')
{
	my @rows = table($page, $heading);

	cmp_ok(scalar @rows, '>', 0, "$heading: there are rows");
	is(join("\n", map { $_->[0] } grep { $_->[-1] !~ m{`(?:sql|t|specs)/\w+\.\w+`} } @rows), '', "$heading: with tests");
}
my @tests = grep { m{^(?:sql|t|specs)/} } quoted($page);
is(join("\n", grep { !-e "$top/$_" } @tests), '', 'the tests are there');

# It would be noticed if one was left out.
foreach my $case ([ \&places, [ changes_of_rights() ] ], [ \&sql, [ files_with_sql() ] ])
{
	my ($listed, $there) = @$case;

	foreach my $place (@$there)
	{
		my ($file, $function) = split / /, $place;
		my $without = join '', grep { !/^\| `\Q$file\E` \|/ || (defined $function && !/`\Q$function\E`/) }
		  split /^/, $page;
		isnt(missing([ $listed->($without) ], $there), '', "$place is missed");
	}
}

done_testing();

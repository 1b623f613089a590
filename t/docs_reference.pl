# What the reference says is there is there, and the other way round: functions
# with their arguments and results, types, tables, settings, and each error with
# its message.  Links lead to where they say.
use strict;
use warnings;

use File::Basename;
use File::Find;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = dirname(__FILE__) . '/..';

# The sections of a page under headings of a level, by heading.  What is in a
# block of code is no heading.
sub sections
{
	my ($page, $level) = @_;
	my (%text, $heading);
	my $code = 0;

	foreach my $line (split /^/, slurp_file("$top/docs/$page.md"))
	{
		$code = !$code if $line =~ /^```/;
		if (!$code && $line =~ /^(#{1,$level}) (.*)$/)
		{
			$heading = length($1) == $level ? $2 : undef;
			ok(!exists $text{$heading}, "$page: one heading for $heading") if defined $heading;
		}
		$text{$heading} .= $line if defined $heading;
	}
	return \%text;
}

# Compares what is documented with what is there, in any order.
sub is_same
{
	my ($documented, $there, $name) = @_;
	my %documented = map { $_ => 1 } @$documented;
	my %there = map { $_ => 1 } @$there;

	is(join("\n", sort grep { !$documented{$_} } keys %there), '', "$name: nothing is left out");
	is(join("\n", sort grep { !$there{$_} } keys %documented), '', "$name: nothing is made up");
}

# The values in backquotes in the first column of a section's tables.
sub first_column
{
	my ($section) = @_;

	return map { /`([^`]+)`/g } $section =~ /^\| (`[^|]*) \|/mg;
}

# The signatures that one stands for, in which {a | b} is a choice of types.
sub each_type
{
	my ($signature) = @_;

	return $signature unless $signature =~ /^(.*?)\{(.*?)\}(.*)$/;
	my ($before, $types, $after) = ($1, $2, $3);

	return map { each_type("$before$_$after") } split / \| /, $types;
}

my $node = PostgreSQL::Test::Cluster->new('reference');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION idem');

sub rows
{
	my ($sql) = @_;

	return map { [ split /\|/, $_, -1 ] } split /\n/, $node->safe_psql('postgres', "LOAD 'idem'; $sql");
}

my $entries = sections('reference', 3);

# Functions.  Those whose name begins with an underscore are idem's own.
my %arguments;
my @signatures;
foreach my $row (rows(q{
	SELECT p.proname, pg_get_function_arguments(p.oid),
		CASE WHEN p.proretset THEN 'SETOF ' ELSE '' END ||
		coalesce((SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
			FROM pg_attribute AS a WHERE a.attrelid = t.typrelid), format_type(t.oid, NULL)),
		(SELECT string_agg(name, ' ') FROM unnest(p.proargnames) AS name)
	FROM pg_proc AS p JOIN pg_type AS t ON t.oid = p.prorettype
		JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	WHERE e.extname = 'idem' AND NOT starts_with(p.proname, '_')}))
{
	my ($name, $arguments, $result, $names) = @$row;
	my $signature = "$name($arguments) -> $result";

	$signature =~ s/timestamp with time zone/timestamptz/g;
	$signature =~ s/ DEFAULT ('[^']*'|[^:,)]+)(::\w+(\[\])?)?/ = $1/g;
	push @signatures, $signature;
	$arguments{$name} = [ split / /, $names ];
}

my @documented;
foreach my $name (sort grep { exists $arguments{$_} } keys %$entries)
{
	my ($signature) = $entries->{$name} =~ /^```\n(.*?)^```$/ms;

	$signature =~ s/\s*→\s*/ -> /;
	$signature =~ s/\s+/ /g;
	$signature =~ s/ $//;
	push @documented, each_type($signature);
}
is_same(\@documented, \@signatures, 'functions');

foreach my $name (sort keys %arguments)
{
	my $entry = $entries->{$name} // '';
	my %named = map { $_ => 1 } first_column($entry);
	my @missing = grep { !$named{$_} } @{ $arguments{$name} };

	is("@missing", '', "$name: all arguments are explained");
	like($entry, qr/^\| SQLSTATE \| when \||\bErrors are\b|raises errors|raises no error/m, "$name: errors");
	like($entry, qr/^```sql$/m, "$name: an example");
	like($entry, qr/^See also /m, "$name: where to read on");
}

# Types, and the values of enums.
my $types = {
	map { $_ => $entries->{$_} } grep { !$arguments{$_} && /^(idem|order)_\w+$/ } keys %$entries
};
is_same(
	[ keys %$types, first_column($entries->{'Result types'}) ],
	[
		map { $_->[0] } rows(q{
			SELECT t.typname FROM pg_type AS t
			WHERE t.typnamespace = 'public'::regnamespace AND t.typelem = 0
				AND NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = t.typrelid AND c.relkind <> 'c')})
	],
	'types');
foreach my $row (rows('SELECT enumtypid::regtype, enumlabel FROM pg_enum'))
{
	like($types->{ $row->[0] }, qr/`$row->[1]`/, "$row->[0]: $row->[1]");
}

# Tables and their columns.
my @columns;
foreach my $heading (grep { /^(?:Table|View) / } keys %$entries)
{
	my ($table) = $heading =~ /^(?:Table|View) (\w+)$/;

	push @columns, map { "$table.$_" } first_column($entries->{$heading});
}
is_same(
	\@columns,
	[
		map { $_->[0] } rows(q{
			SELECT c.relname || '.' || a.attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
			WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0})
	],
	'columns of tables');

# The install script's table of contents.
my $script = slurp_file("$top/idem--1.0.sql");
my ($contents) = $script =~ /^-- Contents\n(.*?)\n\n/ms;

is( join(', ', $contents =~ /^--   (\w+(?: \w+)*)  /mg),
	join(', ', grep { $_ ne 'Contents' } $script =~ /^--\n-- (\w+(?: \w+)*)[^\n]*\n--$/mg),
	'contents of the script: sections');
is_same(
	[ $contents =~ /\b((?:idem|order)_\w+)/g ],
	[ grep { !/_result$|_entry$/ } keys %arguments, keys %$types, map { s/^(?:Table|View) //r } grep { /^(?:Table|View) / } keys %$entries ],
	'contents of the script');

# Settings.
my %who = (
	user => 'Anyone may set it',
	superuser => 'Superusers\s+may\s+set it',
	sighup => 'in the configuration\s+file, and\s+read\s+on\s+reload');
my @settings = rows(q{SELECT name, current_setting(name), context FROM pg_settings WHERE starts_with(name, 'idem.')});

is_same([ grep { /^idem\./ } keys %$entries ], [ map { $_->[0] } @settings ], 'settings');
foreach my $row (@settings)
{
	my ($name, $default, $context) = @$row;
	my $entry = $entries->{$name} // '';
	my $shown = $default eq '' ? 'the empty string' : "`$default`";

	like($entry, qr/\bThe\s+default\s+is\s+\Q$shown\E\.\s*\z/, "$name: its default comes last");
	like($entry, qr/$who{$context}/, "$name: who may set it");
}

# The status of HTTP that the page on errors gives for each code.
my %documented_status;
foreach my $row (sections('errors', 2)->{'In short'} =~ /^\| (.*) \|$/mg)
{
	my ($codes, undef, undef, $status) = split /\s*\|\s*/, $row;

	$documented_status{$_} = $status foreach $codes =~ /\[`(\w{5})`\]/g;
	$documented_status{XX000} = $status if $codes eq 'all others';
}
cmp_ok(scalar keys %documented_status, '>', 15, 'the page on errors gives statuses');
is_deeply(
	{ map { @$_ } rows("SELECT code, idem_http_status(code) FROM unnest('{"
		. join(',', keys %documented_status) . "}'::text[]) AS code") },
	\%documented_status, 'which are those that idem_http_status() returns');
$node->stop;

# Errors: which message the source raises with which code.  What differs in a
# message is given as dots.
sub plain
{
	my ($literals) = @_;
	my $text = join '', $literals =~ /"((?:[^"\\]|\\.)*)"/g;

	$text =~ s/\\"/"/g;
	$text =~ s/%(\.\*)?(ll|z)?[sdu]/.../g;
	return $text;
}

my $literal = qr/"(?:[^"\\\n]|\\.)*"/;
my %code;
foreach my $header ($node->config_data('--includedir-server') . '/utils/errcodes.h', "$top/src/base/error.h")
{
	my $text = slurp_file($header);

	while ($text =~ /^#define\s+(ERRCODE_\w+)\s+MAKE_SQLSTATE\((.*?)\)/mg)
	{
		my ($name, $letters) = ($1, $2);

		$code{$name} = $letters =~ s/[^A-Z0-9]//gr;
	}
}

my (%raised, %literals);
find(
	sub {
		return unless /\.c$/;
		my $text = slurp_file($_);
		my ($level, $sqlstate);

		$literals{ plain($1) } = 1 while $text =~ /((?:$literal\s*)+)/g;
		while ($text =~ /\bereport\(\s*(\w+)|\berrcode\((ERRCODE_\w+)\)|\berrmsg\(\s*((?:$literal\s*)+)/g)
		{
			if (defined $1)
			{
				($level, $sqlstate) = ($1, undef);
			}
			elsif (defined $2)
			{
				$sqlstate = $code{$2};
				$raised{$sqlstate}{''} = 1;
			}
			else
			{
				$raised{ $level eq 'ERROR' ? $sqlstate : 'Notices and log messages' }{ plain($3) } = 1;
			}
		}
	},
	"$top/src");

my $errors = sections('errors', 3);
my $chapters = sections('errors', 2);

foreach my $sqlstate (sort keys %raised)
{
	my $section = $errors->{$sqlstate} // $chapters->{$sqlstate};
	my %told = map { $_ => 1 } map { /`([^`]+)`/g } $section ? $section =~ /^\| (?:`[A-Z]+` \| )?(`[^|]*) \|/mg : ();
	my @missing = grep { $_ ne '' && !$told{$_} } sort keys %{ $raised{$sqlstate} };

	ok(defined $section, "$sqlstate: a heading");
	is(join("\n", @missing), '', "$sqlstate: all messages");
}
is_same([ grep { /^ID/ } keys %$errors ], [ grep { /^ID/ } values %code ], "codes of idem's own");
foreach my $sqlstate (sort keys %$errors)
{
	next if $chapters->{'Raised by PostgreSQL'} =~ /^### $sqlstate$/m;
	ok($raised{$sqlstate}, "$sqlstate: is raised");

	my @unknown = grep { !$literals{$_} } map { /`([^`]+)`/g } $errors->{$sqlstate} =~ /^\| (`[^|]*) \|/mg;
	is(join("\n", @unknown), '', "$sqlstate: no other messages");
}

# Links.
my %anchors;

sub anchors
{
	my ($file) = @_;

	unless ($anchors{$file})
	{
		my $text = slurp_file($file) =~ s/^```.*?^```$//msgr;
		my %seen;

		foreach my $heading ($text =~ /^#+ (.*)$/mg)
		{
			my $anchor = lc($heading =~ s/[^\w\- ]//gr) =~ s/ /-/gr;

			my $nth = $seen{$anchor}++;
			$anchor .= "-$nth" if $nth;
			$anchors{$file}{$anchor} = 1;
		}
	}
	return $anchors{$file};
}

foreach my $file (glob("$top/*.md"), glob("$top/docs/*.md"))
{
	my $text = slurp_file($file) =~ s/^```.*?^```$//msgr;
	my @broken;

	foreach my $link ($text =~ /\]\(([^)\s]+)\)/g)
	{
		next if $link =~ /^https?:/;
		my ($path, $anchor) = split /#/, $link;
		my $target = $path eq '' ? $file : dirname($file) . "/$path";

		push @broken, $link
		  unless -e $target && (!defined $anchor || $target !~ /\.md$/ || anchors($target)->{$anchor});
	}
	is("@broken", '', substr($file, length($top) + 1) . ': its links lead somewhere');
}

done_testing();

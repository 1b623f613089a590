# PostgreSQL's own isolation tests, with their INSERT, UPDATE, DELETE and MERGE sent
# through idem_execute(): who waits, who fails, and what is there in the end is as
# PostgreSQL says in the answers that come with its tests.  Those of INSERT ... ON
# CONFLICT run as idem_upsert(), too, compared with the statement that it stands for.
#
# IDEM_POSTGRES_SOURCE is where PostgreSQL's source is; scripts/check gets it.
# IDEM_POSTGRES_SPECS is a pattern of the tests to run, all by default.
use strict;
use warnings;

use File::Basename;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IsolationSpec qw(steps replace restore statements heading);
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant {
	SESSIONS => 2,      # tests that run at a time, in databases of their own
	AT_LEAST => 40,     # tests of PostgreSQL's that have something to send
};

my $source = $ENV{IDEM_POSTGRES_SOURCE} // '';
my $tests = "$source/src/test/isolation";
my $only = $ENV{IDEM_POSTGRES_SPECS} // '';

if (!-d "$tests/specs")
{
	plan skip_all => -f "$source/missing"
		? slurp_file("$source/missing") =~ s/\n//gr
		: "IDEM_POSTGRES_SOURCE does not lead to PostgreSQL's source";
}

# Sends the statements of a step that change something through idem_execute(), each
# under a key of its own, but for those on temporary tables, which it refuses.  What a
# statement returns is made into the table that it would be.
sub through_execute
{
	my ($step, $temporary, @outputs) = @_;
	my $is_other = 0;
	my @statements;

	foreach my $statement (statements($step->{sql}))
	{
		my ($before, $command, $after) = $statement =~ /^(\s*)(.*?)(\s*;?)$/s;

		# whole rows of a table are objects in the result, whose columns have no order
		if ($command =~ /^(?:WITH\b.*)?\b(?:INSERT|UPDATE|DELETE|MERGE)\b/is && $command !~ $temporary
			&& $command !~ /\bRETURNING\b.*\b(?:old|new)\b(?!\.)/is)
		{
			my $call = "idem_execute(gen_random_uuid()::text, \$idem\$$command\$idem\$)";

			my ($columns) = $command =~ /^WITH\b|\bRETURNING\b/i
				? grep { defined } map { heading($_, $step) } @outputs : ();

			if (!$columns)
			{
				$statement = "${before}SELECT outcome AS idem_outcome FROM $call$after";
				$is_other = 1;
			}
			# of two columns with one name only one is in the result
			elsif (!grep { my $name = $_; 1 < grep { $_ eq $name } @$columns } @$columns)
			{
				my $list = join(', ', map { qq{CASE r->'$_' WHEN 'true' THEN 't' WHEN 'false' THEN 'f'}
					. qq{ ELSE r->>'$_' END AS "$_"} } @$columns);

				$statement = "${before}SELECT $list FROM $call, jsonb_array_elements(result) r$after";
				$is_other = 1;
			}
		}
		push @statements, $statement;
	}
	$step->{other} = join('', @statements) if $is_other;
}

# An INSERT ... ON CONFLICT of one row, by its column of the primary key, as what
# idem_upsert() stands for, and as idem_upsert().  Where nothing is to be done with a
# row that is there, it keeps what it has.
sub through_upsert
{
	my ($step, $text) = @_;
	my ($table, $columns, $values, $key, $action) = $step->{sql} =~
		/^INSERT\s+INTO\s+(\w+)\s*(?:\(([\w,\s]+)\)\s*)?VALUES\s*\(([^()]*)\)\s*ON\s+CONFLICT\s*(\(\w+\))?\s*DO\s+(NOTHING|UPDATE)\b[^()]*$/i
		or return;

	# without a list they are those of a table of plain columns
	$columns //= join(', ', map { /^\s*(\w+)/ } split /,/, $1) if $text =~ /CREATE TABLE $table \(([^()]*)\)/;
	my @columns = split /\s*,\s*/, $columns // return;
	my @values = split /\s*,\s*/, $values;
	my @others;

	$key = ($key // '') =~ s/[()]//gr || $columns[0];
	@others = grep { $_ ne $key } @columns;
	my $keep = uc $action eq 'NOTHING';
	my $set = join(', ', map { "$_ = " . ($keep ? "COALESCE($table.$_, EXCLUDED.$_)" : "EXCLUDED.$_") } @others);
	my $data = join(', ', map { "'$columns[$_]', $values[$_]" } 0 .. $#columns);
	my $merge = $keep ? ', merge => jsonb_build_object(' . join(', ', map { "'$_', 'keep'" } @others) . ')' : '';

	$step->{plain} = "INSERT INTO $table ($columns) VALUES ($values) ON CONFLICT ($key) DO UPDATE SET $set";
	$step->{other} = 'SELECT outcome AS idem_outcome FROM idem_upsert(gen_random_uuid()::text,'
		. " '$table', jsonb_build_object($data)$merge)";
}

my $node = PostgreSQL::Test::Cluster->new('specs');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nmax_prepared_transactions = 10\n");
$node->start;
foreach my $database (map { "specs_$_" } 1 .. SESSIONS)
{
	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0 LOCALE 'C'");
	$node->safe_psql($database, 'CREATE EXTENSION idem');
}

# What isolationtester says to each of these, in an environment like that which
# PostgreSQL's own run of them has.
sub outputs
{
	my (%texts) = @_;
	my $place = PostgreSQL::Test::Utils::tempdir();
	my @titles = sort keys %texts;
	my $tester = dirname($ENV{PG_REGRESS}) . '/../isolation/isolationtester';
	my @workers;

	local $ENV{PGTZ} = 'PST8PDT';
	local $ENV{PGDATESTYLE} = 'Postgres, MDY';
	local $ENV{PGOPTIONS} = '-c intervalstyle=postgres_verbose -c lc_messages=C';
	foreach my $number (1 .. SESSIONS)
	{
		my $worker = fork();

		die "cannot fork: $!" unless defined $worker;
		push @workers, $worker;
		next if $worker;
		my $connection = $node->connstr("specs_$number");

		foreach my $title (@titles[ grep { $_ % SESSIONS == $number - 1 } 0 .. $#titles ])
		{
			my $file = "$place/" . $title =~ s/\W/_/gr;

			append_to_file("$file.spec", $texts{$title});
			# some ask for what is in a name such as "isolation/fk-snapshot/s1"
			local $ENV{PGAPPNAME} = 'isolation/' . $title =~ s/ .*//r;
			my $status = system("timeout $PostgreSQL::Test::Utils::timeout_default '$tester' \"$connection\" <'$file.spec' >'$file.out' 2>&1");
			append_to_file("$file.out", "isolationtester failed: $status\n") if $status;
		}
		# the server is not this process's to stop
		POSIX::_exit(0);
	}
	waitpid($_, 0) foreach @workers;
	return map { $_ => slurp_file("$place/" . s/\W/_/gr . '.out') } @titles;
}

# Where an output is not as expected.
sub difference
{
	my @files = map { PostgreSQL::Test::Utils::tempdir() . '/output' } @_;

	append_to_file($files[$_], $_[$_]) foreach 0 .. $#_;
	return scalar qx(diff -U 20 "$files[0]" "$files[1]" | head -n 200);
}

my (%texts, %steps, %expected, $permutations);
my %plain;

foreach my $file (sort glob("$tests/specs/*.spec"))
{
	my $name = basename($file, '.spec');
	my $text = slurp_file($file);
	my @steps = steps($text);
	my @expected = map { slurp_file($_) } glob("$tests/expected/$name.out $tests/expected/${name}_[0-9].out");

	my $temporary = join('|', 'no such table', $text =~ /\bCREATE TEMP(?:ORARY)? TABLE (\w+)/gi);

	next if $name !~ /$only/;
	through_execute($_, qr/\b(?:$temporary)\b/, @expected) foreach @steps;
	if (@expected && grep { $_->{other} } @steps)
	{
		my $title = "$name by idem_execute";

		($texts{$title}, $steps{$title}, $expected{$title}) = (replace($text, @steps), \@steps, \@expected);
	}
	next if $name !~ /^insert-conflict/;
	my @upserts = steps($text);

	through_upsert($_, $text) foreach @upserts;
	if (grep { $_->{other} } @upserts)
	{
		my $title = "$name by idem_upsert";
		my @plain = map { { %$_, other => $_->{plain} } } @upserts;

		($texts{$title}, $steps{$title}) = (replace($text, @upserts), \@upserts);
		($texts{"$name plainly"}, $plain{$title}) = (replace($text, @plain), \@plain);
	}
}

my %outputs = outputs(%texts);

foreach my $title (sort keys %steps)
{
	my $output = restore($outputs{$title}, @{ $steps{$title} });
	my @expected = $plain{$title}
		? restore($outputs{ $title =~ s/ by .*/ plainly/r }, @{ $plain{$title} })
		: @{ $expected{$title} };

	ok((grep { $output eq $_ } @expected), $title) or diag(difference($expected[0], $output));
	$permutations += () = $output =~ /^starting permutation/mg;
}
cmp_ok(scalar keys %steps, '>=', AT_LEAST, "tests, with $permutations permutations") if $only eq '';

done_testing();

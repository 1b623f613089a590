# Runs t/storm/storm.py on servers of its own, as a test.

package RandomSchedules;

use strict;
use warnings;

use Digest::MD5;
use Exporter 'import';
use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(storm storms);

my $driver = "$FindBin::RealBin/storm";

# Which schedules there are on a server: others with every change of idem or of the
# driver, and the same until then, so that what has passed is no matter of chance.
sub seed_of
{
	my ($node) = @_;
	my $digest = Digest::MD5->new;
	my ($major) = $node->pg_version =~ /^(\d+)/;

	$digest->add(map { slurp_file($_) } sort glob
			"$FindBin::RealBin/../{idem--*.sql,src/*.c,src/*/*.[ch]} $driver/*.py $driver/calls/*.py");
	return "$major." . hex substr($digest->hexdigest, 0, 7);
}

# run PYTHON, MODE, LAYOUT, SECONDS: passes if nothing was wrong in the time that there is.
sub run
{
	my ($python, $mode, $layout, $seconds) = @_;
	my $node = PostgreSQL::Test::Cluster->new("storm_${mode}_$layout");

	$node->init;
	$node->append_conf('postgresql.conf', slurp_file("$driver/$mode.conf"));
	$node->start;

	my @command = ($python, '-B', "$driver/storm.py", $mode, '--layout', $layout,
		'--conninfo', $node->connstr('postgres'),
		'--failed', "$PostgreSQL::Test::Utils::log_path/storm.$mode.json");
	local $ENV{IDEM_STORM_SECONDS} = $ENV{IDEM_STORM_SECONDS} // $seconds;
	local $ENV{IDEM_STORM_SEED} = $ENV{IDEM_STORM_SEED} // seed_of($node);
	open(my $output, '-|', @command) or die "cannot run $python: $!";
	my @lines = <$output>;
	my $passed = close $output;
	chomp @lines;
	$passed ? note($_) : diag($_) foreach @lines;
	ok($passed, "$mode, $layout: all was as it must be");
	is(scalar(grep { /PANIC:|TRAP:|signal 1?[1-8]\b|\bXX\d{3}\b/ && !/signal 9\b/ }
			split /\n/, slurp_file($node->logfile)), 0, "$mode, $layout: no internal error");
	$node->stop;
	return;
}

# storms [MODE, LAYOUT, SECONDS]...: one after the other.
sub storms
{
	my ($python) = grep { system("$_ -c 'import ctypes' 2>/dev/null") == 0 } 'python3', '/usr/bin/python3';

	plan skip_all => 'there is no python3' if !defined $python;
	run($python, @$_) foreach @_;
	done_testing();
	return;
}

# storm MODE: where keys are the extension's own.
sub storm
{
	return storms([ $_[0], 'plain', 60 ]);
}

1;

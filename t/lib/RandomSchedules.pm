# Runs t/storm/storm.py on a server of its own, as a test.

package RandomSchedules;

use strict;
use warnings;

use Exporter 'import';
use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(storm);

# storm MODE: passes if nothing was wrong in the time that there is.
sub storm
{
	my ($mode) = @_;
	my $driver = "$FindBin::RealBin/storm";
	my ($python) = grep { system("$_ -c 'import ctypes' 2>/dev/null") == 0 } 'python3', '/usr/bin/python3';

	plan skip_all => 'there is no python3' if !defined $python;

	my $node = PostgreSQL::Test::Cluster->new("storm_$mode");
	$node->init;
	$node->append_conf('postgresql.conf', slurp_file("$driver/$mode.conf"));
	$node->start;

	my @command = ($python, '-B', "$driver/storm.py", $mode, '--conninfo', $node->connstr('postgres'),
		'--failed', "$PostgreSQL::Test::Utils::log_path/storm.$mode.json");
	open(my $output, '-|', @command) or die "cannot run $python: $!";
	my @lines = <$output>;
	my $passed = close $output;
	chomp @lines;
	$passed ? note($_) : diag($_) foreach @lines;
	ok($passed, 'all was as it must be');
	is(scalar(grep { /PANIC:|TRAP:|signal 1?[1-8]\b|\bXX\d{3}\b/ && !/signal 9\b/ }
			split /\n/, slurp_file($node->logfile)), 0, 'no internal error');
	$node->stop;
	done_testing();
}

1;

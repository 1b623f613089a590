# Moves money from one account to another, in a transaction.  The bug: after a lost
# connection only the statement that failed is run again, on the new one.
use strict;
use warnings;

use DBI;

sub connect_shop
{
	# libpq reads PGHOST and so on
	return DBI->connect('dbi:Pg:', undef, undef, { RaiseError => 1, PrintError => 0 });
}

# Runs work on $db, and again on a new connection where that was lost.
sub retry
{
	my ($db, $work) = @_;

	foreach my $attempt (1 .. 30)
	{
		return $db if eval { $work->($$db); 1 };
		die $@ unless $DBI::state =~ /^08/;	# a lost connection
		$$db = connect_shop();
	}
	die "no answer after 30 attempts\n";
}

sub move
{
	my ($from, $to) = @_;
	my $db = connect_shop();
	my $insert = 'INSERT INTO ledger (account, amount) VALUES (?, ?)';

	$db->begin_work;
	retry(\$db, sub { $_[0]->do($insert, undef, $from, -10) });
	retry(\$db, sub { $_[0]->do($insert, undef, $to, 10) });
	retry(\$db, sub { $_[0]->commit unless $_[0]->{AutoCommit} });
	return;
}

my ($run) = connect_shop()->selectrow_array('SELECT gen_random_uuid()');
move("$run/from/$_", "$run/to/$_") foreach 1 .. 100;

my ($entries, $accounts, $sum) = connect_shop()->selectrow_array(
	'SELECT count(*), count(DISTINCT account), sum(amount) FROM ledger WHERE starts_with(account, ?)',
	undef, $run);
die "wrong: 100 moves are 200 entries of 200 accounts, there are $entries of $accounts\n"
  if $entries != 200 || $accounts != 200 || $sum != 0;
print "right: 100 moves\n";

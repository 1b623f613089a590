# Moves money from one account to another, in a transaction under a key.  After a lost
# connection the whole of it is run again.
use strict;
use warnings;

use DBI;

sub connect_shop
{
	# libpq reads PGHOST and so on
	return DBI->connect('dbi:Pg:', undef, undef, { RaiseError => 1, PrintError => 0 });
}

# Runs work, with a connection, as a transaction, and again where that was lost.
sub retry
{
	my ($work) = @_;

	foreach my $attempt (1 .. 30)
	{
		my $db = connect_shop();

		$db->begin_work;
		return if eval { $work->($db); $db->commit; 1 };
		die $@ unless $DBI::state =~ /^08/;	# a lost connection
	}
	die "no answer after 30 attempts\n";
}

sub move
{
	my ($key, $from, $to) = @_;
	my $insert = 'INSERT INTO ledger (account, amount) VALUES (?, ?)';

	retry(sub {
		my ($db) = @_;
		my ($outcome) = $db->selectrow_array('SELECT outcome FROM idem_claim(?)', undef, $key);

		return if $outcome ne 'claimed';
		$db->do($insert, undef, $from, -10);
		$db->do($insert, undef, $to, 10);
	});
	return;
}

my ($run) = connect_shop()->selectrow_array('SELECT gen_random_uuid()');
move("$run/move/$_", "$run/from/$_", "$run/to/$_") foreach 1 .. 100;

my ($entries, $accounts, $sum) = connect_shop()->selectrow_array(
	'SELECT count(*), count(DISTINCT account), sum(amount) FROM ledger WHERE starts_with(account, ?)',
	undef, $run);
die "wrong: 100 moves are 200 entries of 200 accounts, there are $entries of $accounts\n"
  if $entries != 200 || $accounts != 200 || $sum != 0;
print "right: 100 moves\n";

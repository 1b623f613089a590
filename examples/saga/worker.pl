#!/usr/bin/env perl
# A worker that reserves and unreserves, by DBD::Pg.
#
#     worker.pl LEDGER STOCK
#
# Both say where to connect to ("dbname=shop").  It stops when its standard input ends.
# With IDEM_CRASH=0.1 it dies in one of ten places at random, as a test.
use strict;
use warnings;

use DBI;
use JSON::PP;
use POSIX ();

my $lease = $ENV{IDEM_LEASE} // '1 minute';
my $crash = $ENV{IDEM_CRASH} // 0;

sub may_crash { POSIX::_exit(9) if rand() < $crash; return }

sub connect_to
{
	my ($where) = @_;
	return DBI->connect("dbi:Pg:$where", undef, undef, { RaiseError => 1, PrintError => 0, AutoCommit => 1 });
}

my ($ledger, $stock) = map { connect_to($_ =~ s/ /;/gr) } @ARGV;

# In the participant's database: the barrier's answer, and the work if that is to run.
sub behind_barrier
{
	my ($claim, $quantity) = @_;
	my $answer;

	$stock->begin_work;
	eval {
		$answer = $stock->selectrow_array('SELECT idem_barrier(?, ?, ?)', undef,
			@$claim{qw(saga step undo)});
		if ($answer eq 'run')
		{
			$stock->do('UPDATE item SET available = available - ? WHERE id = 1', undef, $quantity);
			$stock->do('INSERT INTO movement (saga, quantity) VALUES (?, ?)', undef, $claim->{saga}, $quantity);
		}
		may_crash();
		$stock->commit;
		1;
	} or do {
		my $error = $@;
		my $state = $stock->state;

		$stock->rollback;
		return ('refused') if $state eq '23514';	# check_violation: there is not enough of it
		die $error;
	};
	return $answer;
}

# Whether an attempt before this one, which may only be slow, has happened after all;
# if not, it cannot any more.
sub has_happened
{
	my ($claim) = @_;

	$stock->begin_work;
	my $answer = $stock->selectrow_array('SELECT idem_barrier(?, ?, true)', undef, @$claim{qw(saga step)});
	$answer eq 'run' ? $stock->rollback : $stock->commit;
	return $answer eq 'run';
}

# Reports; a lost lease is another worker's business.
sub report
{
	my ($claim, $how, @values) = @_;

	may_crash();
	eval { $ledger->selectrow_array("SELECT $how(?, ?, " . join(', ', ('?') x @values) . ')', undef,
		@$claim{qw(key fence)}, @values); 1 }
	  or $ledger->state eq 'ID002' or die $@;
	may_crash();
	return;
}

while (1)
{
	# the claim commits before the work begins
	my $claim = $ledger->selectrow_hashref('SELECT * FROM idem_saga_claim(?, ?::interval)', undef,
		[ 'reserve', 'unreserve' ], $lease);
	may_crash();
	if (defined $claim)
	{
		my $quantity = decode_json($claim->{input})->{quantity};
		my $answer = behind_barrier($claim, $claim->{undo} ? -$quantity : $quantity);

		if ($answer eq 'refused' && !has_happened($claim))
		{
			report($claim, 'idem_saga_fail', '"sold out"', 0);
		}
		elsif ($answer eq 'late')
		{
			# its undo came first, or an attempt before this one has closed it
			report($claim, 'idem_saga_fail', '"it can never begin"', 0);
		}
		else
		{
			report($claim, 'idem_saga_done', encode_json({ barrier => $answer }));
		}
	}
	my $ready = '';
	vec($ready, fileno(STDIN), 1) = 1;
	if (select($ready, undef, undef, defined $claim ? 0 : 0.02) > 0)
	{
		last if !sysread(STDIN, my $byte, 1);
	}
}

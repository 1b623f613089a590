# A worker of sagas that fails in every way there is: it dies before the effect and
# after it, is too slow, loses its connection, reports failures that pass and refusals
# that do not.  The effects are in another database, whose calls are remembered by
# saga and step, and which refuses a step that was undone before it began.

package SagaWorker;

use strict;
use warnings;

use IPC::Open2;
use IO::Handle;
use Time::HiRes qw(sleep time);

# What the provider is made of.  perform() is the barrier of a participant.
our $provider = q{
	CREATE TABLE call (saga text, step int, undo boolean, outcome text NOT NULL, PRIMARY KEY (saga, step, undo));
	CREATE TABLE effect (serial bigint GENERATED ALWAYS AS IDENTITY, saga text, step int, undo boolean);
	CREATE FUNCTION perform(for_saga text, for_step int, for_undo boolean, refuse boolean) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		known text;
	BEGIN
		INSERT INTO call VALUES (for_saga, for_step, for_undo, CASE WHEN refuse THEN 'refused' ELSE 'run' END)
			ON CONFLICT DO NOTHING;
		IF NOT FOUND THEN
			SELECT outcome INTO known FROM call WHERE (saga, step, undo) = (for_saga, for_step, for_undo);
			RETURN CASE known WHEN 'run' THEN 'duplicate' ELSE known END;
		END IF;
		IF refuse THEN
			RETURN 'refused';
		END IF;
		IF for_undo THEN
			INSERT INTO call VALUES (for_saga, for_step, false, 'late') ON CONFLICT DO NOTHING;
			IF FOUND THEN
				RETURN 'empty';
			END IF;
			PERFORM FROM call WHERE (saga, step) = (for_saga, for_step) AND NOT undo AND outcome = 'run';
			IF NOT FOUND THEN
				RETURN 'empty';
			END IF;
		END IF;
		INSERT INTO effect (saga, step, undo) VALUES (for_saga, for_step, for_undo);
		RETURN 'run';
	END $$;
};

# A worker whose connections are made by these commands, in a process of its own.
sub new
{
	my ($class, %args) = @_;

	return bless { %args, tally => {}, unexpected => [] }, $class;
}

# One statement, on one of the two connections; undef if the connection was lost.  An
# error comes back as its SQLSTATE behind "!".
sub ask
{
	my ($self, $which, $sql) = @_;
	my $c = $self->{connection}{$which} //= $self->connect($which) or return undef;
	my @rows;

	local $SIG{PIPE} = 'IGNORE';
	print { $c->{in} } "$sql;\n\\echo END :ERROR :SQLSTATE\n";
	while (defined(my $line = readline $c->{out}))
	{
		chomp $line;
		if ($line =~ /^END (\w+) (.*)$/)
		{
			my ($failed, $sqlstate) = ($1, $2);

			return join "\n", @rows if $failed eq 'false';
			return "!$sqlstate" if length $sqlstate == 5;
			last;	# an error of psql's own: there is no connection
		}
		push @rows, $line;
	}
	$self->disconnect($which);
	return undef;
}

sub connect
{
	my ($self, $which) = @_;
	my $c = {};

	$c->{pid} = open2($c->{out}, $c->{in}, @{ $self->{$which} });
	$c->{in}->autoflush(1);
	return $c;
}

sub disconnect
{
	my ($self, $which) = @_;
	my $c = delete $self->{connection}{$which} or return;

	close $c->{in};
	waitpid $c->{pid}, 0;
}

# Asks until there is an answer, over crashes and conflicts.
sub insist
{
	my ($self, $which, $sql) = @_;
	my $until = time + 120;

	while (time < $until)
	{
		my $answer = $self->ask($which, $sql);

		if (!defined $answer)
		{
			sleep 0.05;
			next;
		}
		# a snapshot too old, a deadlock, a server that goes down or comes up
		return $answer unless $answer =~ /^!(40|57P|08)/;
	}
	die "no answer to $sql";
}

sub count
{
	my ($self, $what) = @_;

	$self->{tally}{$what}++;
}

# Reports how a step ended, and notes an answer that should not be.
sub report
{
	my ($self, $sql, $sometimes) = @_;
	my $answer = $self->insist('ledger', $sql);

	if ($answer =~ /^!/)
	{
		$self->count("report $answer");
		push @{ $self->{unexpected} }, "$answer to $sql" unless $answer =~ $sometimes;
	}
}

# Claims one step, and does with it what chance will have.
sub work
{
	my ($self) = @_;
	my $level = (map { "BEGIN ISOLATION LEVEL $_;" } 'READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')[ rand 3 ];
	my $claimed = $self->ask('ledger', "$level SELECT saga, step, undo, key, fence, work FROM idem_saga_claim($self->{works}, '$self->{lease}'); COMMIT;");

	return 0 if !defined $claimed || $claimed eq '' || $claimed =~ /^!/;
	my ($saga, $step, $undo, $key, $fence, $work) = split /\|/, $claimed;
	my $perform = "SELECT perform('$saga', $step, '$undo', false)";
	my $fail = "SELECT idem_saga_fail('$key', $fence, '\"no\"', after => '20 ms')";
	my $done = "SELECT idem_saga_done('$key', $fence, '{\"by\": $fence}')";
	my $chance = rand;
	# who comes late is told that the claim is lost, or that its step is settled
	my $late = qr/^!ID(002|401)$/;

	$self->count($undo eq 't' ? 'undo' : 'do');
	if ($work =~ /broken/)
	{
		$self->report($fail, $late);
	}
	elsif ($chance < 0.08)
	{
		$self->count('died before');
	}
	elsif ($chance < 0.16)
	{
		$self->insist('provider', $perform);
		$self->count('died after');
	}
	elsif ($chance < 0.22)
	{
		$self->report($fail, $late);
		$self->count('failed before');
	}
	elsif ($chance < 0.27)
	{
		$self->insist('provider', $perform);
		$self->report($fail, $late);
		$self->count('failed after');
	}
	elsif ($chance < 0.31 && $work eq 'do')
	{
		my $answer = $self->insist('provider', "SELECT perform('$saga', $step, false, true)");

		$self->report($answer eq 'refused' ?
			"SELECT idem_saga_fail('$key', $fence, '\"refused\"', retry => false)" :
			$answer eq 'duplicate' ? $done : $fail, $late);
		$self->count("refusal: $answer");
	}
	else
	{
		if ($chance > 0.95)
		{
			sleep 2 * $self->{seconds};
			$self->count('slow');
		}
		elsif ($chance > 0.9)
		{
			$self->insist('ledger', "SELECT idem_extend('$key', $fence, '$self->{lease}', 'idem.saga')");
			$self->count('extended');
		}
		my $answer = $self->insist('provider', $perform);

		# a step that was refused, or undone before it began, is not done
		$self->report($answer eq 'refused' ?
			"SELECT idem_saga_fail('$key', $fence, '\"refused\"', retry => false)" :
			$answer eq 'late' ? $fail : $done, $late);
		$self->count($undo eq 't' ? "undo: $answer" : "do: $answer");
		# the answer was lost
		$self->report($done, $late) if $chance > 0.85 && $answer =~ /run|duplicate|empty/;
	}
	return 1;
}

# What the others do: cancel, and decide about what is stuck though it need not be.
sub meddle
{
	my ($self) = @_;

	if (rand() < 0.02)
	{
		my $saga = 1 + int rand $self->{sagas};
		my $answer = $self->insist('ledger', "SELECT idem_saga_cancel('s$saga', '\"chance\"')");

		push @{ $self->{unexpected} }, "$answer to cancel s$saga" unless $answer =~ /^compensat|^stuck|^!ID201$/;
		$self->count("cancel: $answer");
	}
	if (rand() < 0.05)
	{
		my $answer = $self->insist('ledger', q{SELECT idem_saga_resolve(saga, step, 'retry', '"again"') FROM idem_saga_work
			WHERE status = 'stuck' AND saga NOT IN (SELECT saga FROM idem_saga_step WHERE status = 'stuck' AND undo ~ 'broken') LIMIT 1});

		push @{ $self->{unexpected} }, "$answer to resolve" unless $answer =~ /^(running|compensating|completed|compensated|!ID201|)$/;
		$self->count('resolve') if $answer ne '' && $answer !~ /^!/;
	}
}

# Works until a file is there, then says what came of it.
sub run
{
	my ($self) = @_;

	srand $self->{seed};
	while (!-e $self->{stop})
	{
		$self->meddle;
		sleep 0.02 unless $self->work;
	}
	open my $file, '>', $self->{result} or die;
	print $file "$_\n" for @{ $self->{unexpected} };
	print $file "tally $_ $self->{tally}{$_}\n" for sort keys %{ $self->{tally} };
	close $file;
	$self->disconnect($_) for keys %{ $self->{connection} };
}

1;

# A client that sends statements one at a time, at any isolation level, notes every
# error that should not be, and keeps a tally of what it was told.

package Client;

use strict;
use warnings;

use IPC::Open2;

use constant FAULTS => 20;	# after which a client gives up
use constant LEVELS => ('read committed', 'repeatable read', 'serializable');

# A client with this number, whose psql is started by this command.
sub new
{
	my ($class, $number, @psql) = @_;
	my $pid = open2(my $out, my $in, @psql, '-XAtq', '-F', "\t");

	$in->autoflush(1);
	return bless {
		number => $number, in => $in, out => $out, pid => $pid,
		calls => 0, level => '', tally => {}, states => {}, faults => [],
	}, $class;
}

sub gives_up
{
	my ($self) = @_;

	return @{ $self->{faults} } >= FAULTS || $self->{lost};
}

# Notes what should not be.
sub fault
{
	my ($self, $what) = @_;

	push @{ $self->{faults} }, "$self->{name}, $self->{level}: $what";
}

# Expects this of the answer to what was asked last.
sub expect
{
	my ($self, $right, $what) = @_;

	$self->fault("unexpected answer to $self->{sql}: $what") unless $right;
}

# Expects a row of an answer that looks like this.
sub answered
{
	my ($self, $row, $pattern) = @_;
	my $right = "@$row" =~ $pattern;

	$self->expect($right, "@$row");
}

# Counts what was done: of each kind, by its key.
sub tally
{
	my ($self, $what, $key) = @_;

	$self->{tally}{"$what\t$key"}++;
}

# Sends statements and returns the rows of the answer, or nothing after an error
# that may be: one of these, or one that goes with the isolation level.
sub ask
{
	my ($self, $sql, $may, $block) = @_;
	my ($lines, $impatient) = ('', 0);

	$may //= 'none';
	if (rand() < 0.1 || $self->{level} eq '')
	{
		$self->{level} = (LEVELS)[int rand 3];
		$lines .= "SET default_transaction_isolation = '$self->{level}';\n";
	}
	# with a snapshot, sometimes, that is older than the call
	$block ||= rand() < 0.25;
	if ($block)
	{
		$impatient = rand() < 0.1;
		$lines .= "BEGIN;\n";
		$lines .= "SET LOCAL lock_timeout = '2ms';\n" if $impatient;
		$lines .= "SELECT 1 WHERE false;\n" if rand() < 0.5;
	}
	$sql =~ s/\s+/ /g;
	$lines .= "$sql;\n\\set state :SQLSTATE\n";
	$lines .= "COMMIT;\n" if $block;
	$lines .= "\\echo END :state :SQLSTATE :LAST_ERROR_MESSAGE\n";
	$self->{sql} = $sql;
	print { $self->{in} } $lines;

	my (@rows, $state, $message);
	my $out = $self->{out};
	while (defined(my $line = <$out>))
	{
		chomp $line;
		if ($line =~ /^END (\S+) (\S+) (.*)/)
		{
			($state, $message) = ($1 eq '00000' ? $2 : $1, $3);
			last;
		}
		push @rows, [ split /\t/, $line, -1 ];
	}
	if (!defined $state || $state =~ /^57P|^08/)
	{
		$self->{lost} = 1;
		$self->fault("connection lost at $sql");
		return;
	}
	$self->{states}{$state}++;
	return \@rows if $state eq '00000';
	$self->fault("$state $message at $sql")
	  unless $state =~ /^(?:$may)$/
	  || $state eq '40001' && $self->{level} ne 'read committed'
	  || $state eq '55P03' && $impatient;
	return;
}

1;

# Reads isolation tests as isolationtester does, puts other statements in their
# steps, and takes the difference that this makes out of the answers again.

package IsolationSpec;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(steps replace restore statements heading);

# The steps: name, SQL, and where that begins in the text.
sub steps
{
	my ($text) = @_;
	my (@steps, $before, $is_step);

	pos($text) = 0;
	while ($text =~ /\G(?:\s|#[^\n]*+)*+(?:(\w[\w\$]*|"(?:[^"]|"")*")|\{[ \t\r\f]*([^}]*?)[ \t\r\f]*\}|[,()*])/gc)
	{
		my ($word, $sql, $at) = ($1, $2, $-[2]);

		if (defined $word)
		{
			$is_step = ($before // '') eq 'step';
			$before = $word;
		}
		elsif (defined $sql && $is_step)
		{
			push @steps, { name => $before =~ s/^"(.*)"$/$1/r, sql => $sql, at => $at };
			$is_step = 0;
		}
	}
	$text =~ /\G(?:\s|#[^\n]*+)*+\z/gc or die 'cannot read the test from: ' . substr($text, pos($text) // 0);
	return @steps;
}

# The text with the SQL of these steps replaced by what each has as its "other".
sub replace
{
	my ($text, @steps) = @_;

	foreach my $step (reverse grep { defined $_->{other} } @steps)
	{
		# no braces are possible in a step
		die "a brace in: $step->{other}" if $step->{other} =~ /[{}]/;
		substr($text, $step->{at}, length $step->{sql}) = $step->{other};
	}
	return $text;
}

# What isolationtester has said to such a text, as if each step had been as it was.
sub restore
{
	my ($output, @steps) = @_;

	foreach my $step (grep { defined $_->{other} } @steps)
	{
		$output =~ s/^step \Q$step->{name}: $step->{other}\E/step $step->{name}: $step->{sql}/mg;
	}
	$output =~ s/^idem_outcome\n-+\n(?:executed|inserted|updated|unchanged) *\n\(1 row\)\n\n//mg;
	return $output;
}

# The statements of a step, each with what separates it from the next.
sub statements
{
	my ($sql) = @_;
	my @statements = ('');

	while ($sql =~ /\G('(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$.*?\$\2\$|--[^\n]*|\/\*.*?\*\/|;|.)/gs)
	{
		$statements[-1] .= $1;
		push @statements, '' if $1 eq ';';
	}
	pop @statements if $statements[-1] eq '';
	return @statements;
}

# The names of the columns of what a step answers, by an output; undef for none.
sub heading
{
	my ($output, $step) = @_;

	foreach my $said ("$step->{name}: $step->{sql}", "$step->{name}: <... completed>")
	{
		return [ map { s/^ +| +$//gr } split /\|/, $1 ]
			if $output =~ /^step \Q$said\E\n(?:\w+: NOTICE: .*\n)*(\S.*)\n[-+]+\n/m;
	}
	return undef;
}

1;

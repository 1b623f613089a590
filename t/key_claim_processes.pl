# Clients that claim a key under a lease, do something outside the database,
# and complete the claim, as processes of their own: killed at every point, and
# stopped until their lease has run out.  The one that comes after them finishes the
# work, and a holder that comes back too late is refused with all it wrote.
use strict;
use warnings;

use IO::Handle;
use IPC::Open2;
use POSIX qw(WUNTRACED);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('claim_processes');
$node->init;
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE paid (key text, by_fence bigint);
});

# The provider, who is outside: a list of the charges it was asked for, each
# under a key, and asked twice under one key it charges once.
my $provider = $node->basedir . '/provider';
append_to_file($provider, '');

local $SIG{ALRM} = sub { die 'a client did not answer' };

# A client process: a psql that does what it is told.
sub client
{
	my $pid = open2(my $out, my $in, $node->installed_command('psql'), '-XAtq',
		'-d', $node->connstr('postgres'));
	$in->autoflush(1);
	return { pid => $pid, in => $in, out => $out };
}

# Tells a client what to do, without waiting for the answer.
sub order
{
	my ($client, $sql) = @_;

	print { $client->{in} } "$sql\n\\echo END\n";
}

# What a client answers.
sub answer
{
	my ($client) = @_;
	my @lines;

	alarm 60;
	while (defined(my $line = readline $client->{out}))
	{
		chomp $line;
		last if $line eq 'END';
		push @lines, $line if $line ne '';
	}
	alarm 0;
	return join ' ', @lines;
}

sub ask
{
	my ($client, $sql) = @_;

	order($client, $sql);
	return answer($client);
}

# Ends a client: by force, or in peace.
sub leave
{
	my ($client, $signal) = @_;

	kill $signal, $client->{pid} if $signal;
	close $client->{in};
	waitpid $client->{pid}, 0;
}

# The steps of the work.
sub claim
{
	my ($key) = @_;

	return <<"SQL";
SELECT outcome, response ->> 'name' AS checkpoint, fence
FROM idem_claim('$key', '{"amount": 5}', lease => '100 ms') \\gset
\\echo :outcome :fence
SQL
}

sub charge
{
	my ($key) = @_;

	return qq{\\setenv KEY $key\n\\! echo \$KEY >>'$provider'};
}

sub finish
{
	my ($key) = @_;

	return <<"SQL";
BEGIN;
INSERT INTO paid VALUES ('$key', :fence);
SELECT idem_complete('$key', jsonb_build_object('by', :fence), :fence);
COMMIT;
SQL
}

# Waits until the lease of a key has run out.
sub wait_for_lease
{
	my ($key) = @_;

	$node->poll_query_until('postgres',
		"SELECT lease_until <= clock_timestamp() FROM idem_lookup('$key')")
	  or die 'the lease does not run out';
}

# A client that comes for a key and does what there is to do.  Returns what it
# got for an answer.
sub retry
{
	my ($key) = @_;
	my $client = client();
	my $claimed = ask($client, claim($key));

	if ($claimed =~ /^claimed/)
	{
		ask($client, charge($key));
		ask($client, finish($key));
	}
	leave($client);
	return $claimed;
}

# How the work of a key stands in the end: the answer that is kept, what was
# written, and how often the provider was asked.
sub result
{
	my ($key) = @_;
	my $kept = $node->safe_psql('postgres', qq{
		SELECT outcome, response ->> 'by',
			(SELECT array_agg(by_fence) FROM paid WHERE key = '$key')
		FROM idem_lookup('$key')});
	my $asked = grep { $_ eq $key } split /\n/, slurp_file($provider);

	return "$kept|$asked";
}

# Killed before its claim commits: nobody has claimed the key.
my $client = client();
is(ask($client, 'BEGIN;' . claim('a')), 'claimed 1', 'a client claims,');
leave($client, 'KILL');
is(retry('a'), 'claimed 1', 'and is killed before it commits: the next has the key');
is(result('a'), 'completed|1|{1}|1', 'charged once, done once');

# Killed after its claim: the next takes over when the lease has run out.
$client = client();
is(ask($client, claim('b')), 'claimed 1', 'a client claims and commits,');
leave($client, 'KILL');
wait_for_lease('b');
is(retry('b'), 'claimed 2', 'and is killed: the next takes over');
is(result('b'), 'completed|2|{2}|1', 'charged once, done once');

# Killed after the effect: the next learns by the fence that it may have been
# done, and asks again under the same key.
$client = client();
is(ask($client, claim('c') . charge('c')), 'claimed 1', 'a client claims and charges,');
leave($client, 'KILL');
wait_for_lease('c');
is(retry('c'), 'claimed 2', 'and is killed: the next takes over');
is(result('c'), 'completed|2|{2}|2', 'asked twice under one key, done once');

# With a checkpoint it need not ask.
$client = client();
is(ask($client, claim('d') . charge('d')
		. qq{\nSELECT idem_checkpoint('d', :fence, 'charged');}),
	'claimed 1', 'a client claims, charges and records that,');
leave($client, 'KILL');
wait_for_lease('d');
$client = client();
is(ask($client, claim('d') . '\echo :checkpoint'), 'claimed 2 charged',
	'and is killed: the next knows how far it came');
ask($client, finish('d'));
leave($client);
is(result('d'), 'completed|2|{2}|1', 'asked once, done once');

# Killed in the transaction of its last writes.
$client = client();
ask($client, claim('e') . charge('e'));
is(ask($client, q{BEGIN; INSERT INTO paid VALUES ('e', :fence);
		SELECT idem_complete('e', '{"by": "the dead"}', :fence);}),
	't', 'a client completes,');
leave($client, 'KILL');
wait_for_lease('e');
is(retry('e'), 'claimed 2', 'and is killed before it commits: the next takes over');
is(result('e'), 'completed|2|{2}|2', 'nothing of the first is left');

# Killed after that, before it heard of it.
$client = client();
ask($client, claim('f') . charge('f'));
order($client, finish('f'));
$node->poll_query_until('postgres',
	q{SELECT outcome = 'completed' FROM idem_lookup('f')}) or die 'not completed';
leave($client, 'KILL');
is(retry('f'), 'completed 1', 'killed after it completed: the next is told so');
is(result('f'), 'completed|1|{1}|1', 'charged once, done once');

# Two live holders: the first is stopped, and continues when the second has
# taken over.  Whatever it tries then is refused, with what it wrote.
foreach my $what (
	q{idem_complete('KEY', '{"by": "the first"}', :fence)},
	q{idem_fail('KEY', '{"by": "the first"}', :fence)},
	q{idem_extend('KEY', :fence, '1 hour')},
	q{idem_checkpoint('KEY', :fence, 'stale')},
	q{idem_release('KEY', :fence)})
{
	my ($name) = $what =~ /(\w+)/;
	my $call = $what =~ s/KEY/$name/r;
	my $first = client();
	my $second = client();

	is(ask($first, claim($name) . charge($name)), 'claimed 1', "$name: the first claims,");
	kill 'STOP', $first->{pid};
	waitpid $first->{pid}, WUNTRACED;
	order($first, qq{\\set VERBOSITY sqlstate
BEGIN;
INSERT INTO paid VALUES ('$name', :fence);
SELECT $call;
\\echo :LAST_ERROR_SQLSTATE
COMMIT;});

	wait_for_lease($name);
	is(ask($second, claim($name)), 'claimed 2', 'and is stopped; the second takes over;');
	kill 'CONT', $first->{pid};
	is(answer($first), 'ID002', 'the first goes on, and is refused;');
	is($node->safe_psql('postgres', "SELECT count(*) FROM paid WHERE key = '$name'"),
		'0', 'nothing that it wrote is there;');
	is(ask($second, charge($name) . "\n" . finish($name)), 't', 'the second completes,');
	order($first, "SELECT $call;\n\\echo :LAST_ERROR_SQLSTATE");
	is(answer($first), 'ID002', 'after which the first is still refused');
	is(result($name), 'completed|2|{2}|2', 'one charge, one result');
	leave($_) foreach $first, $second;
}

is($node->safe_psql('postgres',
		'SELECT count(*), count(DISTINCT key) FROM paid'), '11|11',
	'everything was done once');

$node->stop;
done_testing();

# A claim without a lease is refused outside a transaction block whatever protocol
# the client speaks, and however often it does.
use strict;
use warnings;

use IO::Socket::UNIX;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('claim_block');
$node->init;
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE done (n int);
	CREATE FUNCTION work(key text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		outcome text;
	BEGIN
		SELECT c.outcome INTO outcome FROM idem_claim(key) AS c;
		INSERT INTO done VALUES (1);
		RETURN outcome;
	END $$;
});

# Runs a script some times; what error it ended with, if it did.
sub error
{
	my ($protocol, $script) = @_;
	my $file = $node->basedir . '/script.sql';
	my ($out, $err);

	unlink $file;
	append_to_file($file, $script);
	IPC::Run::run(
		[ 'pgbench', '-n', '-M', $protocol, '-t', 20, '-f', $file, $node->connstr('postgres') ],
		'>', \$out, '2>', \$err);
	return $err =~ /ERROR:  (.*)/ ? $1 : '';
}

my $refused = 'a claim without a lease needs a transaction block';
foreach my $protocol ('simple', 'extended', 'prepared')
{
	is(error($protocol, q{
		\set n random(1, 1000000000)
		SELECT outcome FROM idem_claim(:n::text);}), $refused, "$protocol: alone");
	is(error($protocol, q{
		\set n random(1, 1000000000)
		SELECT idem_claim(:n::text);}), $refused, 'in the target list');
	is(error($protocol, q{
		\set n random(1, 1000000000)
		SELECT outcome FROM idem_claim(:n::text, lease => '1 hour');}), '', 'with a lease');
	is(error($protocol, q{
		\set n random(1, 1000000000)
		BEGIN;
		SELECT outcome FROM idem_claim(:n::text);
		INSERT INTO done VALUES (1);
		SELECT idem_complete(:n::text, '1');
		COMMIT;}), '', 'in a block');
	is(error($protocol, q{
		\set n random(1, 1000000000)
		SELECT work(:n::text);}), '', 'in a function');
}

# A pipeline is one transaction up to where it is synchronized, without a block.
foreach my $protocol ('extended', 'prepared')
{
	is(error($protocol, q{
		\set n random(1, 1000000000)
		\startpipeline
		SELECT outcome FROM idem_claim(:n::text);
		INSERT INTO done VALUES (1);
		SELECT idem_complete(:n::text, '1');
		\endpipeline}), '', "$protocol: in a pipeline");
	is(error($protocol, q{
		\set n random(1, 1000000000)
		\startpipeline
		INSERT INTO done VALUES (1);
		SELECT outcome FROM idem_claim(:n::text);
		\endpipeline}), '', 'at its end');
	is(error($protocol, q{
		\set n random(1, 1000000000)
		\startpipeline
		SELECT outcome FROM idem_claim(:n::text);
		\endpipeline}), $refused, 'alone in it');
}

# Nor is it known that a query is alone while its client has not synchronized.
my $socket = IO::Socket::UNIX->new($node->host . '/.s.PGSQL.' . $node->port) or die $!;

# Messages of the protocol, and what comes back up to and with one of these kinds.
sub message
{
	my ($kind, $body) = @_;

	return $kind . pack('N', 4 + length $body) . $body;
}

sub answers
{
	my ($last) = @_;
	my @kinds;

	do
	{
		read($socket, my $head, 5) == 5 or die 'the server is gone';
		my ($kind, $length) = unpack('aN', $head);

		push @kinds, $kind;
		read($socket, my $body, $length - 4) if $length > 4;
	} until $kinds[-1] =~ /[$last]/;
	return join '', @kinds;
}

$socket->autoflush(1);
print $socket message('', pack('N', 3 << 16) . join("\0", 'user', getpwuid($<) . '', 'database', 'postgres', '', ''));
answers('ZE');
print $socket message('P', "\0SELECT outcome FROM idem_claim('unsynchronized')\0" . pack('n', 0)) .
	message('B', "\0\0" . pack('n n n', 0, 0, 0)) . message('E', "\0" . pack('N', 0));
ok($node->poll_query_until('postgres', q{
	SELECT count(*) = 1 FROM pg_stat_activity
	WHERE query LIKE '%unsynchronized%' AND pid <> pg_backend_pid() AND wait_event = 'ClientRead'}),
	'a query has run, and its client may go on');
print $socket message('S', '');
is(answers('ZE'), '12DCZ', 'it has claimed');

# Nor need there be a query.
sub call
{
	my ($function, @arguments) = @_;
	my $oid = $node->safe_psql('postgres', "SELECT '$function'::regprocedure::oid");

	return message('F', pack('N n n', $oid, 0, scalar @arguments) .
		join('', map { defined $_ ? pack('N/a*', $_) : pack('N', 2**32 - 1) } @arguments) . pack('n', 0));
}

my $claim = call('idem_claim(text, jsonb, interval, text, interval, boolean)', 'called', undef, undef, undef, undef, 't');
my $barrier = call('idem_barrier(text, integer, boolean, text)', 'called', 1, 'f', undef);
my $begin = call('idem_begin(text, text, interval)', 'called', undef, undef);
my $work = message('P', "\0INSERT INTO done VALUES (1)\0" . pack('n', 0)) .
	message('B', "\0\0" . pack('n n n', 0, 0, 0)) . message('E', "\0" . pack('N', 0));
foreach ($claim, $barrier, $begin)
{
	print $socket $_;
	is(answers('Z'), 'EZ', 'called alone');
	print $socket message('Q', "BEGIN\0");
	answers('Z');
	print $socket $_;
	is(answers('Z'), 'VZ', 'in a block');
	print $socket message('Q', "ROLLBACK\0");
	answers('Z');
}
foreach ($claim, $barrier)
{
	print $socket $work . $_;
	is(answers('Z'), '12CVZ', 'at the end of a pipeline');
}
close $socket;

$node->stop;
done_testing();

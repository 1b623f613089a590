# Acknowledgements and requests that the server loses on purpose: idem.lose_ack,
# idem.lose_request, idem.lose_every, idem.lose_seed; and, through a line that breaks,
# those that a network loses.
use strict;
use warnings;

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
	shared_preload_libraries = 'idem'
	max_prepared_transactions = 5
	idem.purge_naptime = '100ms'
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE t (a int);
	CREATE TABLE item (id int PRIMARY KEY, n int, status text DEFAULT 'PENDING',
		version bigint NOT NULL DEFAULT 1);
	SELECT idem_attach('item', 'order');
	CREATE ROLE mallory LOGIN;
	GRANT ALL ON t TO mallory;
	CREATE PROCEDURE two(a int) LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO t VALUES (a);
		COMMIT;
		INSERT INTO t VALUES (a + 1);
		COMMIT;
		PERFORM a;
	END $$;
});

my $gone = qr/server closed the connection|connection to server was lost/;

# Runs SQL with settings.  Returns whether the client was cut off, and what it read.
sub run
{
	my ($settings, @sql) = @_;
	local $ENV{PGOPTIONS} = join ' ', map { "-c idem.$_" } @$settings;
	my ($out, $err);
	my $status = $node->psql('postgres', join("\n", @sql), stdout => \$out,
		stderr => \$err);

	return ($status == 2 && $err =~ $gone, $out, $err);
}

# Is the client cut off, and are these rows of t there afterwards?
sub cut
{
	my ($settings, $sql, $rows, $name) = @_;
	my ($lost, $out, $err) = run($settings, $sql);

	ok($lost, "$name: the connection is cut") or diag("$out\n$err");
	is(rows(), $rows, "$name: what is there");
	$node->safe_psql('postgres', 'DELETE FROM t');
	return $out;
}

sub kept
{
	my ($settings, $sql, $rows, $name) = @_;
	my ($lost, $out, $err) = run($settings, $sql);

	ok(!$lost, "$name: the connection stays") or diag("$out\n$err");
	is(rows(), $rows, "$name: what is there");
	$node->safe_psql('postgres', 'DELETE FROM t');
	return;
}

sub rows
{
	return $node->safe_psql('postgres',
		q{SELECT coalesce(string_agg(a::text, ' ' ORDER BY a), '') FROM t});
}

my @always = ('lose_ack=1');
my @never_sent = ('lose_request=1');

cut(\@always, 'INSERT INTO t VALUES (1);', '1', 'a statement');
cut(\@always, "BEGIN;\nINSERT INTO t VALUES (1);\nCOMMIT;", '1', 'a transaction');
cut(\@always, 'INSERT INTO t VALUES (1); INSERT INTO t VALUES (2);', '1',
	'nothing behind it is executed');
cut(\@always, 'BEGIN\; INSERT INTO t VALUES (1)\; COMMIT\; INSERT INTO t VALUES (2);', '1',
	'nor of the same message');
cut(\@always, 'CALL two(1);', '1 2', 'a procedure that commits goes on to its end');
cut(\@always, 'CREATE INDEX CONCURRENTLY ON t (a);', '', 'and so does a command');
is($node->safe_psql('postgres',
		q{SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass AND indisvalid}),
	1, 'which has done its work');
cut(\@always, "BEGIN;\nINSERT INTO t VALUES (1);\nPREPARE TRANSACTION 'p';", '',
	'PREPARE TRANSACTION');
cut(\@always, "COMMIT PREPARED 'p';", '1', 'COMMIT PREPARED');

kept(\@always, 'SELECT 1;', '', 'what only reads');
kept(\@always, "BEGIN;\nINSERT INTO t VALUES (1);\nROLLBACK;", '', 'what is rolled back');
kept(\@always, "BEGIN;\nINSERT INTO t VALUES (1);\nSELECT 1/0;\nCOMMIT;", '', 'what fails');

cut(\@never_sent, 'INSERT INTO t VALUES (1);', '', 'a request');
cut(\@never_sent, "BEGIN;\nINSERT INTO t VALUES (1);\nCOMMIT;", '', 'a COMMIT');
cut(\@never_sent, "BEGIN;\nINSERT INTO t VALUES (1);\nPREPARE TRANSACTION 'q';", '',
	'a PREPARE TRANSACTION');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), 0,
	'nothing is prepared');
kept([], "BEGIN;\nINSERT INTO t VALUES (1);\nPREPARE TRANSACTION 'q';", '', 'prepared');
cut(\@never_sent, "COMMIT PREPARED 'q';", '', 'a COMMIT PREPARED');
kept([], "COMMIT PREPARED 'q';", '1', 'which is there to be sent again');
kept(\@never_sent, 'SELECT 1;', '', 'a request that only reads');

cut(['lose_every=3'], join("\n", map { "INSERT INTO t VALUES ($_);" } 1 .. 9), '1 2 3',
	'every third');

# A replay has no xid, so a client that retries is answered in the end.
my $call = q{SELECT outcome, replayed FROM idem_upsert('k', 'item', '{"id": 1, "n": 5}');};
my ($lost, $out) = run(\@always, $call);
ok($lost, 'the first call is lost');
($lost, $out) = run(\@always, $call);
ok(!$lost, 'the second is not');
is($out, 'inserted|t', 'it is a replay');

# Who may lose.
($lost, $out, my $err) = run([], 'SET ROLE mallory; SET idem.lose_ack = 1;');
like($err, qr/permission denied to set parameter "idem.lose_ack"/, 'only superusers set it');
$node->safe_psql('postgres', 'ALTER ROLE mallory SET idem.lose_ack = 1');
is($node->psql('postgres', 'INSERT INTO t VALUES (1)', extra_params => [ '-U', 'mallory' ]), 2,
	'but for whom they like');
$node->safe_psql('postgres', 'ALTER ROLE mallory RESET idem.lose_ack; DELETE FROM t');
foreach my $bad ('lose_ack=1.5', 'lose_request=-0.1', 'lose_every=-1')
{
	my ($name, $value) = split /=/, $bad;

	($lost, $out, $err) = run([], "SET idem.$name = $value;");
	like($err, qr/is outside the valid range/, "$bad is refused");
}

# The server's own processes lose nothing.
$node->append_conf('postgresql.conf', "idem.lose_ack = 1\nidem.lose_request = 0.5\n");
$node->reload;
$node->backup('copy');
pass('a base backup comes through');
{
	local $ENV{PGOPTIONS} = '-c idem.lose_ack=0 -c idem.lose_request=0';

	$node->safe_psql('postgres',
		q{SELECT idem_upsert('old', 'item', '{"id": 2}', ttl => '1 millisecond')});
	ok($node->poll_query_until('postgres',
			q{SELECT NOT EXISTS (SELECT FROM idem_key WHERE key = 'old')}),
		'the worker purges');
}

# With a seed, copies of a database lose the same.
my @seeded = ('lose_ack=0.5', 'lose_request=0.2', 'lose_seed=4711');

# Which of thirty inserts lose something in a copy, and which are there.
sub losses
{
	my ($name) = @_;
	my $original = $node;
	my @cut;

	$node = PostgreSQL::Test::Cluster->new($name);
	$node->init_from_backup($original, 'copy');
	$node->append_conf('postgresql.conf', "autovacuum = off\nidem.worker = off\n");
	$node->start;
	foreach my $i (1 .. 30)
	{
		push @cut, $i if (run(\@seeded, "INSERT INTO t VALUES ($i);"))[0];
	}
	my $there = rows();
	$node->stop;
	$node = $original;
	return (\@cut, $there);
}

my ($cut, $there) = losses('one');
my ($cut_again, $there_again) = losses('two');
cmp_ok(scalar @$cut, '>', 5, 'some are lost');
cmp_ok(scalar @$cut, '<', 30, 'and some are not');
isnt($there, join(' ', 1 .. 30), 'some were never done');
is("@$cut_again", "@$cut", 'a copy loses the same');
is($there_again, $there, 'and does the same');

# A network loses acknowledgements in its own way: a line between client and server
# that throws every second answer to a commit away and cuts both ends.
$node->append_conf('postgresql.conf', "idem.lose_ack = 0\nidem.lose_request = 0\n");
$node->reload;
my $directory = PostgreSQL::Test::Utils::tempdir_short();
my $socket = '.s.PGSQL.' . $node->port;
my $line = IPC::Run::start(
	[ $^X, "$FindBin::RealBin/lib/badline.pl", $directory, $node->host . "/$socket", 2 ],
	'>', \my $thrown_away);

for (1 .. 1800)
{
	last if -S "$directory/$socket";
	select undef, undef, undef, 0.1;
}
my ($tries, $answers) = (0, 0);
foreach my $id (101 .. 130)
{
	for (1 .. 20)
	{
		my ($status, $answer) = $node->psql('postgres',
			"SELECT outcome FROM idem_upsert('line-$id', 'item', '{\"id\": $id}')",
			connstr => "host=$directory port=" . $node->port . ' dbname=postgres');

		$tries++;
		next unless defined $status && $status == 0;
		is($answer, 'inserted', "the answer for $id");
		$answers++;
		last;
	}
}
$line->kill_kill;
is($answers, 30, 'each is answered in the end');
cmp_ok($tries, '>', 35, 'though answers were lost');
is($node->safe_psql('postgres', 'SELECT count(*), sum(version) FROM item WHERE id > 100'),
	'30|30', 'and each is done once');

done_testing();

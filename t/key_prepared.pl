# A prepared transaction keeps the key that it used: others wait for it, across
# a crash too, and learn from its end.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('prepared');
$node->init;
$node->append_conf('postgresql.conf', 'max_prepared_transactions = 10');
$node->start;

$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE t (id int PRIMARY KEY, v text);
});

# The upsert of row $id under key "k$id".
sub upsert
{
	my ($id) = @_;
	return qq{SELECT outcome, replayed, result FROM idem_upsert('k$id', 't', '{"id": $id, "v": "x"}')};
}

sub prepare
{
	my ($id) = @_;
	my $sql = upsert($id);

	$node->safe_psql('postgres', "BEGIN; $sql; PREPARE TRANSACTION 'p$id'");
}

# The same upsert while the prepared transaction is undecided.
sub is_blocked
{
	my ($id, $name) = @_;
	my ($rc, $out, $err) = $node->psql('postgres',
		"\\set VERBOSITY sqlstate\nSET lock_timeout = '100ms';\n" . upsert($id));

	like($err, qr/ERROR:\s+55P03/, $name);
}

prepare($_) for 1 .. 4;
is_blocked(1, 'a prepared transaction keeps its key');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM pg_locks WHERE objsubid = 7401}), '0',
	'by its row, not by a lock of the key');

$node->safe_psql('postgres', q{COMMIT PREPARED 'p1'});
is($node->safe_psql('postgres', upsert(1)), 'inserted|t|{"v": "x", "id": 1}',
	'committed: replayed');
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'p2'});
is($node->safe_psql('postgres', upsert(2)), 'inserted|f|{"v": "x", "id": 2}',
	'rolled back: free');

# In a store it is by a lock.  The session that has prepared it goes on, and is not who
# has the key.
$node->safe_psql('postgres', q{SELECT idem_store_create('store')});
my ($rc, $out, $err) = $node->psql('postgres', q{
	SET idem.store = 'store';
	BEGIN; SELECT outcome FROM idem_claim('s'); PREPARE TRANSACTION 'ps';
	SET lock_timeout = '100ms';
	BEGIN; SELECT outcome FROM idem_claim('s')}, on_error_stop => 0);
like($err, qr/ERROR:  canceling statement due to lock timeout/, 'a key in a store is kept, too');
unlike($err, qr/Process/, 'by no process');
$node->safe_psql('postgres', q{COMMIT PREPARED 'ps'});
is($node->safe_psql('postgres', q{SET idem.store = 'store'; SELECT outcome FROM idem_lookup('s')}),
	'completed', 'until its end');

$node->stop('immediate');
$node->start;
is_blocked(3, 'the key is kept across a crash');
is_blocked(4, 'so is the other');

# One waits in the meantime, and is answered when the transaction ends.
for my $end (['COMMIT', 3, 'inserted|t|{"v": "x", "id": 3}'],
			 ['ROLLBACK', 4, 'inserted|f|{"v": "x", "id": 4}'])
{
	my ($command, $id, $expected) = @$end;
	my ($out, $err) = ('', '');
	my $timer = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
	my $run = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', upsert($id) ],
		'<', \undef, '>', \$out, '2>', \$err, $timer);

	$node->poll_query_until('postgres', q{
		SELECT count(*) = 1 FROM pg_stat_activity
		WHERE wait_event = 'transactionid' AND query LIKE '%idem_upsert%'})
	  or die 'nobody waits';
	$node->safe_psql('postgres', "$command PREPARED 'p$id'");
	$run->finish;
	is("$out$err", "$expected\n", "waiting, $command: answered");
}

# A state machine whose definition is prepared: who means the same machine waits,
# across a crash, too; nobody else does.
sub define
{
	my ($name, $state) = @_;
	return qq{SELECT idem_machine_define('$name', 'a', '{"a": ["$state"]}')};
}

$node->safe_psql('postgres', 'BEGIN; ' . define('mine', 'b') . q{; PREPARE TRANSACTION 'm'});
for my $time ('at once', 'after a crash')
{
	my ($rc, $out, $err) = $node->psql('postgres',
		"\\set VERBOSITY sqlstate\nSET lock_timeout = '100ms';\n" . define('mine', 'c'));
	like($err, qr/ERROR:\s+55P03/, "a prepared definition keeps its machine, $time");
	is($node->safe_psql('postgres', "SET lock_timeout = '100ms';" . define("other $time", 'c')),
		't', 'and no other');
	$node->stop('immediate');
	$node->start;
}
$node->safe_psql('postgres', q{COMMIT PREPARED 'm'});
is($node->safe_psql('postgres', define('mine', 'b')), 'f', 'committed: it is defined');

is($node->safe_psql('postgres', 'SELECT id, v FROM t ORDER BY id'),
	"1|x\n2|x\n3|x\n4|x", 'each row once');

$node->stop;
done_testing();

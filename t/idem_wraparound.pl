# Rows of idem's that were frozen more than 2^31 transactions ago, when the numbers of
# transactions have come round: a call that keeps one snapshot does not take them for
# newer than that.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant SEGMENT => 0x100000;	# transactions in a file of pg_xact

my $node = PostgreSQL::Test::Cluster->new('wraparound');
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION idem;
CREATE TABLE item (id int PRIMARY KEY, v int);
SELECT idem_saga_start('claimed', '[{"do": "a", "undo": "b"}]');
SELECT idem_saga_start('cancelled', '[{"do": "c", "undo": "d"}]');
BEGIN;
SELECT idem_barrier('claimed', 1);
COMMIT;
SELECT idem_upsert('key', 'item', '{"id": 1, "v": 2}', ttl => '100 years');
SELECT idem_consume('consumer', 'message', ttl => '100 years');
SELECT idem_advance('consumer', 'log', 0, 0, 5);
SELECT idem_emit('topic', '1');
SELECT count(*) FROM idem_outbox_read('relay', 'topic', 0);
});

# The next transaction has that number.
sub jump
{
	my ($xid) = @_;
	my $file = sprintf '%s/pg_xact/%04X', $node->data_dir, $xid / SEGMENT;

	# none may be left from before that has not been frozen
	$node->command_ok([ $node->installed_command('vacuumdb'), '--all', '--freeze', '--quiet' ], 'all is frozen');
	$node->stop;
	command_ok([ $node->installed_command('pg_resetwal'), '-x', $xid, $node->data_dir ], "on to transaction $xid");
	PostgreSQL::Test::Utils::append_to_file($file, "\0" x (SEGMENT / 4));
	$node->start;
	return;
}

jump($_) for 1_500_000_000, 2_400_000_000;

sub is_answered
{
	my ($level, $call, $answer, $name) = @_;

	is($node->safe_psql('postgres', "BEGIN ISOLATION LEVEL $level; SELECT count(*) FROM item WHERE false; $call; COMMIT"),
		"0\n$answer", "$name: $level");
	return;
}

for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	is_answered($level, q{SELECT replayed FROM idem_upsert('key', 'item', '{"id": 1, "v": 2}')}, 't', 'a key');
	is_answered($level, q{SELECT idem_consume('consumer', 'message')}, 'f', 'a message');
	is_answered($level, q{SELECT idem_advance('consumer', 'log', 0, 0, 5) IS NULL}, 't', 'an offset');
	is_answered($level, q{SELECT idem_barrier('claimed', 1)}, 'duplicate', 'a barrier');
	is_answered($level, q{SELECT replayed FROM idem_saga_start('claimed', '[{"do": "a", "undo": "b"}]')}, 't', 'a saga');
}
is_answered('REPEATABLE READ', q{SELECT payload FROM idem_outbox_read('relay', 'topic')}, '1', 'a message that was emitted');
is_answered('REPEATABLE READ', q{SELECT saga FROM idem_saga_claim('{a}')}, 'claimed', 'a step that is due');
is_answered('SERIALIZABLE', q{SELECT idem_saga_cancel('cancelled', NULL)}, 'compensated', 'cancelling a saga');
is_answered('READ COMMITTED', q{DELETE FROM item WHERE (SELECT idem_barrier('claimed', 1, true)) = 'run' RETURNING v}, '2', 'an undo');

$node->stop;
done_testing();

# A message that was committed with synchronous_commit off is seen before it is on
# disk.  What idem_outbox_read() has returned survives a crash all the same, before
# the reader commits, and its id is not given once more.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
# nobody but the reader writes the log in time
$node->append_conf('postgresql.conf', "wal_writer_delay = 10s\nautovacuum = off\nfsync = on\n");
$node->start;
# 32 ids, so that the sequence has to log what the next one is
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	SELECT count(*) FROM idem_outbox_read('relay', 'log', 0);
	SELECT count(idem_emit('log', to_jsonb(i))) FROM generate_series(1, 33) AS i;
	SELECT count(*) FROM idem_outbox_read('relay', 'log', 1000);
	CHECKPOINT;
	SELECT pg_switch_wal() IS NULL;
});
# what a page needs in the log after a checkpoint is there already
$node->safe_psql('postgres', q{SELECT idem_emit('log', '"sync"')});
$node->safe_psql('postgres', q{SELECT count(*) FROM idem_outbox_read('relay', 'log', 1000)});

my $async = q{SET synchronous_commit = off; SELECT idem_emit('log', '"async"')};
my $emitted = $node->safe_psql('postgres', $async);
my $read = $node->safe_psql('postgres', q{
	BEGIN;
	SELECT message_id FROM idem_outbox_read('relay', 'log');
	ROLLBACK;
});
is($read, $emitted, 'what is not on disk yet is read');
my $lost = $node->safe_psql('postgres', $async);
$node->stop('immediate');
$node->start;

my $again = $node->safe_psql('postgres', q{
	BEGIN;
	SELECT message_id FROM idem_outbox_read('relay', 'log', 1);
	ROLLBACK;
});
is($again, $read, 'what was read is there after a crash');
my $next = $node->safe_psql('postgres', q{SELECT idem_emit('log', '"next"')});
cmp_ok($next, '>', $read, 'its id is not given again');
note "the one that was not read, $lost, is "
	. ($node->safe_psql('postgres', qq{SELECT EXISTS (SELECT FROM idem_outbox WHERE id = $lost AND payload = '"async"')}) eq 't' ? 'there' : 'lost');

done_testing();

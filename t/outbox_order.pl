# The outbox under fire: writers that commit in another order than they emit, and
# that roll back; readers of one consumer side by side; a server that crashes.  Every
# message that has committed is read once, in the order of its transaction.  Who
# reads by the id alone loses some: that is the control.
#
# And a reader that sends what it reads to another server: what it sends again after
# a crash is no more than it had read without committing, and idem_consume() there
# drops it.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "max_prepared_transactions = 10\nfsync = on\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE got (place bigserial, id bigint);
	CREATE TABLE by_id (id bigint);
	-- nothing is purged for the control
	SELECT idem_outbox_read('keeper', 'log', 0);
});

# Writes a script of pgbench's.
sub script
{
	my ($name, $text) = @_;
	my $file = $node->basedir . "/$name.sql";

	append_to_file($file, $text);
	return $file;
}

my $write = script('write', q{
\set n random(1, 3)
\set before random(0, 10)
\set after random(0, 10)
\set fate random(1, 10)
BEGIN;
\sleep :before ms
SELECT count(idem_emit('log', to_jsonb(i), 'k' || i)) FROM generate_series(1, :n) AS i;
\sleep :after ms
SELECT idem_emit('log', '{"last": true}');
\if :fate > 8
ROLLBACK;
\else
COMMIT;
\endif
});
my $read = script('read', q{
INSERT INTO got (id) SELECT message_id FROM idem_outbox_read('two readers', 'log', 7);
});
my $control = script('control', q{
INSERT INTO by_id SELECT id FROM idem_outbox WHERE topic = 'log'
AND id > (SELECT coalesce(max(id), 0) FROM by_id);
});

# Starts clients, for so many seconds.
sub clients
{
	my ($count, $seconds, $file) = @_;

	return IPC::Run::start(
		[ 'pgbench', '-n', '-c', $count, '-j', $count, '-T', $seconds, '-f', $file, $node->connstr('postgres') ],
		'>', '/dev/null', '2>', '/dev/null', IPC::Run::timeout(180));
}

sub ask { return $node->safe_psql('postgres', $_[0]) }

# Waits until a query answers t.
sub wait_for
{
	my ($query, $name) = @_;
	ok($node->poll_query_until('postgres', $query), $name);
	return;
}

# Before and after a crash, which no client survives.
my @before = (clients(8, 60, $write), clients(2, 60, $read), clients(1, 60, $control));
wait_for('SELECT count(*) > 700 FROM got', 'messages pass');
$node->stop('immediate');
IPC::Run::finish($_) foreach @before;
$node->start;
my @after = (clients(8, 3, $write), clients(2, 4, $read), clients(1, 4, $control));
IPC::Run::finish($_) foreach @after;

# What is left is read once nothing runs any more.
my $missing;
foreach (1 .. 1000)
{
	ask(q{INSERT INTO got (id) SELECT message_id FROM idem_outbox_read('two readers', 'log', 1000);
		INSERT INTO by_id SELECT id FROM idem_outbox WHERE topic = 'log' AND id > (SELECT coalesce(max(id), 0) FROM by_id)});
	$missing = ask(q{SELECT (SELECT count(*) FROM idem_outbox WHERE topic = 'log') - (SELECT count(*) FROM got)});
	last if $missing == 0;
	usleep(10_000);
}
is($missing, 0, 'all messages are read');
is(ask('SELECT count(*) - count(DISTINCT id) FROM got'), '0', 'each once');
is(ask(q{SELECT count(*) FROM idem_outbox AS o FULL JOIN got USING (id) WHERE o.topic IS NULL OR got.id IS NULL}),
	'0', 'and no others');
is(ask(q{SELECT count(*) FROM (SELECT place, row_number() OVER (ORDER BY place) AS read,
		row_number() OVER (ORDER BY o.xid, o.id) AS emitted FROM got JOIN idem_outbox AS o USING (id)) AS r
		WHERE read <> emitted}), '0', 'in the order of their transactions');
my $lost = ask(q{SELECT count(*) FROM idem_outbox AS o WHERE topic = 'log' AND NOT EXISTS (SELECT FROM by_id WHERE by_id.id = o.id)});
cmp_ok($lost, '>', 0, 'who reads by the id alone loses some');
note(ask('SELECT count(*) FROM got') . " messages, of which the control lost $lost");

# What all have read goes, and what one has still to read stays.
is(ask('SELECT idem_purge()'), '0', 'nothing is purged that a consumer has not read');
is(ask(q{SELECT count(*) FROM idem_outbox_read('keeper', 'log', 100000)}), ask('SELECT count(*) FROM got'),
	'a consumer of its own gets all of it');
is(ask('SELECT idem_purge() = (SELECT count(*) FROM got)'), 't', 'then all is purged');
is(ask('SELECT count(*) FROM idem_outbox'), '0', 'nothing is left');

# A prepared transaction holds back what was emitted after it, over a restart, too.
ask(q{BEGIN; SELECT idem_emit('prepared', '1'); PREPARE TRANSACTION 'p'});
ask(q{SELECT idem_emit('prepared', '2')});
$node->restart;
is(ask(q{SELECT payload FROM idem_outbox_read('c', 'prepared')}), '', 'a prepared transaction is waited for');
ask(q{COMMIT PREPARED 'p'});
is(ask(q{SELECT payload FROM idem_outbox_read('c', 'prepared')}), "1\n2", 'and comes first');

# So does one of another database.
ask('CREATE DATABASE other');
ask(q{SELECT idem_outbox_read('c', 'elsewhere', 0)});
my $elsewhere = $node->background_psql('other');
$elsewhere->query_safe('BEGIN; CREATE TABLE t (i int)');
ask(q{SELECT idem_emit('elsewhere', '1')});
is(ask(q{SELECT payload FROM idem_outbox_read('c', 'elsewhere')}), '', 'one of another database is waited for');
$elsewhere->query_safe('COMMIT');
is(ask(q{SELECT payload FROM idem_outbox_read('c', 'elsewhere')}), '1', 'until it ends');
$elsewhere->quit;

# To another server, which is told of a message before the reader commits.
my $far = PostgreSQL::Test::Cluster->new('far');
$far->init;
$far->start;
$far->safe_psql('postgres', 'CREATE EXTENSION idem; CREATE TABLE effect (id text); CREATE TABLE delivery (n bigserial, id text)');
ask(q{SELECT count(idem_emit('far', to_jsonb(i))) FROM generate_series(1, 500) AS i});
use constant WINDOW => 20;

# Reads a window, and sends it on.
my $reader = $node->background_psql('postgres', on_error_stop => 0);
sub send_window
{
	my @ids = split /\n/, $reader->query_safe('BEGIN; SELECT message_id FROM idem_outbox_read(\'far\', \'far\', ' . WINDOW . ')');
	my $values = join ', ', map { "('$_')" } @ids;

	$far->safe_psql('postgres', "INSERT INTO delivery (id) VALUES $values;
		INSERT INTO effect SELECT id FROM (VALUES $values) AS m (id) WHERE idem_consume('far', id)") if @ids;
	return @ids;
}
my @uncommitted;
my $crashes = 0;
for (my $round = 1; ; $round++)
{
	my @ids = send_window();

	is_deeply(\@ids, \@uncommitted, "crash $crashes: what is sent again is the window that was not committed") if @uncommitted;
	@uncommitted = ();
	last if !@ids;
	if ($round % 7 == 3)
	{
		@uncommitted = @ids;
		$crashes++;
		$node->stop('immediate');
		eval { $reader->quit };
		$node->start;
		$reader = $node->background_psql('postgres', on_error_stop => 0);
		next;
	}
	$reader->query_safe('COMMIT');
}
$reader->quit;
cmp_ok($crashes, '>=', 3, 'the server has crashed');
is($far->safe_psql('postgres', 'SELECT count(*), count(DISTINCT id) FROM effect'), '500|500', 'each message has had its effect once');
is($far->safe_psql('postgres', 'SELECT count(*) FROM delivery'), 500 + $crashes * WINDOW, 'no more was sent again');

$far->stop;
$node->stop;
done_testing();

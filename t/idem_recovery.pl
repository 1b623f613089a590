# Recovery to an earlier time, as docs/recovery.md says: what was done in the database
# is undone together with its keys, what was done outside is adopted and not done
# again, and a holder of before gets the error that its claim is lost.  Without these steps the
# dangers are there that the page warns of.
use strict;
use warnings;

use File::Spec;
use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $page = slurp_file("$FindBin::RealBin/../docs/recovery.md");

# A statement of the page.
sub shown
{
	my ($pattern) = @_;
	my ($statement) = $page =~ /^($pattern.*?;)$/ms;

	die "the page has no $pattern" unless defined $statement;
	return $statement;
}

# A provider that takes idempotency keys, and the money that left: by key.
my (%charged, $money);
sub charge
{
	my ($key) = @_;

	$money += 100 unless $charged{$key};
	return $charged{$key} //= 'ch_' . (1 + keys %charged);
}

my $node = PostgreSQL::Test::Cluster->new('before');
$node->init(has_archiving => 1, allows_streaming => 1);
# by its full name: the server works elsewhere
my $archive = File::Spec->rel2abs($node->archive_dir);
$node->append_conf('postgresql.conf', qq{archive_command = 'cp "%p" "$archive/%f"'});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE orders (id bigint PRIMARY KEY, total numeric, charge text);
});
$node->backup('base');

sub claim_on
{
	my ($server, $key, $lease) = @_;
	return $server->safe_psql('postgres', qq{SELECT concat_ws(' ', outcome, fence, response->>'charge')
		FROM idem_claim('$key', '{"key": "$key"}', lease => '$lease')});
}

# What the call says, or its SQLSTATE.
sub complete_on
{
	my ($server, $key, $fence) = @_;
	my $response = qq({"charge": "$charged{$key}"});
	my ($status, $out, $err) = $server->psql('postgres', "\\set VERBOSITY sqlstate
		SELECT idem_complete('$key', '$response', $fence)");
	return $status == 0 ? $out : $err =~ /ERROR: +(\w+)/ ? $1 : $err;
}

sub upsert_on
{
	my ($server, $key, $id) = @_;
	return $server->safe_psql('postgres', qq{SELECT outcome, replayed FROM
		idem_upsert('$key', 'orders', '{"id": $id, "total": 5}', ttl => '@{[ $key eq 'brief' ? '5 seconds' : '1 day' ]}')});
}

# Before the target time ...
is(upsert_on($node, 'kept', 1), 'inserted|f', 'an order is placed');
is(claim_on($node, 'paid', '1 hour'), 'claimed 1', 'a charge is claimed');
charge('paid');
is(complete_on($node, 'paid', 1), 't', 'and completed');
is(claim_on($node, 'open', '1 hour'), 'claimed 1', 'another is only claimed');
is(claim_on($node, 'passed', '1 microsecond'), 'claimed 1', 'the lease of a third runs out');
$node->safe_psql('postgres', q{SELECT idem_advance('billing', 'payments', 0, 0, 9); SELECT idem_consume('mail', 'm-1')});
is(upsert_on($node, 'brief', 5), 'inserted|f', 'a key has seconds to live');

# Emits 100 messages, and returns the ids that readers get.
sub emit_on
{
	my ($server) = @_;
	return split /\n/, $server->safe_psql('postgres', q{
		SELECT count(idem_emit('orders', '{}')) FROM generate_series(1, 100) \g /dev/null
		SELECT message_id FROM idem_outbox_read('relay', 'orders', 100)});
}
# How many of the second list are in the first.
sub again { my ($before, @now) = @_; my %before = map { $_ => 1 } @$before; return scalar grep { $before{$_} } @now }
emit_on($node);

my $target = $node->safe_psql('postgres', 'SELECT clock_timestamp()');

# ... and after it.
is(upsert_on($node, 'row', 2), 'inserted|f', 'after the target time, an order is placed');
charge('open');
is(complete_on($node, 'open', 1), 't', 'a claim of before is completed');
is(claim_on($node, 'late', '1 hour'), 'claimed 1', 'a charge is claimed');
charge('late');
is(complete_on($node, 'late', 1), 't', 'and completed');
is(claim_on($node, 'passed', '1 hour'), 'claimed 2', 'a claim is taken over, and its holder takes long');
charge('passed');
is(claim_on($node, 'unknown', '1 hour'), 'claimed 1', 'so does the holder of a new one');
charge('unknown');
$node->safe_psql('postgres', q{SELECT idem_advance('billing', 'payments', 0, 10, 19); SELECT idem_consume('mail', 'm-2')});
my @emitted = emit_on($node);
is(scalar @emitted, 100, 'messages are emitted and read');
is($money, 500, 'five charges were made');

my $last = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_lsn())');
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
ok($node->poll_query_until('postgres', "SELECT last_archived_wal >= '$last' FROM pg_stat_archiver"), 'all is archived');
ok($node->poll_query_until('postgres', q{SELECT expires_at <= clock_timestamp() FROM idem_key WHERE key = 'brief'}),
	'time passes');
$node->stop;

# A server of its own, at the target time.
sub recovered
{
	my ($name) = @_;
	my $server = PostgreSQL::Test::Cluster->new($name);

	$server->init_from_backup($node, 'base', has_restoring => 1, standby => 0);
	$server->append_conf('postgresql.conf', qq{restore_command = 'cp "$archive/%f" "%p"'\n} . "recovery_target_time = '$target'\nrecovery_target_action = 'promote'\n"
		. "archive_mode = off\nshared_preload_libraries = 'idem'\nidem.worker = off\n");
	$server->start;
	ok($server->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()'), "$name: recovered");
	return $server;
}

# Without any of the steps.
my $bare = recovered('bare');
is($bare->safe_psql('postgres', 'SELECT string_agg(id::text, \' \' ORDER BY id) FROM orders'), '1 5',
	'rows are as they were at the target time');
is(upsert_on($bare, 'kept', 1), 'inserted|t', 'what was done before it is replayed');
is(claim_on($bare, 'paid', '1 hour'), "completed 1 $charged{paid}", 'so is a claim');
is(upsert_on($bare, 'row', 2), 'inserted|f', 'what was undone is done again');
is(upsert_on($bare, 'row', 2), 'inserted|t', 'once');
is(claim_on($bare, 'late', '1 hour'), 'claimed 1', 'what was done outside since is claimed once more');
charge('late');
is($money, 500, 'but a provider that takes keys does nothing twice');
is($bare->safe_psql('postgres', q{SELECT idem_offset('billing', 'payments', 0)}), '10', 'an offset is where the rows are');
is($bare->safe_psql('postgres', q{SELECT idem_seen('mail', 'm-1'), idem_seen('mail', 'm-2')}), 't|f', 'so are messages');
is(claim_on($bare, 'passed', '1 hour'), 'claimed 2', 'a fence is given twice');
is(complete_on($bare, 'passed', 2), 't', 'so that a holder of before passes for the one of now');
is(again(\@emitted, emit_on($bare)), 0, 'no id of a message is given twice, without any of them');
isnt(upsert_on($bare, 'brief', 5), 'inserted|t', 'a key that has expired meanwhile does not replay');
$bare->stop;

# With all of them.
my $server = recovered('after');
my $psql = sub { return $server->safe_psql('postgres', $_[0]) };
$psql->("\\set target '$target'\n" . shown("UPDATE $_ SET expires_at")) foreach qw(idem_key idem_message idem_saga);
is($psql->(q{SELECT count(*) FROM idem_key WHERE expires_at <= clock_timestamp()}), '0',
	'what was live at the target time is live');
is(upsert_on($server, 'brief', 5), 'inserted|t', 'and replays, although its time was over');
$psql->(shown('UPDATE idem_key SET fence'));
is(again(\@emitted, emit_on($server)), 0, 'no id of a message is given twice');
is(complete_on($server, 'open', 1), 'ID002', 'a holder of before has lost its claim');
$psql->(shown('CREATE TABLE provider') . shown('CREATE FUNCTION adopt.*?^END \$\$'));
$psql->(qq{INSERT INTO provider VALUES ('$_', '{"key": "$_"}', '{"charge": "$charged{$_}"}')}) foreach sort keys %charged;
is($psql->(shown('SELECT p\.key, k\.outcome')), "late|\nopen|in_progress\npassed|in_progress\nunknown|",
	'effects that the database does not know of are found');
$psql->(shown('UPDATE idem_key SET lease_until'));
is($psql->(shown('SELECT key, adopt')), "late|adopted\nopen|adopted\npaid|completed\npassed|adopted\nunknown|adopted",
	'and adopted, but for one that is known');
is($psql->(shown('SELECT p\.key, k\.outcome')), '', 'so that all are known');
is(claim_on($server, $_, '1 hour') =~ s/ \d+//r, "completed $charged{$_}", "a retry of $_ gets the first answer")
  foreach sort keys %charged;
is(complete_on($server, 'passed', 2), 'ID002', 'a holder of before gets nowhere');
is($psql->(q{SELECT idem_consume('mail', 'm-1'), idem_consume('mail', 'm-2')}), 'f|t', 'messages sent again count once');
is($psql->(q{SELECT idem_advance('billing', 'payments', 0, 0, 19)}), '10', 'a log is read on where the rows are');
is($money, 500, 'no charge was made twice');
$server->stop;

done_testing();

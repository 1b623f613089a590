# What a failover does to keys, as docs/scale.md says.  With a synchronous standby,
# nothing that was answered is lost, whenever the primary dies, and fences go on; with an
# asynchronous one, calls are lost together with their keys, and a retry does them again.
# The primary of before joins by pg_rewind, as the next standby.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use IPC::Run;
use List::Util qw(shuffle);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Storm;
use Test::More;

use constant {
	FAILOVERS => 3,
	REQUESTS => 300,    # in all, which every client sends
	CLAIMS => 60,       # by each client, of one key
};

my $seed = $ENV{IDEM_SEED} // time ^ $$;
srand($seed);
note "IDEM_SEED=$seed";

# Two servers, the first of which is the primary, and the second its standby.
sub pair
{
	my ($name, $conf) = @_;
	my $primary = PostgreSQL::Test::Cluster->new("${name}_a");

	$primary->init(allows_streaming => 1);
	$primary->append_conf('postgresql.conf', "shared_preload_libraries = 'idem'\nwal_log_hints = on\nwal_keep_size = '1GB'\n$conf");
	$primary->start;
	$primary->safe_psql('postgres', q{
		SET synchronous_commit = local;
		CREATE EXTENSION idem;
		CREATE TABLE effect (key text, serial bigint GENERATED ALWAYS AS IDENTITY);
		CREATE TABLE orders (id bigint PRIMARY KEY, total numeric);
		CREATE FUNCTION receive(message text) RETURNS text LANGUAGE plpgsql AS $$
		BEGIN
			IF idem_consume('receiver', message) THEN
				INSERT INTO effect VALUES (message);
				PERFORM idem_emit('received', to_jsonb(message));
			END IF;
			RETURN 'received';
		END $$;
	});
	$primary->backup('base');
	return ($primary, standby_of($primary, $primary, "${name}_b"));
}

# A new standby that is made of the backup of one server, and follows another.
sub standby_of
{
	my ($base, $primary, $name) = @_;
	my $standby = PostgreSQL::Test::Cluster->new($name);

	$standby->init_from_backup($base, 'base');
	follow($standby, $primary);
	$standby->start;
	return $standby;
}

sub follow
{
	my ($standby, $primary) = @_;

	$standby->append_conf('postgresql.conf', "primary_conninfo = '" . $primary->connstr . " application_name=" . $standby->name . "'\n");
	$standby->set_standby_mode;
}

# The primary of before becomes the standby of that of now, without what it has on top.
sub rewind
{
	my ($before, $now) = @_;

	# the new timeline has to be in the control file
	$now->safe_psql('postgres', shown('CHECKPOINT'));
	# its processes end by themselves, and pg_rewind starts it for a moment
	my $dir = $before->data_dir;
	my $conf = slurp_file("$dir/postgresql.conf");
	my $tries = 0;
	until (PostgreSQL::Test::Utils::system_log('pg_rewind', '--target-pgdata', $dir, '--source-server',
		$now->connstr('postgres')) == 0)
	{
		die 'pg_rewind fails' if ++$tries > 100;
		select undef, undef, undef, 0.1;
	}
	# with a configuration of its own
	unlink "$dir/postgresql.conf";
	append_to_file("$dir/postgresql.conf", $conf);
	follow($before, $now);
	start_again($before);
}

# Both servers as one, for clients that go where they can write.
{
	package Pair;
	sub new { my ($class, @nodes) = @_; return bless [@nodes], $class }
	sub connstr
	{
		my ($self, $database) = @_;
		return sprintf "host=%s port=%s dbname=$database target_session_attrs=read-write",
			join(',', map { $_->host } @$self), join(',', map { $_->port } @$self);
	}
	sub installed_command { my ($self, @what) = @_; return $self->[0]->installed_command(@what) }
}

# A statement of the page, or more, from what begins a line to the end of a block.
sub shown
{
	my ($begin) = @_;
	my ($statement) = slurp_file("$FindBin::RealBin/../docs/scale.md") =~ /^(\Q$begin\E.*?\n)```$/ms;

	return $statement // die "the page has no $begin";
}

# The statement of the page that puts fences above those of before.
sub raise_fences
{
	my ($node) = @_;

	$node->safe_psql('postgres', shown('UPDATE idem_key SET fence'));
}

my @requests = map { (qw(upsert execute message))[ $_ % 3 ] . "-$_" } 1 .. REQUESTS;

sub statement
{
	my ($key) = @_;
	my ($kind, $id) = split /-/, $key;

	return $kind eq 'upsert' ? qq{SELECT outcome, result FROM idem_upsert('$key', 'orders', '{"id": $id, "total": 5}')}
	  : $kind eq 'execute' ? qq{SELECT result FROM idem_execute('$key', 'INSERT INTO effect VALUES (\$1) RETURNING serial', '["$key"]')}
	  : "SELECT receive('$key')";
}

# What is done there, by its key, and which keys there are: in the order of their names.
sub effects
{
	my ($node) = @_;

	return $node->safe_psql('postgres', q{
		SELECT string_agg(key, ' ' ORDER BY key COLLATE "C") FROM
			(SELECT key FROM effect UNION ALL SELECT 'upsert-' || id FROM orders) AS e});
}
sub keys_there
{
	my ($node) = @_;

	return $node->safe_psql('postgres', q{
		SELECT string_agg(key, ' ' ORDER BY key COLLATE "C") FROM
			(SELECT key FROM idem_key WHERE key ~ '^(upsert|execute)-' UNION ALL SELECT message_id FROM idem_message) AS k});
}
sub messages_there
{
	my ($node) = @_;

	return $node->safe_psql('postgres', q{
		SELECT (SELECT string_agg(payload #>> '{}', ' ' ORDER BY payload) FROM idem_outbox)
			IS NOT DISTINCT FROM (SELECT string_agg(key, ' ' ORDER BY to_jsonb(key)) FROM effect WHERE starts_with(key, 'message'))});
}

# How many of these are not there.
sub missing
{
	my ($there, @wanted) = @_;
	my %there = map { $_ => 1 } split / /, $there;

	return scalar grep { !$there{$_} } @wanted;
}

#
# Synchronous
#

my ($primary, $standby) = pair('sync', "synchronous_standby_names = 'sync_a, sync_b'\n");
my $both = Pair->new($primary, $standby);
$primary->safe_psql('postgres', q{
	SELECT idem_claim('held', '1', lease => '1 hour');
	SELECT idem_checkpoint('held', 1, 'half');
	SELECT idem_claim('passed', '1', lease => '1 microsecond');
	SELECT idem_claim('passed', '1', lease => '1 hour')});

# early rather than late, when most answers are replays
my @moments = sort { $a <=> $b } map { 1 + int(rand() ** 2 * CLIENTS * (REQUESTS + CLAIMS) * 0.9) } 1 .. FAILOVERS;
my ($answered, $failovers) = (0, 0);
my @fences;
my %answers = crowd($both, sub {
	my ($key, $answer, $count, $all) = @_;

	$answered = $count;
	# a claim of another session, seen in the microsecond, gives none
	push @fences, $1 if $answer =~ /^claimed\|(\d+)/;
	return unless $failovers < FAILOVERS && $count >= $moments[$failovers];
	$failovers++;
	my @acknowledged = grep { $_ ne 'fence' } keys %$all;
	$primary->kill9;
	$standby->promote;
	is(missing(effects($standby), @acknowledged), 0, "killed at $count answers: all " . @acknowledged . ' acknowledged are there');
	is(missing(keys_there($standby), @acknowledged), 0, '... and their keys');
	cmp_ok($standby->safe_psql('postgres', q{SELECT coalesce(max(fence), 0) FROM idem_key WHERE key = 'fence'}), '>=', 
		(sort { $b <=> $a } @fences)[0] // 0, '... and the fences that were given');
	is($standby->safe_psql('postgres', q{SELECT outcome, response ->> 'name', fence, lease_until > clock_timestamp() FROM idem_lookup('held')}),
		'in_progress|half|1|t', '... and a lease, which goes on');
	rewind($primary, $standby);
	($primary, $standby) = ($standby, $primary);
}, sub {
	return shuffle((map { [ $_, statement($_) ] } @requests),
		(map { [ 'fence', q{SELECT outcome, fence FROM idem_claim('fence', '1', lease => '1 microsecond')} ] } 1 .. CLAIMS));
});
is($failovers, FAILOVERS, 'the primary was killed');
is($answered, CLIENTS * (REQUESTS + CLAIMS), 'every request of every client was answered');
delete $answers{fence};
my %seen;
cmp_ok(scalar @fences, '>', CLAIMS, 'a claim was taken over again and again');
is(scalar(grep { $seen{$_}++ } @fences), 0, 'and no fence was given twice');
is(scalar(grep { !all_equal($_) } values %answers), 0, 'one key, one answer');
is(join(' ', grep { $answers{$_}[0] =~ /^\w{5}$/ } sort keys %answers), '', 'which is no error');
my $wanted = join ' ', sort @requests;
is(effects($primary), $wanted, 'each effect is there, once');
is(keys_there($primary), $wanted, 'as are the keys');
is(messages_there($primary), 't', 'and the messages that were emitted');
$primary->wait_for_catchup($standby->name);
is(effects($standby), $wanted, 'the primary of before has them, too');
is(keys_there($standby), $wanted, 'with the keys');

# Who held a claim goes on where the primary is now.
is($primary->safe_psql('postgres', q{SELECT idem_complete('held', '"done"', 1)}), 't', 'a holder completes its claim on the next primary');
my (undef, undef, $err) = $primary->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT idem_complete('passed', '1', 1)");
like($err, qr/ID002/, 'one whose claim was taken over has lost it there, too');

# A standby shows what was done, and does nothing.
my $order = $primary->safe_psql('postgres', shown('SET synchronous_commit') . "\n;SELECT 1 \\g /dev/null\n");
is($order, 'executed', 'a call waits until it is visible on the standby');
is($standby->safe_psql('postgres', shown('SELECT outcome, response FROM idem_lookup')),
	'executed|{"rows": [{"?column?": 1}], "processed": 1}', 'where it is');
(undef, undef, $err) = $standby->psql('postgres', "\\set VERBOSITY sqlstate\n" . shown('SET synchronous_commit'));
like($err, qr/25006/, 'and where it cannot be made');
my $position = $primary->safe_psql('postgres', shown('SELECT pg_current_wal_insert_lsn()') . "\\echo :position\n");
ok($standby->poll_query_until('postgres', shown('SELECT pg_last_wal_replay_lsn()') =~ s/:'position'/'$position'/r),
	'a position of the primary arrives on the standby');

# A wait for the standby that is cancelled has committed, and a retry is told so, although
# the standby has nothing of it: that is what a failover can lose.
$standby->backup('later');
$standby->stop;
my $call = statement('execute-cancelled');
my $waiting = IPC::Run::start([ 'psql', '-X', '-A', '-t', '-d', $primary->connstr('postgres'), '-c', $call ],
	'>', \my $first, '2>', \my $warning);
my $cancel = q{FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND backend_type = 'client backend'};
ok($primary->poll_query_until('postgres', "SELECT count(*) = 1 $cancel"), 'a call waits for the standby');
my $other = IPC::Run::start([ 'psql', '-X', '-A', '-t', '-d', $primary->connstr('postgres'), '-c', $call ],
	'>', \my $second, '2>', \my $noise);
ok($primary->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity
	WHERE query ~ 'cancelled' AND wait_event_type = 'Lock'}), 'a retry waits for the call, and sees nothing of it');
$primary->safe_psql('postgres', "SELECT pg_cancel_backend(pid) $cancel");
$waiting->finish;
$other->finish;
like($warning, qr/WARNING: +canceling wait for synchronous replication/, 'a wait that is cancelled warns');
is($second, $first, 'and its transaction is there, for a retry, too');
$primary->kill9;
$standby->start;
my $third = PostgreSQL::Test::Cluster->new('sync_c');
$third->init_from_backup($standby, 'later');
follow($third, $standby);
$third->start;
$standby->promote;
is(missing(keys_there($standby), 'execute-cancelled'), 1, 'but not after a failover');
is(missing(effects($standby), 'execute-cancelled'), 1, 'nor is its effect');
$standby->append_conf('postgresql.conf', "synchronous_standby_names = ''\n");
$standby->reload;
isnt($standby->safe_psql('postgres', $call), '', 'where a retry does it again');
is(missing(effects($standby), 'execute-cancelled'), 0, 'with its effect');
$standby->wait_for_catchup($third->name);
is(effects($third), effects($standby), 'a standby of the standby has followed');
is(keys_there($third), keys_there($standby), 'with the keys');
$_->stop foreach $third, $standby;

#
# Asynchronous
#

($primary, $standby) = pair('async', '');
foreach my $round (1, 2)
{
	my @all = map { s/-/-$round/r } @requests;
	# soon, while there are keys that nobody has used
	my ($moment, $done, $lost) = (1 + int rand(REQUESTS / 2), 0, 0);
	my $later = $moment + 50 + int rand(REQUESTS / 2);

	$primary->safe_psql('postgres', qq{SELECT idem_claim('passed-$round', '1', lease => '1 microsecond')});
	$primary->wait_for_catchup($standby->name);
	%answers = crowd(Pair->new($primary, $standby), sub {
		my ($key, $answer, $count, $all) = @_;

		if ($count == $moment)
		{
			$standby->stop;
			# whoever holds this claim is lost with what has not arrived
			is($primary->safe_psql('postgres', qq{SELECT fence FROM idem_claim('passed-$round', '1', lease => '1 hour')}), '2', 'a claim is taken over');
			is($primary->safe_psql('postgres', qq{SELECT fence FROM idem_claim('new-$round', '1', lease => '1 hour')}), '1', 'and another made');
			# clients may be far ahead of what has been heard of them, so this one is done since, and by none of them
			$primary->safe_psql('postgres', statement("execute-${round}0000"));
		}
		if ($count == $later)
		{
			$done = 1;
			my @acknowledged = (keys %$all, "execute-${round}0000");
			$primary->kill9;
			$standby->start;
			$standby->promote;
			$lost = missing(effects($standby), @acknowledged);
			note "killed at $count answers: $lost of " . @acknowledged . ' acknowledged are lost';
			rewind($primary, $standby);
		}
	}, sub { return map { [ $_, statement($_) ] } shuffle(@all) });
	ok($done, 'the primary was killed');
	($primary, $standby) = ($standby, $primary);
	is(effects($primary), keys_there($primary), 'no key without its effect, no effect without its key');
	is(messages_there($primary), 't', 'and no message either');
	cmp_ok($lost, '>', 0, 'acknowledged calls were lost');

	# A fence of before is given once more, until fences are raised.
	is($primary->safe_psql('postgres', qq{SELECT outcome, fence FROM idem_claim('passed-$round', '1', lease => '1 hour')}), 'claimed|2', 'a fence is given twice');
	is($primary->safe_psql('postgres', qq{SELECT outcome, fence FROM idem_claim('new-$round', '1', lease => '1 hour')}), 'claimed|1', 'and that of a claim that is lost');
	raise_fences($primary);
	(undef, undef, $err) = $primary->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT idem_complete('passed-$round', '1', 2)");
	like($err, qr/ID002/, 'once they are raised, none of before is of use');

	# What was lost is done by a retry, once.
	$primary->safe_psql('postgres', join ";\n", map { statement($_) } @all, @all);
	my $now = join ' ', sort((map { my $r = $_; map { s/-/-$r/r } @requests } 1 .. $round));
	is(effects($primary), $now, 'retries do what was lost, once');
	is(keys_there($primary), $now, 'under its keys');
	$primary->wait_for_catchup($standby->name);
	is(effects($standby), $now, 'and the primary of before has no other');
	is(keys_there($standby), $now, 'nor other keys');
}

done_testing();

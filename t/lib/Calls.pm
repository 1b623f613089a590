# A client that makes every kind of call, and knows what may be answered: each
# answer carries the key that it was given under, so one that stands under another
# is seen at once, and what was done is tallied, to be compared with what is there.

package Calls;

use strict;
use warnings;

use parent 'Client';

use constant {
	KEEP => 60,			# calls, in which the keys in use move on by one
	WINDOW => 6,		# keys that all clients are at
	ROWS => 8,			# rows that all clients write under versions
	READY => 5000,		# claims that are made before, in one transaction
};
use constant ORDER => ('PENDING', 'PROCESSING', 'SHIPPED', 'DELIVERED');
use constant ROUND => ('a', 'b', 'c');

our $schema = q{
	CREATE TABLE thing (id bigint PRIMARY KEY, key text NOT NULL, n bigint, tags int[]);
	CREATE TABLE named (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text UNIQUE, n bigint);
	CREATE TABLE piece (region int, id bigint, key text NOT NULL, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
	CREATE TABLE piece_0 PARTITION OF piece FOR VALUES IN (0);
	CREATE TABLE piece_1 PARTITION OF piece FOR VALUES IN (1);
	CREATE TABLE doc (id bigint PRIMARY KEY, key text, n bigint, version bigint NOT NULL DEFAULT 1);
	CREATE TRIGGER zz_idem_version BEFORE UPDATE ON doc FOR EACH ROW EXECUTE FUNCTION idem_version('version');
	CREATE TABLE plain (id bigint PRIMARY KEY, key text, n bigint, version bigint NOT NULL DEFAULT 1);
	CREATE TABLE orders (id bigint PRIMARY KEY, key text, status order_status NOT NULL DEFAULT 'PENDING',
		version bigint NOT NULL DEFAULT 1);
	SELECT idem_attach('orders', 'order', history => true);
	CREATE TABLE ticket (region int, id bigint, key text, n bigint, status text NOT NULL DEFAULT 'a',
		version bigint NOT NULL DEFAULT 1, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
	CREATE TABLE ticket_0 PARTITION OF ticket FOR VALUES IN (0);
	CREATE TABLE ticket_1 PARTITION OF ticket FOR VALUES IN (1);
	SELECT idem_machine_define('round', 'a', '{"a": ["b", "c"], "b": ["a", "c"], "c": ["a", "b"]}');
	SELECT idem_attach('ticket', 'round', history => true);
	CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL);
	CREATE TABLE effect (what text, key text);
	CREATE TABLE applied (part int, "offset" bigint);
	SELECT idem_consumer_define('defined', '1 day');
	SELECT idem_scope_define('defined');
	INSERT INTO doc SELECT i, 'doc ' || i FROM generate_series(0, } . (ROWS - 1) . q{) AS i;
	INSERT INTO plain SELECT i, 'plain ' || i FROM generate_series(0, } . (ROWS - 1) . q{) AS i;
	INSERT INTO ticket SELECT i % 2, i, 'ticket ' || i FROM generate_series(0, } . (ROWS - 1) . q{) AS i;
	INSERT INTO account SELECT i, 0 FROM generate_series(0, 3) AS i;
	SELECT count(idem_claim('ready ' || i, lease => '1 day')) FROM generate_series(0, } . (READY - 1) . q{) AS i;
};

# Each by a name, so that a fault tells which.
my %calls = (
	upsert => \&upsert, upsert_partition => \&upsert_partition,
	upsert_conflict => \&upsert_conflict, upsert_merge => \&upsert_merge,
	upsert_expired => \&upsert_expired, upsert_version => \&upsert_version,
	update => \&update, update_ticket => \&update_ticket,
	execute => \&execute, execute_account => \&execute_account,
	claim => \&claim, claim_expired => \&claim_expired,
	claim_transaction => \&claim_transaction, complete => \&complete, lookup => \&lookup,
	place => \&place, order_transition => \&order_transition,
	transition => \&transition, transition_batch => \&transition_batch,
	consume => \&consume, consume_batch => \&consume_batch, advance => \&advance,
	history => \&history, allowed => \&allowed, define => \&define, purge => \&purge,
);
# Claims are most often at a row that they have found.
my @names = sort(keys %calls, ('claim', 'complete') x 4);

# Makes one call, of any kind.
sub call
{
	my ($self) = @_;

	$self->{calls}++;
	$self->{name} = $names[int rand @names];
	$calls{ $self->{name} }->($self);
}

# A key that the others are at as well, or one of those before.
sub number
{
	my ($self) = @_;
	my $front = int($self->{calls} / KEEP);

	return rand() < 0.2 ? int rand($front + 1) : $front + int rand WINDOW;
}

# A number that no other call has.
sub unique
{
	my ($self) = @_;

	return $self->{number} * 10_000_000 + ++$self->{unique};
}

sub upsert
{
	my ($self) = @_;
	my $n = $self->number;
	my $rows = $self->ask(qq{SELECT outcome, replayed, result->>'id', result->>'key'
		FROM idem_upsert('thing $n', 'thing', '{"id": $n, "key": "thing $n"}')}) // return;

	$self->answered($rows->[0], qr/^inserted [tf] $n thing $n$/);
	$self->tally('upsert', "thing $n") if $rows->[0][1] eq 'f';
}

sub upsert_partition
{
	my ($self) = @_;
	my $n = $self->number;
	my $region = $n % 2;
	my $rows = $self->ask(qq{SELECT outcome, replayed, result->>'id', result->>'key'
		FROM idem_upsert('piece $n', 'piece', '{"region": $region, "id": $n, "key": "piece $n"}')}) // return;

	$self->answered($rows->[0], qr/^inserted [tf] $n piece $n$/);
	$self->tally('upsert', "piece $n") if $rows->[0][1] eq 'f';
}

# Several requests are about one row, found by what it is called.
sub upsert_conflict
{
	my ($self) = @_;
	my $n = $self->number;
	my $request = int rand 4;
	my $rows = $self->ask(qq{SELECT outcome, replayed, result->>'n', result->>'key'
		FROM idem_upsert('named $n $request', 'named', '{"key": "named $n", "n": $request}',
			conflict => '{key}')}) // return;

	$self->answered($rows->[0], qr/^(inserted|updated|unchanged) [tf] $request named $n$/);
	return if $rows->[0][1] eq 't';
	$self->tally('conflict', "named $n $request");
	$self->tally('upsert', "named $n") if $rows->[0][0] eq 'inserted';
}

sub upsert_merge
{
	my ($self) = @_;
	my $n = $self->number;
	my $id = -1 - $n;
	my $key = rand() < 0.5 ? "'merge $n $self->{number}'" : 'NULL';
	my $rows = $self->ask(qq{SELECT outcome, result->>'key', result->'tags' @> '$self->{number}'
		FROM idem_upsert($key, 'thing', '{"id": $id, "key": "thing $id", "n": $self->{number},
			"tags": [$self->{number}]}', merge => '{"n": "max", "tags": "union"}')}) // return;

	$self->answered($rows->[0], qr/^(inserted|updated|unchanged) thing $id t$/);
	$self->{tally}{"merge\t$id $self->{number}"} = 1;
}

# A key that is forgotten at once, but for a call that read the clock before.
sub upsert_expired
{
	my ($self) = @_;
	my $n = $self->number;
	my $id = 1_000_000_000 + $n;
	my $rows = $self->ask(qq{SELECT outcome, replayed, result->>'key'
		FROM idem_upsert('gone $n', 'thing', '{"id": $id, "key": "gone $n"}', ttl => '1 us')}) // return;

	$self->answered($rows->[0], qr/^(inserted|unchanged) [tf] gone $n$/);
	$self->tally('upsert', "gone $n") if "@{$rows->[0]}" =~ /^inserted f/;
}

# Writes a row under the version it has, and sends that again.
sub write_version
{
	my ($self, $table, $id, $where, $call) = @_;
	my $rows = $self->ask("SELECT version FROM $table WHERE $where") // return;
	my $version = $rows->[0][0];
	my $n = $self->unique;
	my $sql = sprintf $call, $n, $version;
	my $answer = $self->ask($sql, 'ID203') // return;
	my $next = $version + 1;

	$self->answered($answer->[0], qr/^updated f $n $next $table $id$/);
	$self->tally('version', "$table $id $next");
	return if $sql =~ /NULL/;
	$rows = $self->ask($sql) // return;
	$self->answered($rows->[0], qr/^updated t $n $next $table $id$/);
}

sub upsert_version
{
	my ($self) = @_;
	my $id = int rand ROWS;
	my $table = ('doc', 'plain')[int rand 2];

	$self->write_version($table, $id, "id = $id",
		qq{SELECT outcome, replayed, result->>'n', result->>'version', result->>'key'
			FROM idem_upsert('write %1\$s', '$table', '{"id": $id, "key": "$table $id", "n": %1\$s}',
				expected_version => %2\$s)});
}

sub update
{
	my ($self) = @_;
	my $id = int rand ROWS;
	my $table = ('doc', 'plain')[int rand 2];
	my $key = rand() < 0.5 ? q{'write %1$s'} : 'NULL';

	$self->write_version($table, $id, "id = $id",
		qq{SELECT outcome, replayed, result->>'n', version, result->>'key'
			FROM idem_update('$table', $id, '{"n": %1\$s}', expected_version => %2\$s, key => $key)});
}

sub update_ticket
{
	my ($self) = @_;
	my $id = int rand ROWS;
	my $region = $id % 2;
	my $key = rand() < 0.5 ? q{'write %1$s'} : 'NULL';

	$self->write_version('ticket', $id, "(region, id) = ($region, $id)",
		qq{SELECT outcome, replayed, result->>'n', version, result->>'key'
			FROM idem_update('ticket', '{"region": $region, "id": $id}'::jsonb, '{"n": %1\$s}',
				expected_version => %2\$s, key => $key)});
}

sub execute
{
	my ($self) = @_;
	my $key = 'execute ' . $self->number;
	my $rows = $self->ask(qq{SELECT outcome, replayed, processed, result
		FROM idem_execute('$key', 'INSERT INTO effect VALUES (''execute'', \$1) RETURNING key',
			'["$key"]', scope => 'defined')}) // return;

	$self->answered($rows->[0], qr/^executed [tf] 1 \[\{"key": "$key"\}\]$/);
	$self->tally('effect', "execute $key") if $rows->[0][1] eq 'f';
}

sub execute_account
{
	my ($self) = @_;
	my $n = $self->number;
	my $account = $n % 4;
	my $rows = $self->ask(qq{SELECT outcome, replayed, result->0->>'id', result->0->>'key'
		FROM idem_execute('account $n',
			'UPDATE account SET balance = balance + 1 WHERE id = \$1 RETURNING id, balance,
			\$2::text AS key', '[$account, "account $n"]')}) // return;

	$self->answered($rows->[0], qr/^executed [tf] $account account $n$/);
	$self->tally('account', $account) if $rows->[0][1] eq 'f';
}

# Claims keys under a lease that may run out, and goes some way with each.
sub claim
{
	my ($self) = @_;
	my @numbers = map { 8 * $self->number + int rand 8 } 1 .. (1, 16)[int rand 2];
	my %keys = map { ("claim $_" => 1) } @numbers;
	# all take their keys in one order
	my $array = join ', ', map { "'$_'" } sort keys %keys;
	my $lease = ('1 us', '2 ms', '20 ms', '1 hour')[int rand 4];
	my $wait = ('true', 'false')[int rand 2];
	my $rows = $self->ask(qq{SELECT k, outcome, response->>'key', response->'data'->>'key', fence
		FROM unnest(ARRAY[$array]) AS k, idem_claim(k, jsonb_build_object('key', k), lease => '$lease',
			wait => $wait)}) // return;

	$self->expect(@$rows == keys %keys, scalar(@$rows) . ' rows');
	foreach my $row (@$rows)
	{
		$self->answered($row, qr/^(claim \d+) (in_progress  (\1|) |(completed|failed) \1  \d+|claimed  (\1|) \d+)$/);
		$self->tally('claim', "$row->[0] $row->[4]") if $row->[1] eq 'claimed';
	}
	foreach my $row (grep { $_->[1] eq 'claimed' } @$rows)
	{
		$self->hold($row->[0], $row->[4]);
	}
}

# What the holder of a claim does, until it is ended or the claim is lost.
sub hold
{
	my ($self, $key, $fence) = @_;
	my $rows;

	if (rand() < 0.5)
	{
		$self->ask(qq{SELECT idem_checkpoint('$key', $fence, 'step', '{"key": "$key"}')}, 'ID002') // return;
	}
	if (rand() < 0.3)
	{
		$rows = $self->ask(qq{SELECT idem_extend('$key', $fence, '10 ms') > now()}, 'ID002') // return;
		$self->expect($rows->[0][0] eq 't', $rows->[0][0]);
	}
	return if rand() < 0.1;
	my $end = (
		qq{idem_complete('$key', '{"key": "$key", "fence": $fence}', $fence)},
		qq{idem_fail('$key', '{"key": "$key", "fence": $fence}', $fence)},
		qq{idem_release('$key', $fence)})[ int rand 3 ];
	$rows = $self->ask("SELECT $end", 'ID002') // return;
	$self->expect($rows->[0][0] eq 't', $rows->[0][0]);
	return if $end =~ /release/;
	$self->tally('ended', "$key $fence");
	$rows = $self->ask("SELECT $end") // return;
	$self->expect($rows->[0][0] eq 'f', $rows->[0][0]);
}

# Ends one of many claims of one transaction, whose rows only their keys tell apart.
sub complete
{
	my ($self) = @_;
	my $key = 'ready ' . int rand READY;
	my $rows = $self->ask(qq{SELECT idem_complete('$key', '{"key": "$key", "fence": 1}', 1)}) // return;

	$self->answered($rows->[0], qr/^[tf]$/);
	$self->tally('ended', "$key 1") if $rows->[0][0] eq 't';
}

# Claims a key that is forgotten at once.
sub claim_expired
{
	my ($self) = @_;
	my $key = 'lapsed ' . $self->number;
	my $rows = $self->ask(qq{SELECT outcome, fence, response->'data'->>'key'
		FROM idem_claim('$key', '{"key": "$key"}', lease => '1 us', ttl => '1 us')}) // return;
	my ($outcome, $fence) = @{ $rows->[0] };

	$self->answered($rows->[0], qr/^(claimed|in_progress|completed) \d* ($key|)$/);
	return if $outcome ne 'claimed';
	$self->ask(qq{SELECT idem_checkpoint('$key', $fence, 'step', '{"key": "$key"}')}, 'ID00[23]') // return;
	$self->ask((qq{SELECT idem_complete('$key', '{"key": "$key"}', $fence, ttl => '1 us')},
			qq{SELECT idem_release('$key', $fence)})[ int rand 2 ], 'ID00[23]');
}

sub claim_transaction
{
	my ($self) = @_;
	my $key = 'transaction ' . $self->number;
	my $rows = $self->ask(qq{WITH c AS MATERIALIZED (SELECT *
		FROM idem_claim('$key', '{"key": "$key"}')),
		e AS (INSERT INTO effect SELECT 'transaction', '$key' FROM c WHERE outcome = 'claimed')
		SELECT outcome, response->>'key', outcome = 'claimed' AND idem_complete('$key',
			'{"key": "$key"}') FROM c}, 'none', 1) // return;

	$self->answered($rows->[0], qr/^(claimed  t|completed $key f)$/);
	$self->tally('effect', "transaction $key") if $rows->[0][0] eq 'claimed';
}

sub lookup
{
	my ($self) = @_;
	my $key = ('claim ', 'lapsed ', 'thing ', 'piece ', 'transaction ')[int rand 5] . $self->number;
	my $rows = $self->ask(qq{SELECT outcome, coalesce(response->>'key', response->'data'->>'key'),
			request->>'key'
		FROM idem_lookup('$key')}) // return;

	$self->answered($rows->[0], qr/^(|in_progress|abandoned|completed|failed|inserted) ($key|) ($key|)$/);
}

sub place
{
	my ($self) = @_;
	my $n = $self->number;
	my $rows = $self->ask(qq{SELECT outcome, replayed, result->>'status', result->>'version', result->>'key'
		FROM idem_upsert('place $n', 'orders', '{"id": $n, "key": "orders $n"}')}) // return;

	$self->answered($rows->[0], qr/^inserted [tf] PENDING 1 orders $n$/);
	$self->tally('upsert', "orders $n") if $rows->[0][1] eq 'f';
}

# The next state of an order, whose versions say how far it has come.
sub order_transition
{
	my ($self) = @_;
	my $n = $self->number;
	my $to = 1 + int rand 3;
	my ($before, $state) = (ORDER)[$to - 1, $to];
	my $version = $to + 1;
	my ($key, $expect) = ("order $n $state", '');
	if (rand() < 0.3)
	{
		($key, $expect) = ("order $n $state $to", ", expected_version => $to");
	}
	my $rows = $self->ask(qq{SELECT outcome, replayed, from_state, to_state, version
		FROM order_transition('orders', $n, '$state', key => '$key', note => '{"order": $n}'$expect)},
			'ID20[135]') // return;

	$self->answered($rows->[0], qr/^(applied [tf] $before $state $version|noop [tf] $state $state $version)$/);
	$self->tally('version', "orders $n $version") if "@{$rows->[0]}" =~ /^applied f/;
}

sub transition
{
	my ($self) = @_;
	my $id = int rand ROWS;
	my $region = $id % 2;
	my $to = (ROUND)[int rand 3];
	my $rows = $self->ask(qq{SELECT outcome, replayed, from_state <> to_state, to_state, version
		FROM idem_transition('ticket', '{"region": $region, "id": $id}'::jsonb, '$to',
			note => '{"ticket": $id}')}) // return;

	$self->answered($rows->[0], qr/^(applied f t|noop f f) $to \d+$/);
	$self->moved($id, $rows->[0][4]) if $rows->[0][0] eq 'applied';
}

sub moved
{
	my ($self, $id, $version) = @_;

	$self->tally('version', "ticket $id $version");
	$self->tally('moved', "ticket $id $version");
}

sub transition_batch
{
	my ($self) = @_;
	my @ids = map { int rand ROWS } 1 .. 3;
	my $array = join ', ', map { sprintf q{'{"region": %d, "id": %d}'}, $_ % 2, $_ } @ids;
	my $to = (ROUND)[int rand 3];
	my $key = rand() < 0.5 ? q{'batch } . $self->unique . q{'} : 'NULL';
	my $sql = qq{SELECT id->>'id', outcome, from_state <> to_state, to_state, version, replayed
		FROM idem_transition_batch('ticket', ARRAY[$array]::jsonb[], '$to', key => $key)};
	my $rows = $self->ask($sql) // return;
	my $first = join ',', map { "@$_[0 .. 4]" } @$rows;

	$self->expect("@ids" eq join(' ', map { $_->[0] } @$rows), $first);
	foreach my $row (@$rows)
	{
		$self->answered($row, qr/^\d+ (applied t|noop f) $to \d+ f$/);
	}
	# of one row that is given twice, the answer may be given twice
	my %applied = map { ("$_->[0] $_->[4]" => $_) } grep { $_->[1] eq 'applied' } @$rows;
	$self->moved($_->[0], $_->[4]) foreach values %applied;
	return if $key eq 'NULL';
	$rows = $self->ask($sql) // return;
	$self->expect(join(',', map { "@$_[0 .. 4]" } @$rows) eq $first && !(grep { $_->[5] ne 't' } @$rows), "again, after $first");
}

sub consume
{
	my ($self) = @_;
	my $key = 'message ' . $self->number;
	my $consumer = ('single', 'defined')[int rand 2];
	my $rows = $self->ask(qq{WITH new AS MATERIALIZED (SELECT idem_consume('$consumer', '$key') AS yes)
		INSERT INTO effect SELECT '$consumer', '$key'
		FROM new
		WHERE yes RETURNING key}) // return;

	$self->expect(!@$rows || $rows->[0][0] eq $key, 'another message');
	$self->tally('effect', "$consumer $key") if @$rows;
}

sub consume_batch
{
	my ($self) = @_;
	my @keys = map { 'message ' . $self->number } 1 .. 4;
	my $array = join ', ', map { "'$_'" } @keys;
	my $rows = $self->ask(qq{INSERT INTO effect SELECT 'batch', id
		FROM idem_consume_batch('batch', ARRAY[$array]) AS id RETURNING key}) // return;

	foreach my $row (@$rows)
	{
		$self->expect(scalar(grep { $_ eq $row->[0] } @keys), 'another message');
		$self->tally('effect', "batch $row->[0]");
	}
}

sub advance
{
	my ($self) = @_;
	my $part = int rand 3;
	my $rows = $self->ask("SELECT coalesce(idem_offset('reader', 'log', $part), 0)") // return;
	my $first = $rows->[0][0] > 3 ? $rows->[0][0] - 3 : 0;
	my $last = $rows->[0][0] + int rand 4;

	$rows = $self->ask(qq{INSERT INTO applied SELECT $part, o FROM generate_series(idem_advance('reader',
			'log', $part, $first, $last), $last) AS o RETURNING "offset"}) // return;
	foreach my $row (@$rows)
	{
		$self->expect($row->[0] >= $first && $row->[0] <= $last, $row->[0]);
		$self->tally('offset', "$part $row->[0]");
	}
}

sub history
{
	my ($self) = @_;
	my $n = $self->number;
	my $rows = $self->ask("SELECT version, from_state, to_state, note->>'order', key
		FROM idem_history('orders', $n) WHERE from_state IS NOT NULL") // return;
	my $version = 1;

	foreach my $row (@$rows)
	{
		my ($before, $state) = (ORDER)[$version - 1, $version++];
		$self->answered($row, qr/^$version $before $state $n order $n $state( \d)?$/);
	}
}

sub allowed
{
	my ($self) = @_;
	my $id = int rand ROWS;
	my $region = $id % 2;
	my $rows = $self->ask(qq{SELECT string_agg(s, '' ORDER BY s)
		FROM idem_allowed('ticket', '{"region": $region, "id": $id}'::jsonb) AS s}) // return;

	$self->answered($rows->[0], qr/^(ab|ac|bc)$/);
}

# What is defined already is left as it is.
sub define
{
	my ($self) = @_;
	my $rows = $self->ask(q{SELECT idem_machine_define('round', 'a', '{"a": ["b", "c"], "b": ["a", "c"], "c": ["a", "b"]}')}) // return;

	$self->expect($rows->[0][0] eq 'f', $rows->[0][0]);
	$self->ask(q{SELECT idem_consumer_define('defined', '1 day')});
	$self->ask(q{SELECT idem_scope_define('defined')});
}

sub purge
{
	my ($self) = @_;
	my $rows = $self->ask('SELECT idem_purge(' . (1 + int rand 50) . ')') // return;

	$self->answered($rows->[0], qr/^\d+$/);
}

1;

# Transactions that have a key, message by message: the extended protocol, text and
# binary, rows asked for in parts, pipelines, clocks, prepared transactions.  What the
# server sends the second time is, byte for byte, what it sent the first time.
use strict;
use warnings;

use IO::Socket::UNIX;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'speaks to a Unix socket' if !$PostgreSQL::Test::Utils::use_unix_sockets;

my $node = PostgreSQL::Test::Cluster->new('session_protocol');
$node->init;
$node->append_conf('postgresql.conf', q{
	fsync = off
	max_prepared_transactions = 5
	session_preload_libraries = 'idem'
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE t (id serial PRIMARY KEY, v text, at timestamptz DEFAULT clock_timestamp(), f float8 DEFAULT random());
	CREATE FUNCTION put(n int) RETURNS int LANGUAGE plpgsql AS $$
	DECLARE i int; BEGIN INSERT INTO t (v) VALUES (n) RETURNING id INTO i; RETURN i; END $$;
});

# The least of a client.
sub connect_raw
{
	my $socket = IO::Socket::UNIX->new(Peer => $node->host . '/.s.PGSQL.' . $node->port)
	  or die "cannot connect: $!";
	my $startup = pack 'NZ*Z*Z*Z*x', 196608, 'user', scalar getpwuid($<), 'database', 'postgres';

	print {$socket} pack('N', 4 + length $startup) . $startup;
	$socket->flush;
	until_ready($socket);
	return $socket;
}

sub message { return $_[0] . pack('N', 4 + length $_[1]) . $_[1] }
sub query { return message('Q', "$_[0]\0") }
sub parse { my ($sql, @types) = @_; return message('P', "\0$sql\0" . pack 'n/(N)', @types) }

# Parameters as text; results as text (0) or binary (1).
sub bind_portal
{
	my ($portal, $format, @params) = @_;
	return message('B', "$portal\0\0" . pack('n', 0) . pack('n', scalar @params) .
		join('', map { defined $_ ? pack('N/a*', $_) : pack('N', 0xffffffff) } @params) .
		pack('nn', 1, $format));
}
sub describe { return message('D', "P$_[0]\0") }
sub execute { return message('E', "$_[0]\0" . pack 'N', $_[1] // 0) }
sub sync { return message('S', '') }

# What comes until the server is ready: type and content of each message.
sub until_ready
{
	my ($socket) = @_;
	my @got;

	while (1)
	{
		my ($head, $body) = ('', '');

		read($socket, $head, 5) == 5 or die "the server is gone";
		my ($type, $length) = unpack 'aN', $head;

		read($socket, $body, $length - 4) if $length > 4;
		push @got, [ $type, $body ] unless $type =~ /[SKRA]/;
		return @got if $type eq 'Z';
	}
}

sub ask
{
	my ($socket, @messages) = @_;

	print {$socket} join '', @messages;
	$socket->flush;
	return until_ready($socket);
}

sub show
{
	return join "\n", map {
		my ($type, $body) = @$_;
		$type eq 'E' ? 'E ' . join ' ', $body =~ /C(.....)\0/ : $type . unpack 'H*', $body
	} @_;
}

# Sends groups of messages in a transaction under a key, twice, each time in a session of
# its own; begin is how it begins.  Returns what the first was sent.
sub twice
{
	my ($name, $begin, @groups) = @_;
	my @answers;
	my $rows;

	foreach my $round (1, 2)
	{
		my $socket = connect_raw();
		my @got;

		ask($socket, @$begin) if @$begin;
		push @got, ask($socket, @$_) for @groups;
		push @answers, \@got;
		close $socket;
		my $count = $node->safe_psql('postgres', 'SELECT count(*) FROM t');

		is($count, $rows, "$name: nothing is written twice") if $round == 2;
		$rows = $count;
	}
	is(show(@{ $answers[1] }), show(@{ $answers[0] }), "$name: the second answer is the first");
	return @{ $answers[0] };
}

sub begin_with { return [ query("BEGIN; SELECT idem_begin('$_[0]')") ] }
sub commit { return [ query('COMMIT') ] }
sub types { return join '', map { $_->[0] } @_ }

# Text and binary, with parameters.
foreach my $format (0, 1)
{
	my @got = twice("format $format", begin_with("format-$format"),
		[ parse('INSERT INTO t (v) VALUES ($1), ($2) RETURNING *'), bind_portal('', $format, 'x', undef),
			describe(''), execute(''), sync() ],
		[ parse('SELECT id, v, at, f, now() FROM t WHERE v = $1'), bind_portal('', $format, 'x'),
			describe(''), execute(''), sync() ],
		commit());

	like(types(@got), qr/^12TDDCZ12TD+CZCZ$/, "format $format: as the protocol has it");
}

# Rows in parts, from portals that have a name, with another statement between.
foreach my $sql ('SELECT id, f FROM t ORDER BY id', 'INSERT INTO t (v) SELECT n FROM generate_series(1, 5) AS n RETURNING id, f',
	'SELECT put(n) FROM generate_series(1, 5) AS n', 'WITH new AS (INSERT INTO t (v) SELECT n FROM generate_series(1, 5) AS n RETURNING id) SELECT id, now() FROM new')
{
	my @got = twice($sql, begin_with("parts $sql"),
		[ query("INSERT INTO t (v) VALUES ('a'), ('b'), ('c')") ],
		[ parse($sql), bind_portal('p', 0), describe('p'), execute('p', 2), sync() ],
		[ query("INSERT INTO t (v) VALUES ('between')") ],
		[ execute('p', 1), execute('p', 100), sync() ],
		commit());

	like(types(@got), qr/^CZ12TDDsZCZDsD+CZCZ$/, "$sql: in parts");
}

# Only some of the rows are asked for.
twice('a part', begin_with('a part'),
	[ parse('SELECT put(n) FROM generate_series(1, 5) AS n'), bind_portal('p', 0), execute('p', 2), sync() ],
	[ message('C', "Pp\0"), sync() ], commit());
twice('a part of a read', begin_with('a part of a read'),
	[ query("INSERT INTO t (v) VALUES ('part')") ],
	[ parse('SELECT n FROM generate_series(1, 5) AS n'), bind_portal('p', 0), execute('p', 2), sync() ], commit());

# A pipeline needs no block.
my @pipeline = (parse(q{SELECT 'begun' FROM idem_begin('pipeline')}), bind_portal('', 0), execute(''),
	map({ parse('INSERT INTO t (v) VALUES ($1) RETURNING id'), bind_portal('', 1, $_), execute('') } qw(p q r)), sync());
is(types(twice('pipeline', [], \@pipeline)), '12DC12DC12DC12DCZ', 'pipeline: as the protocol has it');
@pipeline = (parse(q{SET LOCAL idem.key = 'pipelined setting'}), bind_portal('', 0), execute(''),
	map({ parse('INSERT INTO t (v) VALUES ($1) RETURNING id'), bind_portal('', 0, $_), execute('') } qw(p q r)), sync());
twice('pipeline with the setting', [], grep { defined } \@pipeline);

# An error in a pipeline: all of it is undone, and the key is free.
my $socket = connect_raw();
my @got = ask($socket, parse(q{SELECT 'begun' FROM idem_begin('pipe-error')}), bind_portal('', 0), execute(''),
	parse('INSERT INTO t (v) VALUES (1 / 0)'), bind_portal('', 0), execute(''), sync());
is(show($got[-2]), 'E 22012', 'an error in a pipeline');
is($node->safe_psql('postgres', q{SELECT outcome IS NULL FROM idem_lookup('pipe-error')}), 't', 'leaves nothing');

# A clock of the program's own, as a parameter and as a literal.
foreach my $match ('exact', 'clock')
{
	my $moment = 0;
	my @answers = map {
		my $time = sprintf '2026-11-28 12:00:%02d.%06d+00', $_, $_;
		$socket = connect_raw();
		ask($socket, query("SET idem.key_match = $match"));
		ask($socket, @{ begin_with("clock-$match") });
		my @all = (ask($socket, parse('INSERT INTO t (v, at) VALUES ($1, $2) RETURNING id, at'), bind_portal('', 0, 'c', $time), execute(''), sync()),
			ask($socket, query("UPDATE t SET at = '$time' WHERE v = 'c' RETURNING id, at")), ask($socket, query('COMMIT')));
		show(@all)
	} 1, 2;

	if ($match eq 'clock')
	{
		is($answers[1], $answers[0], 'clock: another time is the same request');
	}
	else
	{
		like($answers[1], qr/^1\n2\nE ID001/, 'exact: another time is another request');
	}
}
$socket = connect_raw();
ask($socket, query('SET idem.key_match = clock'), );
ask($socket, @{ begin_with('clock-clock') });
@got = ask($socket, parse('INSERT INTO t (v, at) VALUES ($1, $2) RETURNING id, at'), bind_portal('', 0, 'other', '2026-11-28 12:00:00'), execute(''), sync());
like(show(@got), qr/E ID001/, 'clock: another value is not');
close $socket;

# PREPARE TRANSACTION writes the record.
my $two = q{BEGIN; SELECT idem_begin('two'); INSERT INTO t (v) VALUES ('two') RETURNING id};
$socket = connect_raw();
my $first = show(ask($socket, query($two)));
ask($socket, query("PREPARE TRANSACTION 'gid'"));
@got = ask($socket, query("SET lock_timeout = '10ms'; $two"));
like(show(@got), qr/E 55P03/, 'a duplicate waits for a prepared transaction');
ask($socket, query('ROLLBACK'));
$node->restart;
$node->safe_psql('postgres', q{COMMIT PREPARED 'gid'});
$socket = connect_raw();
@got = ask($socket, query($two));
(my $second = show(@got)) =~ s/^(D000100000001)74$/${1}66/m;
is($second, $first, 'and is answered by it once it has committed');
ask($socket, query("PREPARE TRANSACTION 'gid2'"));
is($node->safe_psql('postgres', q{COMMIT PREPARED 'gid2'; SELECT count(*) FROM t WHERE v = 'two'}), '1', 'a replay may be prepared, too');
$node->safe_psql('postgres', q{BEGIN; SELECT idem_begin('three'); INSERT INTO t (v) VALUES ('three'); PREPARE TRANSACTION 'gid3'});
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'gid3'});
is($node->safe_psql('postgres', q{SELECT outcome IS NULL FROM idem_lookup('three')}), 't', 'one that is rolled back leaves nothing');
# What is sent past the statements of the transaction is not recorded: it may not write.
my $put = $node->safe_psql('postgres', q{SELECT 'put'::regproc::oid});
my $call = message('F', pack('NnnNa*n', $put, 0, 1, 1, '8', 0));
$socket = connect_raw();
ask($socket, @{ begin_with('past') });
like(show(ask($socket, $call)), qr/E 0A000/, 'a function that is called by itself may not write');
close $socket;
# One that is called by itself may roll back what it has tried.
my $check = $node->safe_psql('postgres', q{SELECT 'idem_check(text, jsonb)'::regprocedure::oid});
my $tried = message('F', pack('NnnNa*Na*n', $check, 0, 2, 23, 'DELETE FROM t WHERE v=1', 2, '[]', 0));
$socket = connect_raw();
ask($socket, @{ begin_with('past') });
like(show(ask($socket, $tried)), qr/^E 42883\n/, 'its error is its own');
ask($socket, query('ROLLBACK'));
ask($socket, @{ begin_with('past') });
ask($socket, query('SAVEPOINT a'));
ask($socket, $tried);
is(types(ask($socket, query('ROLLBACK TO a')), ask($socket, query(q{INSERT INTO t (v) VALUES ('past')})), ask($socket, query('ROLLBACK'))),
	'CZCZCZ', 'and the savepoint around it is there');
close $socket;
unlike(slurp_file($node->logfile), qr/AbortSubTransaction while|errstart was not called/, 'no savepoint is rolled back twice');
$socket = connect_raw();
ask($socket, query('BEGIN'));
ask($socket, parse('SELECT put(8)'), bind_portal('older', 0), sync());
ask($socket, query(q{SELECT idem_begin('past')}));
like(show(ask($socket, execute('older'), sync())), qr/E 0A000/, 'nor may a portal that is older than the key');
close $socket;

SKIP:
{
	skip 'the server is built without XML', 2
	  if $node->safe_psql('postgres', q{SELECT count(*) FROM pg_settings WHERE name = 'xmloption'}) == 0 ||
	  ($node->psql('postgres', q{SELECT xml '<a/>'}))[0] != 0;

	# whatever the session takes for XML
	my $content = q{SET LOCAL xmloption = document; INSERT INTO t (v) VALUES ('xml') RETURNING xmlparse(content 'a <b/>')};

	twice('content that is no document', begin_with('xml'), [ query($content) ], commit());
}
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'the server went through it all');
done_testing();

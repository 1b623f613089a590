# Keys are forgotten beside calls that use them, at each isolation level, while rows
# are moved, purged and locked: every time that work was done, its key is there, or was
# forgotten once.  Prepared transactions keep what they use.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('forget');
$node->init;
$node->append_conf('postgresql.conf', "max_prepared_transactions = 10\nmax_connections = 40\nautovacuum = off\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION idem;
	CREATE TABLE work (scope text, key text);
	CREATE TABLE forgotten (scope text, key text, n bigint);
});

sub sql { return $node->safe_psql('postgres', @_) }

# The SQLSTATE and the detail that a statement ends with.
sub refusal
{
	my ($sql) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");
	my ($state) = $err =~ /ERROR:\s+(\w{5})/;
	my ($detail) = $err =~ /DETAIL:\s+(.*)/;

	return join '|', $state // "none: $out$err", $detail // '';
}

# Sessions that use few keys, forget some, or all of a scope, and one that moves rows.
my %script = (
	use => q{
		\set k random(1, 12)
		BEGIN ISOLATION LEVEL LEVEL;
		SELECT outcome FROM idem_execute('k' || :k, $$INSERT INTO work VALUES ('one', $1)$$, to_jsonb(ARRAY['k' || :k]), 'one');
		SELECT outcome FROM idem_execute('k' || :k, $$INSERT INTO work VALUES ('all', $1)$$, to_jsonb(ARRAY['k' || :k]), 'all');
		END;
	},
	claim => q{
		\set k random(1, 12)
		\set fence 0
		BEGIN ISOLATION LEVEL LEVEL;
		SELECT coalesce(max(fence), 0) AS fence FROM idem_claim('c' || :k, lease => '1 microsecond', scope => 'one')
		WHERE outcome = 'claimed' AND response IS NULL \gset
		INSERT INTO work SELECT 'one', 'c' || :k WHERE :fence > 0;
		SELECT idem_checkpoint('c' || :k, :fence, 'is not new', scope => 'one') WHERE :fence > 0;
		END;
	},
	forget => q{
		\set k random(1, 12)
		BEGIN ISOLATION LEVEL LEVEL;
		INSERT INTO forgotten SELECT 'one', 'k' || :k, 1 WHERE idem_forget('k' || :k, 'one');
		INSERT INTO forgotten SELECT 'one', 'c' || :k, 1 WHERE idem_forget('c' || :k, 'one');
		END;
	},
	forget_all => q{
		\set n random(1, 8)
		BEGIN ISOLATION LEVEL LEVEL;
		INSERT INTO forgotten SELECT 'all', NULL, forgotten FROM idem_forget_scope('all', :n);
		SELECT idem_purge();
		END;
	},
	move => q{
		VACUUM FULL idem_key;
		CLUSTER idem_key USING idem_key_pkey;
		\sleep 20 ms
	});

sub start
{
	my ($name, $level, $clients, $transactions) = @_;
	my $file = $node->basedir . '/' . "$name $level" =~ s/\W/_/gr . '.sql';
	my $run = { name => $name, out => '', err => '' };
	my $text = $script{$name} =~ s/ISOLATION LEVEL LEVEL/ISOLATION LEVEL $level/gr;

	append_to_file($file, $text =~ s/^\t+//gmr) unless -e $file;
	$run->{run} = IPC::Run::start(
		[ 'pgbench', '-n', '-c', $clients, '-t', $transactions, '--max-tries', 1000, '-f', $file,
			$node->connstr('postgres') ],
		'<', \undef, '>', \$run->{out}, '2>', \$run->{err},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return $run;
}

foreach my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	my @runs = (start('use', $level, 4, 200), start('claim', $level, 2, 200), start('forget', $level, 2, 200),
		start('forget_all', $level, 2, 100), start('move', $level, 1, 10));

	foreach my $run (@runs)
	{
		ok($run->{run}->finish, "$level: $run->{name}") or diag $run->{err};
	}
	is(sql(q{
		SELECT w.scope, coalesce(w.key, f.key), w.n, k.n, f.n
		FROM (SELECT scope, CASE scope WHEN 'one' THEN key END AS key, count(*) AS n FROM work GROUP BY 1, 2) AS w
			FULL JOIN (SELECT scope, CASE scope WHEN 'one' THEN key END AS key, count(*) AS n FROM idem_key
					WHERE expires_at > now() GROUP BY 1, 2) AS k
				ON (w.scope, coalesce(w.key, '')) = (k.scope, coalesce(k.key, ''))
			FULL JOIN (SELECT scope, key, sum(n) AS n FROM forgotten GROUP BY 1, 2) AS f
				ON (w.scope, coalesce(w.key, '')) = (f.scope, coalesce(f.key, ''))
		WHERE coalesce(w.n, 0) <> coalesce(k.n, 0) + coalesce(f.n, 0)}), '',
		"$level: what was done is remembered, or was forgotten");
	cmp_ok(sql(q{SELECT sum(n) FROM forgotten}), '>', 30, "$level: and much was");
}

# A prepared transaction that has used a key: one key waits for it, a scope does not.
sql(q{
	SELECT idem_claim('was there', lease => '1 microsecond', scope => 'prepared');
	BEGIN;
	SELECT idem_claim('was there', lease => '1 microsecond', scope => 'prepared');
	SELECT idem_execute('is new', 'SELECT 1', scope => 'prepared');
	PREPARE TRANSACTION 'uses'});
is(refusal(qq{SET lock_timeout = '100ms'; SELECT idem_forget('$_', 'prepared')}), '55P03|', "prepared: $_")
	foreach 'was there', 'is new';
is(sql(q{SELECT * FROM idem_forget_scope('prepared')}), '0|1', 'prepared: passed over');
$node->stop('immediate');
$node->start;
is(sql(q{SELECT * FROM idem_forget_scope('prepared')}), '0|1', 'prepared: after a crash, too');
sql(q{COMMIT PREPARED 'uses'});
is(sql(q{SELECT idem_forget('was there', 'prepared'), idem_forget('is new', 'prepared')}), 't|t', 'and then forgotten');

# A transaction that forgets is prepared.
sql(q{
	SELECT idem_execute(k, 'SELECT 1', scope => 'prepared') FROM unnest(ARRAY['a', 'b']) AS k;
	BEGIN;
	SELECT idem_forget('a', 'prepared');
	SELECT idem_forget_scope('prepared');
	PREPARE TRANSACTION 'forgets'});
is(refusal(qq{SET lock_timeout = '100ms'; SELECT idem_execute('$_', 'SELECT 1', scope => 'prepared')}), '55P03|',
	"forgotten by a prepared one: $_") foreach 'a', 'b';
sql(q{ROLLBACK PREPARED 'forgets'});
is(sql(q{SELECT replayed FROM unnest(ARRAY['a', 'b']) AS k, idem_execute(k, 'SELECT 1', scope => 'prepared')}), "t\nt",
	'and remembered again');

# What a wait that ended was for, it says.
{
	my $session = $node->background_psql('postgres', on_error_stop => 1);
	$session->query_safe(q{BEGIN; SELECT idem_execute('busy', 'SELECT 1')});
	like(refusal(q{SET idem.wait_timeout = '100ms'; SELECT idem_forget('busy')}),
		qr/^55P03\|Process \d+ is at work under the key "busy"/, 'who is waited for');
	$session->quit;
}

$node->stop;
done_testing();

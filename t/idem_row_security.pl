# Row security on idem's own tables: whatever policies their owner makes, calls find
# what is there, and write it.  Policies bind who reads the tables, no call of idem.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use EveryCall;

my $node = PostgreSQL::Test::Cluster->new('row_security');
$node->init;
$node->start;
$node->safe_psql('postgres', q{
	CREATE ROLE regress_owner LOGIN;
	CREATE ROLE regress_app LOGIN;
	CREATE ROLE regress_reader LOGIN;
	CREATE DATABASE shop OWNER regress_owner;
});
my @as_owner = (extra_params => [ '-U', 'regress_owner' ]);
my @as_app = (extra_params => [ '-U', 'regress_app' ]);
my @as_reader = (extra_params => [ '-U', 'regress_reader' ]);

$node->safe_psql('shop', "CREATE EXTENSION idem; $EveryCall::schema" . q{
	GRANT ALL ON orders TO regress_app;
	GRANT INSERT (name) ON idem_machine TO regress_app;
	GRANT INSERT (consumer) ON idem_consumer TO regress_app;
	GRANT INSERT (scope) ON idem_scope TO regress_app;
	GRANT INSERT (topic), SELECT ON idem_outbox TO regress_app;
	GRANT SELECT ON ALL TABLES IN SCHEMA public TO regress_reader;
}, @as_owner);
my @tables = split /\n/, $node->safe_psql('shop',
	q{SELECT c.oid::regclass FROM pg_class AS c, pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e' AND relkind = 'r'});
my $rows = 0;

foreach my $way (
	[ 'none', '' ],
	[ 'nobody but the owner', 'ENABLE ROW LEVEL SECURITY' ],
	[ 'not even the owner', 'FORCE ROW LEVEL SECURITY' ])
{
	my ($name, $change) = @$way;

	$node->safe_psql('shop', join(';', map { "ALTER TABLE $_ $change" } @tables), @as_owner) if $change;
	foreach my $role (\@as_app, \@as_owner)
	{
		local $ENV{PGOPTIONS} = '-c row_security=' . ($role == \@as_app ? 'on' : 'off');

		is($node->safe_psql('shop', EveryCall::calls(++$rows), @$role), $EveryCall::answers,
			"$name: calls of $role->[1][1]");
		is($node->safe_psql('shop', 'SELECT outcome, replayed FROM idem_upsert(\'u' . $rows
				. "', 'orders', '{\"id\": $rows, \"note\": \"x\"}')", @$role), 'inserted|t', "$name: and a retry");
	}
	is($node->safe_psql('shop', 'SELECT count(*) > 0 FROM idem_key', @as_reader), $change ? 'f' : 't',
		"$name: what another role reads");
}

# Policies whose functions look who asks.
$node->safe_psql('shop', q{
	CREATE TABLE asked (who name);
	CREATE FUNCTION ask() RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO asked VALUES (current_user);
		RETURN false;
	END $$;
	GRANT INSERT ON asked TO PUBLIC;
} . join(';', map { "CREATE POLICY ask ON $_ USING (ask()) WITH CHECK (ask())" } @tables), @as_owner);
is($node->safe_psql('shop', EveryCall::calls(++$rows), @as_app), $EveryCall::answers, 'policies of code: calls');
is($node->safe_psql('shop', 'SELECT count(*) FROM asked', @as_owner), '0', 'policies of code: are not asked');
is($node->safe_psql('shop', 'SELECT count(*) FROM idem_key', @as_reader), '0', 'policies of code: bind a reader');
is($node->safe_psql('shop', 'SELECT DISTINCT who FROM asked', @as_owner), 'regress_reader', 'who is asked for');

# The worker purges all the same, and pg_dump needs to be told.
is($node->safe_psql('shop', 'SELECT idem_worker_start()'), 't', 'a worker');
$node->safe_psql('shop', q{SELECT outcome FROM idem_execute('worker', 'SELECT 1', ttl => '1 microsecond')}, @as_app);
ok($node->poll_query_until('shop', q{SELECT NOT EXISTS (SELECT FROM idem_key WHERE key = 'worker')}), 'purges');

$node->stop;
done_testing();

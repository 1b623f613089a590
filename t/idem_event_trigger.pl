# Event triggers of all kinds beside idem: the extension is created, updated, used
# and dropped under them, also where they look at each object, or call idem; what
# one refuses is refused, and nothing else happens.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use EveryCall;

my $node = PostgreSQL::Test::Cluster->new('event_trigger');
$node->init;
$node->start;

$node->safe_psql('postgres', q{
	CREATE ROLE regress_owner LOGIN;
	CREATE DATABASE shop OWNER regress_owner;
});
$node->safe_psql('shop', q{
	CREATE TABLE seen (event text, tag text, identity text);
	GRANT ALL ON seen TO PUBLIC;
	CREATE FUNCTION look() RETURNS event_trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF tg_event = 'ddl_command_end' THEN
			INSERT INTO public.seen SELECT tg_event, command_tag, object_identity FROM pg_event_trigger_ddl_commands();
		ELSIF tg_event = 'sql_drop' THEN
			INSERT INTO public.seen SELECT tg_event, tg_tag, object_identity FROM pg_event_trigger_dropped_objects();
		ELSE
			INSERT INTO public.seen VALUES (tg_event, tg_tag);
		END IF;
	END $$;
	CREATE EVENT TRIGGER look_start ON ddl_command_start EXECUTE FUNCTION look();
	CREATE EVENT TRIGGER look_end ON ddl_command_end EXECUTE FUNCTION look();
	CREATE EVENT TRIGGER look_drop ON sql_drop EXECUTE FUNCTION look();
	CREATE EVENT TRIGGER look_rewrite ON table_rewrite EXECUTE FUNCTION look();
});
my @as_owner = (extra_params => [ '-U', 'regress_owner' ]);

is($node->safe_psql('shop', "CREATE EXTENSION idem; $EveryCall::schema", @as_owner), '', 'created, and attached');
is($node->safe_psql('shop', EveryCall::calls(1), @as_owner), $EveryCall::answers, 'calls of all kinds');
is($node->safe_psql('shop', q{
		SELECT count(*) FROM pg_class AS c, pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e' AND relkind = 'r' AND relname !~ '^idem_'}),
	'0', 'what event triggers made is not the extension\'s');
is($node->safe_psql('shop', q{SELECT DISTINCT tag FROM seen WHERE event = 'ddl_command_end' AND identity ~ 'orders' ORDER BY 1}),
	"CREATE INDEX\nCREATE TABLE\nCREATE TRIGGER", 'the triggers of a table are seen');

# What idem_attach() makes may be refused.
$node->safe_psql('shop', q{
	CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$
	BEGIN
		RAISE 'no more triggers' USING ERRCODE = 'P0123';
	END $$;
	CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE TRIGGER') EXECUTE FUNCTION refuse();
});
$node->safe_psql('shop', 'CREATE TABLE other (id int PRIMARY KEY, status text NOT NULL, version int NOT NULL)', @as_owner);
my (undef, undef, $err) = $node->psql('shop',
	"\\set VERBOSITY sqlstate\nSELECT idem_attach('other', 'order')", @as_owner);
like($err, qr/P0123/, 'refused');
is($node->safe_psql('shop', q{SELECT count(*) FROM pg_trigger WHERE tgrelid = 'other'::regclass}), '0', 'altogether');
is($node->safe_psql('shop', EveryCall::calls(2), @as_owner), $EveryCall::answers, 'no call makes any');
$node->safe_psql('shop', q{DROP EVENT TRIGGER refuse});

# Event triggers that call idem: DDL under a key.
$node->safe_psql('shop', q{
	CREATE FUNCTION once() RETURNS event_trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM public.idem_execute('ddl ' || txid_current(), 'SELECT 1');
		PERFORM public.idem_consume('ddl', tg_tag);
	END $$;
	CREATE EVENT TRIGGER once_start ON ddl_command_start WHEN TAG IN ('CREATE TABLE', 'CREATE TRIGGER', 'ALTER TABLE')
		EXECUTE FUNCTION once();
	CREATE EVENT TRIGGER once_end ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE TRIGGER', 'ALTER TABLE')
		EXECUTE FUNCTION once();
});
is($node->safe_psql('shop', q{
		SELECT idem_attach('other', 'order', history => true);
		ALTER TABLE orders ADD COLUMN more int DEFAULT 1, ALTER COLUMN version TYPE bigint;
		ALTER TABLE idem_key ADD COLUMN more int;
		CREATE TABLE third (id int PRIMARY KEY);
		SELECT idem_detach('other')}, @as_owner),
	"\n", 'DDL that calls idem as it goes');
is($node->safe_psql('shop', q{SELECT count(*) FROM idem_message WHERE consumer = 'ddl'}), '3', 'each once');
is($node->safe_psql('shop', EveryCall::calls(3), @as_owner), $EveryCall::answers, 'calls after that');
# DDL inside a call.
is($node->safe_psql('shop', q{
		SELECT outcome, replayed FROM idem_execute('add', 'SELECT idem_attach(''other'', ''order'') IS NULL');
		SELECT outcome, replayed FROM idem_execute('add', 'SELECT idem_attach(''other'', ''order'') IS NULL')}, @as_owner),
	"executed|f\nexecuted|t", 'DDL inside a call');

# Dropped, under the eyes of all.
$node->safe_psql('shop', 'DROP EXTENSION idem CASCADE', @as_owner);
is($node->safe_psql('shop', q{SELECT count(*) > 50 FROM seen WHERE event = 'sql_drop' AND identity ~ 'idem'}), 't', 'dropped');
is($node->safe_psql('shop', q{SELECT count(*) FROM pg_proc WHERE proname ~ 'idem'}), '0', 'altogether');
$node->safe_psql('shop', q{DROP EVENT TRIGGER once_start; DROP EVENT TRIGGER once_end});
is($node->safe_psql('shop', "DROP TABLE orders; CREATE EXTENSION idem; $EveryCall::schema" . EveryCall::calls(1), @as_owner),
	"\n$EveryCall::answers", 'and created again');

$node->stop;
done_testing();

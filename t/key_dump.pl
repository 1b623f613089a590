# Keys are dumped and restored with the database, so that what was done before
# is answered after, and so is the history of rows.  The role that installed the
# extension may take the dump.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('dump');
$node->init;
$node->start;

# A database of an ordinary role's, which installs the extension.
$node->safe_psql('postgres', q{
	CREATE ROLE regress_owner LOGIN;
	CREATE ROLE regress_user LOGIN;
	CREATE DATABASE shop OWNER regress_owner;
});
$node->safe_psql('shop', q{
	CREATE SCHEMA keys;
	CREATE EXTENSION idem SCHEMA keys;
	CREATE TABLE ware (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, price numeric);
	GRANT ALL ON ware TO regress_user;
	GRANT USAGE ON SCHEMA keys TO regress_user;
}, extra_params => [ '-U', 'regress_owner' ]);

# Rows with a history; also of tables that a dump knows no name of.
$node->safe_psql('shop', q{
	SET search_path = public, keys;
	CREATE SCHEMA "The Shop";
	CREATE TABLE "The Shop".orders (
		day date, no int, status order_status NOT NULL DEFAULT 'PENDING',
		version int NOT NULL DEFAULT 1, PRIMARY KEY (day, no)
	) PARTITION BY RANGE (day);
	CREATE TABLE "The Shop".orders_old PARTITION OF "The Shop".orders DEFAULT;
	SELECT idem_attach('"The Shop".orders', 'order', history => true);
	INSERT INTO "The Shop".orders VALUES ('2026-01-01', 1), ('2026-01-01', 2);
	UPDATE "The Shop".orders SET status = 'PROCESSING';
	SELECT order_transition('"The Shop".orders', '{"day": "2026-01-01", "no": 2}'::jsonb,
		'SHIPPED', key => 'k9', note => '{"by": "van"}');
	CREATE TABLE gone (LIKE "The Shop".orders INCLUDING ALL);
	SELECT idem_attach('gone', 'order', history => true);
	INSERT INTO gone VALUES ('2026-01-01', 1);
	UPDATE gone SET status = 'PROCESSING';
	DROP TABLE gone;
}, extra_params => [ '-U', 'regress_owner' ]);

my $mine = q{SELECT * FROM keys.idem_upsert('k1', 'ware', '{"name": "tea", "price": 1.50}')};
my $theirs = q{SELECT * FROM keys.idem_upsert('k2', 'ware', '{"name": "nut", "price": 2}', scope => 'user')};
my $brief = q{SELECT * FROM keys.idem_upsert('k3', 'ware', '{"name": "old"}', ttl => '1 microsecond')};

$node->safe_psql('shop', $mine, extra_params => [ '-U', 'regress_owner' ]);
$node->safe_psql('shop', $theirs, extra_params => [ '-U', 'regress_user' ]);
$node->safe_psql('shop', $brief, extra_params => [ '-U', 'regress_owner' ]);
$node->safe_psql('shop', q{SELECT keys.idem_scope_define('owner')}, extra_params => [ '-U', 'regress_owner' ]);

my $everything = q{SELECT scope, key, outcome, fingerprint, response, fence, claimed_by,
	created_at, expires_at, lease_until, request FROM keys.idem_key ORDER BY scope, key;
	SELECT * FROM keys.idem_scope};
my $before = $node->safe_psql('shop', $everything);
my $history = q{SELECT * FROM keys.idem_history WHERE target = '"The Shop".orders'::regclass ORDER BY id};
my $history_before = $node->safe_psql('shop', $history);
is(scalar(split /\n/, $history_before), 5, 'there is some history');
my $row = q{
	SELECT version, from_state, to_state, changed_by, key, note
	FROM keys.idem_history('"The Shop".orders', '{"day": "2026-01-01", "no": 2}'::jsonb)};
# What the dump finds while the session that made it is there.
my $session = $node->background_psql('shop');
$session->query_safe(q{
	SET search_path = public, keys;
	CREATE TEMP TABLE fleeting (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
	SELECT idem_attach('fleeting', 'order', history => true);
	INSERT INTO fleeting VALUES (1);
	UPDATE fleeting SET status = 'PROCESSING';
});
my $file = $node->basedir . '/shop.dump';

$node->command_ok(
	[ 'pg_dump', '-U', 'regress_owner', '-Fc', '-f', $file, $node->connstr('shop') ],
	'the role that installed the extension can dump the database');

$session->quit;

# History must be of the very tables, wherever OIDs begin.
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $file ],
	'a superuser can restore it');
is($node->safe_psql('restored', $everything), $before, 'with every key as it was');
is($node->safe_psql('restored', $history), $history_before, 'with the history of every row');
is($node->safe_psql('restored', q{
	SELECT count(*), count(*) FILTER (WHERE target::oid = 0) FROM keys.idem_history}),
	'9|4', 'and that of tables which are not there, as such');
is($node->safe_psql('restored', $mine, extra_params => [ '-U', 'regress_owner' ]),
	'inserted|t|{"id": 1, "name": "tea", "price": 1.50}', 'a retry is answered there');
is($node->safe_psql('restored', $theirs, extra_params => [ '-U', 'regress_user' ]),
	'inserted|t|{"id": 2, "name": "nut", "price": 2}', 'so is that of another role');

my ($rc, $out, $err) = $node->psql('restored', "\\set VERBOSITY sqlstate\n"
	. q{SELECT * FROM keys.idem_upsert('k1', 'ware', '{"name": "tea", "price": 9}')},
	extra_params => [ '-U', 'regress_owner' ]);
like($err, qr/ERROR:\s+ID001/, 'a different request is told from a retry there');

is($node->safe_psql('restored', $brief, extra_params => [ '-U', 'regress_owner' ]),
	'inserted|f|{"id": 4, "name": "old", "price": null}', 'and an expired key is free');

# So can the role that installed it, into a database of its own.
$node->safe_psql('postgres', 'CREATE DATABASE own OWNER regress_owner');
$node->command_ok(
	[ 'pg_restore', '--exit-on-error', '-U', 'regress_owner', '-d', $node->connstr('own'), $file ],
	'the role that installed the extension can restore it');
is($node->safe_psql('own', $everything), $before, 'with every key as it was');

is($node->safe_psql('own', $history), $history_before, 'with the history of every row');
$node->safe_psql('own', q{
	SELECT keys.order_transition('"The Shop".orders', '{"day": "2026-01-01", "no": 2}'::jsonb, 'DELIVERED');
}, extra_params => [ '-U', 'regress_owner' ]);
is($node->safe_psql('own', $row, extra_params => [ '-U', 'regress_owner' ]), join("\n",
		'1||PENDING|regress_owner||',
		'2|PENDING|PROCESSING|regress_owner||',
		'3|PROCESSING|SHIPPED|regress_owner|k9|{"by": "van"}',
		'4|SHIPPED|DELIVERED|regress_owner||'),
	'which goes on there');

# Without the data, history begins anew.
$node->safe_psql('postgres', 'CREATE DATABASE empty OWNER regress_owner');
$node->command_ok(
	[ 'pg_restore', '--exit-on-error', '--schema-only', '-U', 'regress_owner', '-d', $node->connstr('empty'), $file ],
	'the schema alone can be restored');
$node->safe_psql('empty', q{
	INSERT INTO "The Shop".orders VALUES ('2026-01-01', 2);
	UPDATE "The Shop".orders SET status = 'PROCESSING';
}, extra_params => [ '-U', 'regress_owner' ]);
is($node->safe_psql('empty', $row, extra_params => [ '-U', 'regress_owner' ]),
	"1||PENDING|regress_owner||\n2|PENDING|PROCESSING|regress_owner||", 'and is kept there');

# What is dumped from there is the same again.
my $again = $node->basedir . '/again.sql';
$node->command_ok([ 'pg_dump', '--data-only', '-f', $again, $node->connstr('restored') ],
	'the restored database can be dumped');
like(slurp_file($again), qr/^COPY keys\.idem_key .*FROM stdin;$/m, 'keys included');

# A table that is left out takes nothing else along.
my $partial = $node->basedir . '/partial.dump';
$node->command_ok(
	[ 'pg_dump', '-Fc', '-T', '"The Shop".orders*', '-f', $partial, $node->connstr('shop') ],
	'a dump can leave out a table that has a history');
$node->safe_psql('postgres', 'CREATE DATABASE partial');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('partial'), $partial ],
	'and be restored');
is($node->safe_psql('partial', q{
	SELECT count(*), count(*) FILTER (WHERE target::oid = 0), count(*) FILTER (WHERE target::text = '"The Shop".orders')
	FROM keys.idem_history}), '9|9|5', 'with the history of every table, by name');

$node->stop;
done_testing();

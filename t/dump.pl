# Keys are dumped and restored with the database, so that what was done before
# is answered after.  Whoever installed the extension may take the dump.
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

my $mine = q{SELECT * FROM keys.idem_upsert('k1', 'ware', '{"name": "tea", "price": 1.50}')};
my $theirs = q{SELECT * FROM keys.idem_upsert('k2', 'ware', '{"name": "nut", "price": 2}', scope => 'user')};
my $brief = q{SELECT * FROM keys.idem_upsert('k3', 'ware', '{"name": "old"}', ttl => '1 microsecond')};

$node->safe_psql('shop', $mine, extra_params => [ '-U', 'regress_owner' ]);
$node->safe_psql('shop', $theirs, extra_params => [ '-U', 'regress_user' ]);
$node->safe_psql('shop', $brief, extra_params => [ '-U', 'regress_owner' ]);

my $everything = q{SELECT scope, key, outcome, fingerprint, response, fence, claimed_by,
	created_at, expires_at, lease_until FROM keys.idem_key ORDER BY scope, key};
my $before = $node->safe_psql('shop', $everything);
my $file = $node->basedir . '/shop.dump';

$node->command_ok(
	[ 'pg_dump', '-U', 'regress_owner', '-Fc', '-f', $file, $node->connstr('shop') ],
	'the role that installed the extension can dump the database');

$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $file ],
	'a superuser can restore it');
is($node->safe_psql('restored', $everything), $before, 'with every key as it was');
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

# What is dumped from there is the same again.
my $again = $node->basedir . '/again.sql';
$node->command_ok([ 'pg_dump', '--data-only', '-f', $again, $node->connstr('restored') ],
	'the restored database can be dumped');
like(slurp_file($again), qr/^COPY keys\.idem_key .*FROM stdin;$/m, 'keys included');

$node->stop;
done_testing();

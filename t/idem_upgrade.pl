# pg_upgrade takes idem's tables along, with what is in them, and the rights of
# their owner: who created the extension, or took over from that role.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $old = PostgreSQL::Test::Cluster->new('old');
$old->init;
$old->start;
$old->safe_psql('postgres', q{
	CREATE ROLE regress_owner LOGIN;
	CREATE ROLE regress_leaver LOGIN;
	CREATE ROLE regress_next LOGIN;
	CREATE ROLE regress_app LOGIN;
	CREATE DATABASE kept OWNER regress_owner;
	CREATE DATABASE handed_on;
	GRANT CREATE ON DATABASE handed_on TO regress_leaver;
	CREATE DATABASE plain;
});
my %creator = (kept => 'regress_owner', handed_on => 'regress_leaver', plain => 'postgres');
my %owner = (%creator, handed_on => 'regress_next');
my $path = 'SET search_path = public, keys;';

foreach my $database (sort keys %creator)
{
	my $role = $creator{$database};

	$old->safe_psql($database, qq{
		ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO regress_app;
		ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO regress_app;
		ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO regress_app;
		ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO regress_app;
		CREATE SCHEMA keys AUTHORIZATION $role;
		GRANT USAGE ON SCHEMA keys TO PUBLIC;
		CREATE TABLE orders (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
		ALTER TABLE orders OWNER TO $role;
	});
	$old->safe_psql($database, 'CREATE EXTENSION idem SCHEMA keys;' . $path . q{
		SELECT idem_machine_define('lamp', 'OFF', '{"OFF": ["ON"], "ON": ["OFF"]}');
		SELECT idem_attach('orders', 'order', history => true);
		SELECT idem_upsert('k1', 'orders', '{"id": 1}');
		SELECT order_transition('orders', 1, 'PROCESSING', key => 'k2');
		SELECT idem_consume('mail', 'm1');
		GRANT INSERT (name) ON idem_machine TO regress_app;
	}, extra_params => [ '-U', $role ]);
}
foreach my $database ('postgres', sort keys %creator)
{
	$old->safe_psql($database, 'REASSIGN OWNED BY regress_leaver TO regress_next; DROP OWNED BY regress_leaver');
}
$old->safe_psql('postgres', 'DROP ROLE regress_leaver');

my $everything = $path . q{
	SELECT * FROM idem_key ORDER BY key;
	SELECT * FROM idem_machine;
	SELECT * FROM idem_history;
	SELECT * FROM idem_message;
	SELECT c.relname, c.relowner::regrole, a.grantee::regrole, a.privilege_type
	FROM pg_class AS c, aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) AS a
	WHERE c.relnamespace = 'keys'::regnamespace AND c.relkind IN ('r', 'S')
	ORDER BY 1, 2, 3, 4};
my %before = map { $_ => $old->safe_psql($_, $everything) } keys %creator;
$old->stop;

my $new = PostgreSQL::Test::Cluster->new('new');
$new->init;
my $bindir = $new->config_data('--bindir');
{
	local $ENV{PGUSER} = 'postgres';
	command_ok(
		[
			'pg_upgrade', '--no-sync', '-U', 'postgres',
			'-d', $old->data_dir, '-D', $new->data_dir,
			'-b', $bindir, '-B', $bindir,
			'-s', $new->host, '-p', $old->port, '-P', $new->port
		],
		'pg_upgrade');
}
$new->start;

foreach my $database (sort keys %creator)
{
	my @as_owner = (extra_params => [ '-U', $owner{$database} ]);

	is($new->safe_psql($database, $everything), $before{$database}, "$database: everything is as it was");
	is($new->safe_psql($database, $path . q{
		SELECT outcome, replayed FROM order_transition('orders', 1, 'SHIPPED', key => 'k3');
		SELECT idem_consume('mail', 'm1');
		SELECT idem_purge();
		SELECT idem_machine_define('fan', 'OFF', '{"OFF": ["ON"]}')}, @as_owner),
		"applied|f\nf\n0\nt", "$database: and goes on");
	# of a role that is gone, keys are for superusers
	is($new->safe_psql($database, "$path SELECT outcome, replayed FROM idem_upsert('k1', 'orders', '{\"id\": 1}')"),
		'inserted|t', "$database: where it was");
	is($new->safe_psql($database, q{SELECT keys.idem_machine_define('tap', 'SHUT', '{"SHUT": ["OPEN"]}')},
			extra_params => [ '-U', 'regress_app' ]),
		't', "$database: with the rights that were granted");
	$new->command_ok([ 'pg_dump', '-f', $new->basedir . "/$database.sql", $new->connstr($database) ],
		"$database: and can be dumped");
	$new->safe_psql('postgres', "CREATE DATABASE ${database}_again");
	$new->command_ok(
		[
			'psql', '-X', '-q', '-1', '-v', 'ON_ERROR_STOP=1',
			'-d', $new->connstr("${database}_again"), '-f', $new->basedir . "/$database.sql"
		],
		"$database: and restored");
}

$new->stop;
done_testing();

# What pg_upgrade has to take along, from one installation of PostgreSQL to another.
package PgUpgrade;
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# From where to where: directories with bin and lib, or undef for the one in PATH.
sub check
{
	my ($from, $to) = @_;

	my $old = PostgreSQL::Test::Cluster->new('old', install_path => $from);
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
			SELECT idem_consumer_define('post', '7 days');
			SELECT idem_advance('post', 'log', 0, 0, 41, epoch => 2);
			SELECT idem_scope_define('tenant');
			SELECT idem_execute('k4', 'SELECT 1');
			SELECT idem_claim('held', '"r"', lease => '1 hour'), idem_checkpoint('held', 1, 'half', '"way"');
			SELECT idem_claim('given up', '"r"', lease => '1 hour'), idem_release('given up', 1);
			SELECT idem_claim('lapsed', '"r"', lease => '1 microsecond');
			SELECT idem_claim('done', '"r"', lease => '1 hour'), idem_complete('done', '"d"', 1);
			SELECT idem_claim('refused', '"r"', lease => '1 hour'), idem_fail('refused', '"no"', 1);
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
		SELECT * FROM idem_machine ORDER BY name;
		SELECT * FROM idem_machine_edge ORDER BY 1, 2, 3;
		SELECT * FROM idem_history ORDER BY id;
		SELECT * FROM idem_message ORDER BY 1, 2, 3;
		SELECT * FROM idem_offset;
		SELECT * FROM idem_consumer;
		SELECT * FROM idem_scope;
		SELECT c.relname, c.relowner::regrole, a.grantee::regrole, a.privilege_type
		FROM pg_class AS c, aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) AS a
		WHERE c.relnamespace = 'keys'::regnamespace AND c.relkind IN ('r', 'S')
			-- a right that is new in 17
			AND a.privilege_type <> 'MAINTAIN'
		ORDER BY 1, 2, 3, 4};
	my %before = map { $_ => $old->safe_psql($_, $everything) } keys %creator;
	$old->stop;

	my $new = PostgreSQL::Test::Cluster->new('new', install_path => $to);
	# which are there by default from 18 on
	$new->init(extra => [ $old->pg_version < 18 && $new->pg_version >= 18 ? '--no-data-checksums' : () ]);
	{
		local $ENV{PGUSER} = 'postgres';
		$new->command_ok(
			[
				'pg_upgrade', '--no-sync', '-U', 'postgres',
				'-d', $old->data_dir, '-D', $new->data_dir,
				'-b', $old->config_data('--bindir'), '-B', $new->config_data('--bindir'),
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
		is($new->safe_psql($database, $path . q{
			SELECT outcome, replayed FROM idem_execute('k4', 'SELECT 1');
			SELECT outcome, response FROM idem_claim('held', '"r"', lease => '1 hour');
			SELECT idem_complete('held', '"done"', 1);
			SELECT outcome, fence FROM idem_claim('given up', '"r"', lease => '1 hour');
			SELECT outcome, fence FROM idem_claim('lapsed', '"r"', lease => '1 hour');
			SELECT outcome, response FROM idem_claim('done', '"r"', lease => '1 hour');
			SELECT outcome, response FROM idem_claim('refused', '"r"', lease => '1 hour')}),
			"executed|t\nin_progress|{\"data\": \"way\", \"name\": \"half\"}\nt\nclaimed|2\nclaimed|2\ncompleted|\"d\"\nfailed|\"no\"", "$database: claims stand as they stood");
		is($new->safe_psql($database, $path . q{SELECT idem_advance('post', 'log', 0, 40, 49, epoch => 2)}),
			'42', "$database: so does an offset");
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
	return;
}

1;

# Rights on idem's objects are the ones its script states and follow the role
# that owns its tables: whatever default privileges there are, whichever role
# creates the extension, when that role leaves, and wherever a dump is restored.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('rights');
$node->init;
$node->append_conf('postgresql.conf', "max_worker_processes = 16\n");
$node->start;

# An ordinary role, one whose name has to be quoted in every way, and a second
# superuser.
my %creator = (
	ordinary => 'regress_owner',
	quoted => q(regress "o'wner),
	superuser => 'regress_super',
	bootstrap => 'postgres');

sub as
{
	my ($role) = @_;

	return (extra_params => [ '-U', $role ]);
}

sub identifier
{
	my ($name) = @_;

	return '"' . ($name =~ s/"/""/gr) . '"';
}

# The SQLSTATE that a statement ends with.
sub refusal
{
	my ($database, $role, $sql) = @_;
	my ($rc, $out, $err) = $node->psql($database, "\\set VERBOSITY sqlstate\n$sql", as($role));

	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : "none: $out$err";
}

$node->safe_psql('postgres', q{
	CREATE ROLE regress_owner LOGIN;
	CREATE ROLE "regress ""o'wner" LOGIN;
	CREATE ROLE regress_super LOGIN SUPERUSER;
	CREATE ROLE regress_next LOGIN;
	CREATE ROLE regress_app LOGIN;
	CREATE ROLE regress_cron LOGIN;
});

# All rights of idem's objects and their columns that are not their owner's.
my $rights = q{
	WITH member AS (
		SELECT d.classid, d.objid
		FROM pg_depend AS d JOIN pg_extension AS e
			ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
		WHERE e.extname = 'idem' AND d.deptype = 'e'
	), acl AS (
		SELECT tableoid, oid, relowner AS owner, relacl AS acl, relname::text AS name FROM pg_class
		UNION ALL
		SELECT a.tableoid, c.oid, c.relowner, a.attacl, c.relname || '.' || a.attname
		FROM pg_attribute AS a JOIN pg_class AS c ON a.attrelid = c.oid
		UNION ALL
		SELECT tableoid, oid, proowner, proacl, 'a function' FROM pg_proc
		WHERE NOT (prorettype = 'trigger'::regtype AND starts_with(proname, '_'))
		UNION ALL
		SELECT tableoid, oid, proowner, proacl, proname FROM pg_proc
		WHERE prorettype = 'trigger'::regtype AND starts_with(proname, '_')
		UNION ALL
		SELECT tableoid, oid, typowner, typacl, 'a type' FROM pg_type
	)
	SELECT DISTINCT acl.name, a.grantee::regrole, a.privilege_type, a.is_grantable
	FROM member AS m JOIN acl ON acl.oid = m.objid AND (acl.tableoid = m.classid
			OR acl.tableoid = 'pg_attribute'::regclass AND m.classid = 'pg_class'::regclass),
		aclexplode(acl.acl) AS a
	WHERE a.grantee <> acl.owner
	ORDER BY 1, 2, 3};

my @readable = ('idem_claims', 'idem_consumer', 'idem_health', 'idem_machine', 'idem_machine_edge',
	'idem_saga_status', 'idem_saga_work', 'idem_stats');

foreach my $case (sort keys %creator)
{
	my $role = $creator{$case};
	my $name = identifier($role);

	# Default privileges of every kind, of all roles that may come to own something.
	my $grants = '';
	foreach my $maker (values %creator)
	{
		foreach my $where ('', 'IN SCHEMA keys')
		{
			foreach my $kind ('TABLES', 'SEQUENCES', 'FUNCTIONS', 'TYPES')
			{
				$grants .= sprintf "ALTER DEFAULT PRIVILEGES FOR ROLE %s %s GRANT ALL ON %s TO regress_app, PUBLIC;\n",
					identifier($maker), $where, $kind;
				$grants .= sprintf "ALTER DEFAULT PRIVILEGES FOR ROLE %s %s GRANT ALL ON %s TO regress_cron WITH GRANT OPTION;\n",
					identifier($maker), $where, $kind;
			}
		}
	}
	$node->safe_psql('postgres', qq{
		CREATE DATABASE "$case";
		GRANT CREATE ON DATABASE "$case" TO $name, regress_next});
	$node->safe_psql($case, qq{
		CREATE SCHEMA keys AUTHORIZATION $name;
		GRANT USAGE ON SCHEMA keys TO PUBLIC;
		CREATE TABLE orders (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING',
			version int NOT NULL DEFAULT 1);
		ALTER TABLE orders OWNER TO $name;
		$grants});
	$node->safe_psql($case, 'CREATE EXTENSION idem SCHEMA keys', as($role));

	# Functions and types are everybody's, what defines machines and consumers may
	# be read by everybody, and that is all.
	is($node->safe_psql($case, $rights), join("\n",
			'a function|-|EXECUTE|f', 'a type|-|USAGE|f',
			map { "$_|-|SELECT|f" } @readable),
		"$case: nobody has rights by default privileges");
	is($node->safe_psql($case, q{
		SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class
		WHERE relnamespace = 'keys'::regnamespace AND relkind NOT IN ('c', 'v')}), $role,
		"$case: who created the extension owns its tables");
	is($node->safe_psql($case, q{
		SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class
		WHERE relnamespace = 'keys'::regnamespace AND relkind = 'v'}), 'postgres',
		"$case: but not its views");
	is($node->safe_psql($case, q{
		SELECT DISTINCT pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace = 'keys'::regnamespace}),
		'postgres', "$case: but not its functions");
	is($node->safe_psql($case, q{
		SELECT count(*) FROM pg_init_privs AS i, aclexplode(i.initprivs) AS a
		WHERE i.privtype = 'e' AND (a.grantee >= 16384 OR a.grantor >= 16384)}),
		'0', "$case: and no role that may leave is remembered");

	# As an application that was given nothing.
	$node->safe_psql($case, q{
		SELECT keys.idem_claim('k1', lease => '1 hour');
		SELECT keys.idem_machine_define('lamp', 'OFF', '{"OFF": ["ON"], "ON": ["OFF"]}');
		SELECT keys.idem_attach('orders', 'order', history => true);
		INSERT INTO orders VALUES (1);
		UPDATE orders SET status = 'PROCESSING';
		SELECT keys.idem_consume('mail', 'm1');
	}, as($role));
	my @tables = split /\n/, $node->safe_psql($case,
		q{SELECT relname FROM pg_class WHERE relnamespace = 'keys'::regnamespace AND relkind = 'r'});
	foreach my $table (@tables)
	{
		is(refusal($case, 'regress_app', "SELECT count(*) FROM keys.$table"),
			(grep { $_ eq $table } @readable) ? "none: 1" : '42501',
			"$case: $table can be read by those who may")
		  unless $table =~ /^idem_(consumer|machine|machine_edge)$/;
		is(refusal($case, 'regress_app', "DELETE FROM keys.$table"), '42501', "$case: $table cannot be written");
	}
	foreach my $sql (
		'SELECT keys.idem_purge()',
		'SELECT keys.idem_worker_start()',
		'SELECT keys.idem_worker_stop()',
		q{SELECT keys.idem_machine_define('mine', 'a', '{"a": ["b"]}')},
		q{SELECT keys.idem_machine_drop('lamp')},
		q{INSERT INTO keys.idem_machine_edge VALUES ('order', 'PENDING', 'DELIVERED', 'public.guard')},
		q{SELECT nextval('keys.idem_history_id_seq')},
		q{SELECT setval('keys.idem_history_id_seq', 1)},
		q{CREATE TEMP TABLE t (id int); CREATE TRIGGER t AFTER INSERT ON t EXECUTE FUNCTION keys._idem_machine_changed()})
	{
		is(refusal($case, 'regress_app', $sql), '42501', "$case: refused: $sql");
	}
}

# What the owner of the tables may do, here and where a dump is restored.
sub rules
{
	my ($database, $role, $name, $dump) = @_;

	is($node->safe_psql($database, q{
		SELECT keys.idem_execute('expired-' || random(), 'SELECT 1', ttl => '1 microsecond') IS NULL FROM generate_series(1, 1);
		SELECT keys.idem_purge() > 0;
		SELECT count(*) FROM keys.idem_key;
		SELECT keys.idem_machine_define('fan-' || random(), 'OFF', '{"OFF": ["ON"], "ON": ["OFF"]}');
		SELECT keys.idem_worker_start();
		SELECT keys.idem_worker_stop();
	}, as($role)), "f\nt\n1\nt\nt\nt", "$name: it may purge, define, and start the worker");
	$node->command_ok([ 'pg_dump', '-U', $role, '-f', $dump, '--schema=keys', '--extension=idem', $node->connstr($database) ],
		"$name: and dump");
}

my $dump = $node->basedir . '/dump.sql';

# A restore of the whole database in one transaction.
sub restore
{
	my ($from, $to, $name, $role) = @_;

	$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr($from) ], "$name: it can be dumped");
	# that of the bootstrap superuser has another name elsewhere
	unlike(slurp_file($dump), qr/^(GRANT|REVOKE) [^;]* (TO|FROM) "?(\d+|postgres)\b/m,
		"$name: with no role that is gone, or may be");
	$node->safe_psql('postgres', "CREATE DATABASE $to" . ($role eq 'postgres' ? '' : qq( OWNER "$role")));
	$node->command_ok(
		[ 'psql', '-X', '-q', '-1', '-v', 'ON_ERROR_STOP=1', '-U', $role, '-d', $node->connstr($to), '-f', $dump ],
		"$name: and restored in one transaction");
	is($node->safe_psql($to, q{
		SELECT string_agg(key, ',') FROM keys.idem_key;
		SELECT count(*) FROM keys.idem_machine WHERE name = 'lamp';
		SELECT string_agg(to_state, ',' ORDER BY id) FROM keys.idem_history;
		SELECT message_id FROM keys.idem_message}), "k1\n1\nPENDING,PROCESSING\nm1", "$name: with all that is in it");
}

foreach my $case ('ordinary', 'superuser', 'bootstrap')
{
	my $old = $creator{$case};

	# A dump keeps the rights of the role that owned the tables, though a superuser
	# restores it and owns them there.
	restore($case, "${case}_before", "$case, restored by a superuser", 'postgres');
	if ($case eq 'ordinary')
	{
		rules("${case}_before", $old, "$case, restored by a superuser", $dump);
		is(refusal("${case}_before", 'regress_app', 'SELECT keys.idem_purge()'), '42501',
			'and nobody else may');
	}
}

# Rights are passed on as those of any table.
is($node->safe_psql('ordinary', q{
	GRANT DELETE ON keys.idem_key TO regress_cron;
	GRANT INSERT (name) ON keys.idem_machine TO regress_cron;
	SET ROLE regress_owner;
	SELECT keys.idem_execute('expired-1', 'SELECT 1', ttl => '1 microsecond') IS NULL;
	SET ROLE regress_cron;
	SELECT keys.idem_purge();
	SELECT keys.idem_machine_define('mine', 'a', '{"a": ["b"]}')}), "f\n1\nt",
	'the right to purge, and the right to define, can be granted');
is(refusal('ordinary', 'regress_cron', 'SELECT count(*) FROM keys.idem_key'), '42501', 'and are no more than that');
is(refusal('ordinary', 'regress_cron', q{INSERT INTO keys.idem_machine (name, initial) VALUES ('x', 'y')}), '42501',
	'neither of them');

# The role that created the extension leaves, and another takes over.
foreach my $case ('ordinary', 'quoted', 'superuser')
{
	my $name = identifier($creator{$case});

	foreach my $database (split /\n/,
		$node->safe_psql('postgres', 'SELECT datname FROM pg_database WHERE datallowconn'))
	{
		$node->safe_psql($database, "REASSIGN OWNED BY $name TO regress_next; DROP OWNED BY $name");
	}
	$node->safe_psql('postgres', "DROP ROLE $name");
	rules($case, 'regress_next', "$case, left behind", $dump);
	restore($case, "${case}_after", "$case, left behind", 'postgres');
	rules("${case}_after", 'regress_next', "$case, restored after that", $dump);
}

$node->stop;
done_testing();

# The next version of idem, made of this one: ALTER EXTENSION UPDATE leads to what
# CREATE EXTENSION makes, catalog by catalog, and leaves alone what administrators
# have granted.  Sessions go on meanwhile: those with the old library when the
# tables and functions are the next version's, and those with the next library when
# they are not yet.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Installation;

plan skip_all => 'there is no compiler'
  if system(Installation::ask('pg_config', '--cc') . ' --version >/dev/null 2>&1') != 0;

# Both versions' sources: the next has a column, an outcome, a function in C, an
# internal one, a type and a table more, and other words about a function.
my $place = PostgreSQL::Test::Utils::tempdir_short;
my $installation = Installation->new("$place/pg", 'pg_config');
my $this = Installation::sources("$place/this", 'pg_config');
my $next = Installation::sources("$place/next", 'pg_config');
my ($version) = slurp_file("$this/idem.control") =~ /^default_version = '([\d.]+)'/m or die;
my ($script) = glob "$this/idem--$version.sql";

my $text = slurp_file($script);
$text =~ /^(.*? \\quit\n)(.*?)(^-- What is there when .*?;\n)(.*?)(^--\n-- Rights: .*)\z/ms
  or die 'the script is not as this test knows it';
my ($guard, $contents, $present, $body, $rights) = ($1, $2, $3, $4, $5);
my $more = q{
ALTER TYPE @extschema@.idem_outcome ADD VALUE 'postponed';
ALTER TABLE @extschema@.idem_key ADD COLUMN shard int;
COMMENT ON COLUMN @extschema@.idem_key.shard IS 'of the next version';
CREATE TYPE @extschema@.idem_stage AS ENUM ('early', 'late');
COMMENT ON TYPE @extschema@.idem_stage IS 'of the next version';
CREATE TABLE @extschema@.idem_next (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	stage @extschema@.idem_stage NOT NULL DEFAULT 'early', CHECK (id > 0)
);
COMMENT ON TABLE @extschema@.idem_next IS 'of the next version';
REVOKE ALL ON TABLE @extschema@.idem_next FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.idem_next', '');
CREATE FUNCTION @extschema@.idem_version_name() RETURNS text
AS 'MODULE_PATHNAME', 'idem_version_name' LANGUAGE C STABLE;
COMMENT ON FUNCTION @extschema@.idem_version_name() IS 'of the next version';
CREATE FUNCTION @extschema@._idem_version_name() RETURNS text
AS 'MODULE_PATHNAME', 'idem_version_name' LANGUAGE C STABLE;
COMMENT ON FUNCTION @extschema@._idem_version_name() IS 'of the next version';
REVOKE ALL ON FUNCTION @extschema@._idem_version_name() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.idem_new_key() IS 'of the next version';

};
system_or_bail('rm', "$next/idem--$version.sql");
append_to_file("$next/idem--next.sql", "$guard$contents$present$body$more$rights");
append_to_file("$next/idem--$version--next.sql", "$guard\n$present$more$rights");
append_to_file("$next/src/next.c", q{
#include "postgres.h"
#include "fmgr.h"
#include "utils/builtins.h"
PG_FUNCTION_INFO_V1(idem_version_name);
Datum
idem_version_name(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text("next"));
}
});
foreach my $change (
	[ "$next/Makefile", 'src/idem\.o', 'src/idem.o src/next.o' ],
	[ "$next/idem.control", "default_version = '$version'", "default_version = 'next'" ])
{
	my ($file, $from, $to) = @$change;
	my $changed = slurp_file($file) =~ s/$from/$to/r;

	unlink $file;
	append_to_file($file, $changed);
}
$installation->install($this);

my $node = PostgreSQL::Test::Cluster->new('update', install_path => $installation->{root});
$node->init;
$node->start;

# Rights that are granted to others on all that is made, and by administrators.
my @owners = ('postgres', 'regress_owner');
$node->safe_psql('postgres', q{
	CREATE ROLE regress_owner LOGIN;
	CREATE ROLE regress_app LOGIN;
	CREATE ROLE regress_monitor LOGIN;
	CREATE ROLE regress_admin LOGIN SUPERUSER;
});
sub database
{
	my ($name, $owner) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $name OWNER $owner");
	$node->safe_psql($name, join ';', map { qq{
		ALTER DEFAULT PRIVILEGES FOR ROLE $_ GRANT ALL ON TABLES TO regress_app;
		ALTER DEFAULT PRIVILEGES FOR ROLE $_ GRANT ALL ON FUNCTIONS TO regress_app;
		ALTER DEFAULT PRIVILEGES FOR ROLE $_ GRANT ALL ON SEQUENCES TO regress_app;
		ALTER DEFAULT PRIVILEGES FOR ROLE $_ GRANT ALL ON TYPES TO regress_app} }
		'postgres', 'regress_admin', 'regress_owner');
	$node->safe_psql($name, q{
		CREATE SCHEMA keys;
		CREATE EXTENSION idem SCHEMA keys;
		GRANT SELECT ON keys.idem_key TO regress_monitor;
		GRANT INSERT (name) ON keys.idem_machine TO regress_app;
		GRANT USAGE ON SCHEMA keys TO PUBLIC;
		CREATE TABLE orders (id int PRIMARY KEY, status text NOT NULL DEFAULT 'PENDING', version int NOT NULL DEFAULT 1);
		SELECT keys.idem_attach('orders', 'order', history => true);
	}, extra_params => [ '-U', $owner ]);
	# of functions, which are the bootstrap superuser's
	$node->safe_psql($name, q{
		REVOKE EXECUTE ON FUNCTION keys.idem_purge FROM PUBLIC;
		GRANT EXECUTE ON FUNCTION keys.idem_purge TO regress_monitor});
	return;
}

# What a session does in all parts of idem, each time with other keys; undone
# where $undone.
sub calls
{
	my ($n) = @_;

	return qq{
		SELECT outcome, replayed FROM idem_upsert('u$n', 'orders', '{"id": $n}');
		SELECT outcome, replayed FROM idem_upsert('u$n', 'orders', '{"id": $n}');
		SELECT outcome, replayed FROM order_transition('orders', $n, 'PROCESSING', key => 't$n');
		SELECT outcome, replayed FROM order_transition('orders', $n, 'PROCESSING', key => 't$n');
		SELECT outcome, replayed FROM idem_update('orders', $n, '{"status": "SHIPPED"}', key => 'p$n');
		SELECT outcome, replayed FROM idem_execute('x$n', 'SELECT 1');
		SELECT outcome, fence FROM idem_claim('c$n', '"r"', lease => '1 hour');
		SELECT idem_checkpoint('c$n', 1, 'half', '1') IS NULL;
		SELECT idem_complete('c$n', '"done"', 1);
		SELECT outcome, response FROM idem_lookup('c$n');
		SELECT idem_consume('mail', 'm$n'), idem_consume('mail', 'm$n');
		SELECT idem_advance('mail', 'log', $n, 0, 9), idem_offset('mail', 'log', $n);
		SELECT count(*) FROM idem_history('orders', $n);
		SELECT outcome, replayed FROM idem_execute('e$n', 'SELECT 1', ttl => '1 microsecond');
	};
}
my $answers = join "\n", 'inserted|f', 'inserted|t', 'applied|f', 'applied|t', 'updated|f', 'executed|f',
	'claimed|1', 'f', 't', 'completed|"done"', 't|f', '0|10', '3', 'executed|f';

my @sessions;
my $rows = 0;
sub session
{
	my ($database, $role) = @_;
	my $session = $node->background_psql($database, extra_params => [ '-U', $role ]);

	$session->query_safe('SET search_path = public, keys');
	push @sessions, $session;
	return $session;
}
sub goes_on
{
	my ($session, $name) = @_;

	is($session->query_safe(calls(++$rows)), $answers, $name);
}

# All catalogs of a database, as far as they are about what is not the server's own:
# without OIDs, which are other ones in each database, but with what they stand for.
sub catalogs
{
	my ($database) = @_;
	my $queries = $node->safe_psql($database, q{
		WITH reference AS (
			SELECT fktable, fkcols[1] AS col, pktable, is_array
			FROM pg_get_catalog_foreign_keys() WHERE cardinality(fkcols) = 1
		), col AS (
			SELECT c.relname, a.attname AS name, a.attnum,
				CASE
				WHEN a.attname = 'objid' THEN 'pg_describe_object(t.classid, t.objid, t.objsubid)'
				WHEN a.attname = 'objoid' THEN 'pg_describe_object(t.classoid, t.objoid, t.objsubid)'
				WHEN a.attname = 'refobjid' THEN 'pg_describe_object(t.refclassid, t.refobjid, 0)'
				WHEN r.is_array THEN format(
					'(SELECT string_agg(pg_describe_object(%s, x.x, 0), '','' ORDER BY n) FROM unnest(t.%I::oid[]) WITH ORDINALITY AS x (x, n))',
					r.pktable::oid, a.attname)
				WHEN r.pktable IS NOT NULL THEN format('pg_describe_object(%s, t.%I, 0)', r.pktable::oid, a.attname)
				WHEN a.atttypid = 'aclitem[]'::regtype THEN format(
					'(SELECT string_agg(x::text, '','' ORDER BY x::text) FROM unnest(t.%I) AS x)', a.attname)
				WHEN a.attname = 'adbin' THEN 'pg_get_expr(t.adbin, t.adrelid)'
				WHEN a.attname = 'conbin' THEN 'pg_get_constraintdef(t.oid)'
				-- a label of an enum is an OID in it
				WHEN a.attname = 'ev_action' THEN $$regexp_replace(pg_get_ruledef(t.oid), '\s+', ' ', 'g')$$
					|| $$ || regexp_replace(regexp_replace(t.ev_action::text, ':location -?\d+', '', 'g'), $$
					|| $$'(:consttype \d{5,} [^{}]*:constvalue 4) [[][^]]*[]]', '\1', 'g')$$
				ELSE format($$regexp_replace(t.%I::text, ':location -?\d+', '', 'g')$$, a.attname)
				END AS value,
				r.pktable IS NOT NULL AND NOT r.is_array OR a.attname IN ('oid', 'objid', 'objoid') AS tells
			FROM pg_class AS c
				JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
				LEFT JOIN reference AS r ON r.fktable = c.oid AND r.col = a.attname
			WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r'
				AND (NOT c.relisshared OR c.relname = 'pg_shdepend')
				-- what is counted, and where things are kept
				AND c.relname !~ '^pg_(statistic|largeobject)'
				AND a.attname NOT IN ('dbid', 'relfilenode', 'relpages', 'reltuples', 'relallvisible',
					'relallfrozen', 'relfrozenxid', 'relminmxid')
		)
		SELECT format($$SELECT regexp_replace(concat_ws(' ', %L, %s), '\d{5,}', 'N', 'g') FROM %I AS t WHERE (%s) %s ORDER BY 1$$,
			relname,
			string_agg(format('%L || %s', name || '=', value), ', ' ORDER BY attnum) FILTER (WHERE name <> 'oid'),
			relname,
			string_agg(format('t.%I::oid >= 16384', name), ' OR ') FILTER (WHERE tells),
			CASE relname WHEN 'pg_shdepend' THEN 'AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())' END)
		FROM col GROUP BY relname HAVING bool_or(tells) ORDER BY relname});

	return $node->safe_psql($database, $queries =~ s/\n/;\n/gr);
}

# What is in one list of lines, and not in the other.
sub missing
{
	my ($from, $in) = @_;
	my %count;

	$count{$_}++ foreach split /\n/, $in;
	return join "\n", grep { ($count{$_} // 0) <= 0 || !$count{$_}-- } split /\n/, $from;
}

# What a session is told that calls what only the next library has.
sub refusal
{
	my ($session) = @_;

	return $session->query_safe(q{
		DO $$ BEGIN
			PERFORM idem_version_name();
		EXCEPTION WHEN OTHERS THEN
			PERFORM set_config('test.said', SQLSTATE || ' ' || SQLERRM, false);
		END $$;
		SELECT current_setting('test.said')});
}

# Whose tables are, old and new, and what others may do with them.
sub rights
{
	my ($database) = @_;

	return $node->safe_psql($database, q{
		SELECT c.relname, c.relowner::regrole, replace(c.relacl::text, 'xtm', 'xt') FROM pg_class AS c
		WHERE c.relname IN ('idem_key', 'idem_next', 'idem_next_id_seq') ORDER BY 1});
}
sub rights_of
{
	my ($owner) = @_;

	return "idem_key|$owner|{$owner=arwdDxt/$owner,regress_monitor=r/$owner}\n"
	  . "idem_next|$owner|{$owner=arwdDxt/$owner}\nidem_next_id_seq|$owner|{$owner=rwU/$owner}";
}

# As pg_upgrade leaves it: the extension is the bootstrap superuser's, its tables
# are not.
database('pg_upgraded', 'regress_owner');
$node->safe_psql('pg_upgraded',
	q{SET allow_system_table_mods = on; UPDATE pg_extension SET extowner = 10 WHERE extname = 'idem'});

# Sessions and workers of before.
foreach my $owner (@owners)
{
	database("updated_$owner", $owner);
	goes_on(session("updated_$owner", $owner), "$owner: before");
	is($node->safe_psql("updated_$owner", 'SELECT keys.idem_worker_start()'), 't', "$owner: a worker is started");
}
my @old = @sessions;
my %before = map { $_ => catalogs("updated_$_") } @owners;
my $dump = "$place/dump";
command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr("updated_regress_owner") ], 'a dump of this version');

# The library of the next version is there: it serves tables and functions of this
# one in new sessions, while old ones go on with theirs.
$installation->install($next);
foreach my $i (0 .. $#owners)
{
	goes_on($old[$i], "$owners[$i]: the old library, in a session that goes on");
	goes_on(session("updated_$owners[$i]", $owners[$i]), "$owners[$i]: the next library, not yet updated");
}

# Updated, by who owns it.
foreach my $i (0 .. $#owners)
{
	my $owner = $owners[$i];

	$node->safe_psql("updated_$owner", 'ALTER EXTENSION idem UPDATE', extra_params => [ '-U', $owner ]);
	is($node->safe_psql("updated_$owner", q{SELECT extversion FROM pg_extension WHERE extname = 'idem'}), 'next',
		"$owner: updated");
	database("fresh_$owner", $owner);

	my ($updated, $fresh) = map { catalogs("${_}_$owner") } 'updated', 'fresh';
	is(missing($updated, $fresh), '', "$owner: there is nothing that a fresh install lacks");
	is(missing($fresh, $updated), '', "$owner: and all that it has");

	# that something was compared
	cmp_ok(scalar(split /\n/, $updated), '>', 1000, "$owner: catalogs were compared");
	like(missing($updated, $before{$owner}), qr/^pg_$_ /m, "$owner: pg_$_ tells of the update")
	  foreach 'attribute', 'class', 'constraint', 'depend', 'description', 'enum', 'extension', 'index',
	  'init_privs', 'proc', 'sequence', ($owner eq 'postgres' ? () : 'shdepend'), 'type';
	$node->safe_psql("fresh_$owner", 'GRANT SELECT ON keys.idem_next TO PUBLIC; COMMENT ON TYPE keys.idem_stage IS NULL');
	like(missing($updated, catalogs("fresh_$owner")), qr/^pg_$_ /m, "$owner: pg_$_ tells of a change")
	  foreach 'class', 'description';

	is(rights("updated_$owner"), rights_of($owner), "$owner: tables are whose they were");

	# Sessions of all kinds.
	goes_on($_, "$owner: a session of before the update goes on") foreach $sessions[$i], $sessions[$i + 2];
	goes_on(session("updated_$owner", $owner), "$owner: so does a new one");
	is($sessions[$i + 2]->query_safe('SELECT idem_version_name()'), 'next',
		"$owner: with the next library it has what is new");
	like(refusal($old[$i]), qr/^42883 could not find function "idem_version_name" in file/,
		"$owner: with the old one it is told that it has not");
	ok( $node->poll_query_until("updated_$owner",
			q{SELECT NOT EXISTS (SELECT FROM keys.idem_key WHERE starts_with(key, 'e'))}),
		"$owner: a worker of before purges");
}

$node->safe_psql('pg_upgraded', 'ALTER EXTENSION idem UPDATE', extra_params => [ '-U', 'regress_admin' ]);
is(rights('pg_upgraded'), rights_of('regress_owner'), 'after pg_upgrade: tables are whose they were');

# A dump of this version is one for the next.
$node->safe_psql('postgres', 'CREATE DATABASE restored OWNER regress_owner');
$node->command_ok(
	[ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $dump ],
	'a dump of this version is restored');
is($node->safe_psql('restored', q{SELECT extversion FROM pg_extension WHERE extname = 'idem'}), 'next', 'into the next');
is( $node->safe_psql('restored', q{
		SET search_path = public, keys;
		SELECT outcome, replayed FROM idem_upsert('u2', 'orders', '{"id": 2}')},
		extra_params => [ '-U', 'regress_owner' ]),
	'inserted|t', 'which knows what was done');

# There is no way back but by the library alone.
my (undef, undef, $err) = $node->psql('updated_regress_owner', "ALTER EXTENSION idem UPDATE TO '$version'",
	extra_params => [ '-U', 'regress_owner' ]);
like($err, qr/ERROR:  extension "idem" has no update path from version "next" to version "\Q$version\E"/,
	'a downgrade is refused');
$installation->install($this);
(undef, undef, $err) = $node->psql('updated_regress_owner', "ALTER EXTENSION idem UPDATE TO '$version'",
	extra_params => [ '-U', 'regress_owner' ]);
like($err, qr/ERROR:  extension "idem" has no update path from version "next" to version "\Q$version\E"/,
	'also where only this version is installed');
goes_on(session('updated_regress_owner', 'regress_owner'),
	'the library of this version goes on with tables and functions of the next');
like(refusal($sessions[-1]), qr/^42883 could not find function "idem_version_name" in file/,
	'but for what it has not');

$_->quit foreach @sessions;
$node->stop;
done_testing();

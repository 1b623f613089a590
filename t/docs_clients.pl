# What tools that compare a database with its description make of idem's tables, as
# docs/clients.md says: Alembic, Rails' schema dumper, Django's inspectdb.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Clients;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $table = q{
	CREATE TABLE orders (id bigint PRIMARY KEY, customer text NOT NULL,
		status text NOT NULL DEFAULT 'PENDING', version bigint NOT NULL DEFAULT 1);
	CREATE TABLE leftover (id bigint PRIMARY KEY);
};
my $node = PostgreSQL::Test::Cluster->new('tools');
$node->init;
$node->start;
$node->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(apart within);
$node->safe_psql('within', "CREATE EXTENSION idem; $table SELECT idem_attach('orders', 'order')");
$node->safe_psql('apart', "CREATE SCHEMA idem; CREATE EXTENSION idem SCHEMA idem; $table
	SELECT idem.idem_attach('orders', 'order')");

foreach my $drop ('TABLE idem_key', 'TABLE idem_key CASCADE', 'TYPE idem_outcome CASCADE')
{
	my ($status, $out, $err) = $node->psql('within', "DROP $drop");
	like($err, qr/because extension idem requires it/, "nothing does DROP $drop");
}

my @server = ($node->host, $node->port, $node->safe_psql('postgres', 'SELECT current_user'));
my $place = place();

# The lines that a program prints, for a database.
sub lines
{
	my ($command, $program, $database, @arguments) = @_;
	my $file = "$place/program";

	unlink $file;
	append_to_file($file, $program);
	local @ENV{qw(PGHOST PGPORT PGUSER PGDATABASE)} = (@server, $database);
	my ($out, $err) = run_command([ $command, $file, @arguments ]);
	diag($err) if $err =~ /Error/;
	return join ' ', sort split /\n/, $out;
}

SKIP:
{
	my $python = python('alembic', 'sqlalchemy', 'psycopg2')
	  or skip 'python3-alembic or python3-psycopg2 not installed', 4;
	my ($shown) = slurp_file("$FindBin::RealBin/../docs/clients.md") =~ /^(def include_object.*?)^```$/ms;
	my $program = <<"PYTHON";
import sys
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import BigInteger, Column, MetaData, Table, Text, create_engine
$shown
metadata = MetaData()
Table("orders", metadata, Column("id", BigInteger, primary_key=True),
      Column("customer", Text, nullable=False), Column("status", Text, nullable=False),
      Column("version", BigInteger, nullable=False))
options = {"include_schemas": "schemas" in sys.argv}
if "object" in sys.argv:
    options["include_object"] = include_object
with create_engine("postgresql+psycopg2://").connect() as connection:
    context = MigrationContext.configure(connection, opts=options)
    for difference in compare_metadata(context, metadata):
        if difference[0] in ("remove_table", "remove_index"):
            print(difference[1].name)
PYTHON
	like(lines($python, $program, 'within'), qr/\bidem_key\b.*\bleftover\b/, 'Alembic drops what it does not know');
	is(lines($python, $program, 'within', 'object'), 'leftover', 'but not with include_object');
	is(lines($python, $program, 'apart'), 'leftover', 'nor from another schema');
	is(lines($python, $program, 'apart', 'schemas', 'object'), 'leftover', 'nor with include_schemas and both');
}

SKIP:
{
	my $ruby = found('ruby', '-rpg', '-ractive_record', '-e', '')
	  or skip 'ruby-activerecord not installed', 3;
	my $program = <<'RUBY';
require 'active_record'
require 'stringio'
ActiveRecord::Base.establish_connection(
  adapter: 'postgresql', host: ENV['PGHOST'], port: ENV['PGPORT'],
  username: ENV['PGUSER'], database: ENV['PGDATABASE']
)
ActiveRecord::SchemaDumper.ignore_tables = [/\Aidem_/] if ARGV.include?('ignore')
schema = StringIO.new
ActiveRecord::SchemaDumper.dump(ActiveRecord::Base.connection, schema)
puts schema.string.scan(/(?:create_table|not dump table) "(\w+)"/)
RUBY
	like(lines($ruby, $program, 'within'), qr/\bidem_key\b.*\bleftover orders\b/, 'Rails dumps all tables');
	is(lines($ruby, $program, 'within', 'ignore'), 'leftover orders', 'but those of ignore_tables');
	is(lines($ruby, $program, 'apart'), 'leftover orders', 'and none of another schema');
}

SKIP:
{
	my $python = python('django', 'psycopg2')
	  or skip 'python3-django or python3-psycopg2 not installed', 2;
	my $program = <<'PYTHON';
import io, os, re
import django
from django.conf import settings
from django.core.management import call_command
settings.configure(DATABASES={"default": {
    "ENGINE": "django.db.backends.postgresql", "HOST": os.environ["PGHOST"],
    "PORT": os.environ["PGPORT"], "USER": os.environ["PGUSER"], "NAME": os.environ["PGDATABASE"]}})
django.setup()
models = io.StringIO()
call_command("inspectdb", stdout=models)
print("\n".join(re.findall("^class (\\w+)", models.getvalue(), re.MULTILINE)))
PYTHON
	like(lines($python, $program, 'within'), qr/\bIdemKey\b.*\bLeftover Orders\b/, 'Django inspects all tables');
	is(lines($python, $program, 'apart'), 'Leftover Orders', 'but not in another schema');
}

$node->stop;
done_testing();

# The programs of examples/clients/java, by JDBC, EclipseLink and Hibernate.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use Clients;

my ($java, $javac) = (found('java', '-version'), found('javac', '--release', '16', '-version'));
my $jdbc = jars('postgresql');
my $eclipselink = jars(qw(eclipselink eclipselink-jpa-2.1-spec org.eclipse.persistence.jpa.jpql));
my $hibernate = jars(qw(hibernate3 hibernate-commons-annotations geronimo-jpa_2.0_spec
	geronimo-jta-1.2-spec slf4j-api slf4j-nop antlr dom4j javassist commons-collections3));
my $classes = place();

foreach (
	[ 'jdbc', 'Jdbc', $jdbc, 'libpostgresql-jdbc-java' ],
	[ 'eclipselink', 'EclipseLink', $eclipselink, 'libeclipselink-java' ],
	[ 'hibernate', 'Hibernate', $hibernate, 'libhibernate3-java and libjavassist-java' ])
{
	my ($name, $class, $jars, $package) = @$_;
	my $path = join ':', "$classes/$name", "$clients/java", $jars // '', $jdbc // '';

	client(
		$name,
		lacking => lacking(
			'Java 16' => $java && $javac,
			'libpostgresql-jdbc-java' => $jdbc,
			($name ne 'jdbc' ? ($package => $jars) : ())),
		build => [ $javac // '', '-d', "$classes/$name", '-cp', $path, "$clients/java/$class.java" ],
		command => [ $java // '', '-cp', $path, $class ]);
}
test_clients();

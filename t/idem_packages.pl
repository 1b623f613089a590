# What a release is made of: META.json is valid by PGXN's specification, all files tell
# of one version, the archives of a commit are the same bytes on every machine, PGXN's
# client installs from one, and what a build server would run is what anybody runs.
# Debian's packages are built and tried out by scripts/package.
use strict;
use warnings;

use Digest::SHA;
use File::Basename;
use File::Path;
use FindBin;
use JSON::PP;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Installation;

my $top = dirname(__FILE__) . '/..';
my $place = PostgreSQL::Test::Utils::tempdir_short;

# What is wrong in a META.json, by https://pgxn.org/spec/ (1.0.0).
sub faults
{
	my ($meta) = @_;
	my $semver = qr/^(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-[A-Za-z][0-9A-Za-z-]*)?$/;
	my $term = qr{^[^\s/\\\p{Cntrl}]{2,}$};
	my %known = map { $_ => 1 } qw(abstract description generated_by license maintainer meta-spec name no_index
		prereqs provides release_status resources tags version);
	my @faults;

	push @faults, "$_ is missing" foreach grep { !defined $meta->{$_} }
	  qw(abstract maintainer license provides name version meta-spec);
	return @faults if @faults;
	push @faults, "$_ is not of the specification" foreach grep { !$known{$_} && !/^x_/i } sort keys %$meta;
	push @faults, 'name' unless $meta->{name} =~ $term;
	push @faults, 'abstract' unless !ref $meta->{abstract} && $meta->{abstract} =~ /\S/;
	push @faults, 'version' unless $meta->{version} =~ $semver;
	push @faults, 'license' unless $meta->{license} =~ /^(?:agpl_3|apache_[12]_\d|bsd|gpl_[123]|lgpl_[23]_\d|mit|mozilla_1_[01]|postgresql|perl_5|open_source|restricted|unrestricted|unknown)$/;
	push @faults, 'release_status' unless ($meta->{release_status} // 'stable') =~ /^(?:stable|testing|unstable)$/;
	push @faults, 'maintainer' unless grep { /\S/ } ref $meta->{maintainer} ? @{ $meta->{maintainer} } : $meta->{maintainer};
	push @faults, 'meta-spec' unless ref $meta->{'meta-spec'} eq 'HASH' && $meta->{'meta-spec'}{version} eq '1.0.0'
	  && ($meta->{'meta-spec'}{url} // 'http://pgxn.org/meta/spec.txt') =~ m{^https?://pgxn\.org/meta/spec\.txt$};
	push @faults, 'tags' if grep { length > 255 || /[\/\\\p{Cntrl}]/ || !/\S/ } @{ $meta->{tags} // [] };
	push @faults, 'provides' unless ref $meta->{provides} eq 'HASH' && %{ $meta->{provides} };
	while (my ($name, $extension) = each %{ $meta->{provides} })
	{
		push @faults, "provides $name" unless $name =~ $term && ($extension->{version} // '') =~ $semver
		  && length($extension->{file} // '') && !grep { !/^(?:abstract|file|docfile|version|x_.*)$/ } keys %$extension;
		push @faults, "provides $name: there is no $_" foreach grep { !-f "$top/$_" }
		  grep { defined } @$extension{qw(file docfile)};
	}
	foreach my $phase (sort keys %{ $meta->{prereqs} // {} })
	{
		my $prereqs = $meta->{prereqs}{$phase};

		push @faults, "prereqs $phase" unless $phase =~ /^(?:configure|build|test|runtime|develop|x_.*)$/;
		foreach my $relation (sort keys %$prereqs)
		{
			push @faults, "prereqs $phase $relation" unless $relation =~ /^(?:requires|recommends|suggests|conflicts|x_.*)$/
			  && !grep { $_ ne '0' && $_ !~ $semver && !/^(?:[<>=!]=?\s*)?\d+\.\d+\.\d+/ } values %{ $prereqs->{$relation} };
		}
	}
	return @faults;
}

my $meta = decode_json(slurp_file("$top/META.json"));
is(join(', ', faults($meta)), '', 'META.json is valid');
foreach my $fault ([ version => '1.0' ], [ license => 'ours' ], [ name => 'a b' ], [ 'meta-spec' => { version => '2' } ],
	[ release_status => 'ready' ], [ tags => ['a/b'] ], [ provides => { idem => { version => '1.0.0', file => 'none.sql' } } ],
	[ prereqs => { runtime => { requires => { PostgreSQL => '15' } } } ], [ homepage => 'here' ])
{
	isnt(join(', ', faults({ %$meta, $fault->[0] => $fault->[1] })), '', "a wrong $fault->[0] is noticed");
}

# One version.
my $version = $meta->{version};
my ($control) = slurp_file("$top/idem.control") =~ /^default_version = '(.*)'/m;
my ($package) = slurp_file("$top/debian/changelog") =~ /^idem \(([^)]*)-\d+\)/;
is($version =~ s/\.\d+$//r, $control, 'META.json has the version of idem.control');
is($package, $version, 'debian/changelog has the version of META.json');
is($meta->{provides}{idem}{version}, $version, 'so has what it provides');
is($meta->{provides}{idem}{file}, "idem--$control.sql", 'by the script of that version');
like(slurp_file("$top/CHANGELOG.md"), qr/^## \Q$control\E\b/m, 'CHANGELOG.md has it');

# What generates debian/control is what it was generated from.
is(slurp_file("$top/debian/control"), slurp_file("$top/debian/control.in") =~ s/PGVERSION/15/gr,
	'debian/control is as debian/control.in says');

# What a build server runs can be run by anybody.
foreach my $file (glob "$top/.github/workflows/*.yml")
{
	my $text = slurp_file($file);
	my @commands = map { split /\n/ } $text =~ /^ *-? *run: (?:\|\n)?((?:.+\n)(?: {10,}.*\n)*)/mg;
	my $name = basename($file);

	is(join(' ', map { /\bmake (\S+)/g } @commands), 'check', "$name calls make check, and makes nothing else");
	is(join(' ', grep { !m{^https://(?:www|apt)\.postgresql\.org/} } $text =~ m{\w+://\S+}g), '',
		"$name fetches from PostgreSQL's own package source alone");
}

# A checkout of this tree, with one commit.
sub checkout
{
	my ($dir, $more) = @_;
	local @ENV{qw(GIT_AUTHOR_DATE GIT_COMMITTER_DATE)} = ('2026-01-01T12:00:00Z') x 2;
	my @git = ('git', '-C', $dir, '-c', 'user.name=test', '-c', 'user.email=test@localhost', '-c', 'commit.gpgsign=false');

	mkdir $dir or die "$dir: $!";
	system_or_bail('sh', '-c', "tar -C '$top' --exclude=./.git --exclude=./tmp_check --exclude=./results -cf - . | tar -C '$dir' -xf -");
	append_to_file("$dir/README.md", $more) if defined $more;
	# as it is in every checkout
	system_or_bail('chmod', '-R', 'u+rwX,go+rX', $dir);
	run_log([ 'git', 'init', '-q', $dir ]) && run_log([ @git, 'add', '-A' ]) && run_log([ @git, 'commit', '-q', '-m', 'all' ])
	  or die "there is no checkout in $dir";
	return $dir;
}

sub sha { return Digest::SHA->new(256)->addfile($_[0], 'b')->hexdigest }

# Makes the archives there, and returns what they are.
sub dist
{
	my ($dir, $zone, $umask, @config) = @_;
	local @ENV{qw(TZ HOME)} = ($zone, $place);
	delete local @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS)};
	my $before = umask $umask;

	unlink "$place/.gitconfig";
	run_log([ 'git', 'config', '--global', @$_ ]) foreach @config;
	run_log([ 'make', '-s', '-C', $dir, 'dist' ]);
	umask $before;
	return map { -f "$dir/idem-$version.$_" ? sha("$dir/idem-$version.$_") : "no $_" } qw(zip tar.gz);
}

SKIP:
{
	skip 'git is not installed', 6 if system('git --version >/dev/null 2>&1') != 0;

	my @first = dist(checkout("$place/first"), 'UTC', 022);
	my @second = dist(checkout("$place/second"), 'Asia/Tokyo', 077, [ 'core.autocrlf', 'true' ], [ 'tar.umask', '0' ]);
	my @other = dist(checkout("$place/other", "\n"), 'UTC', 022);
	like("@first", qr/^[0-9a-f]{64} [0-9a-f]{64}$/, 'make dist makes two archives');
	is("@second", "@first", 'which are the same bytes elsewhere, at another time');
	ok($other[0] ne $first[0] && $other[1] ne $first[1], 'and others of another commit');

	append_to_file("$place/other/README.md", "\n");
	my ($out, $err) = run_command([ 'make', '-s', '-C', "$place/other", 'dist' ]);
	like($err, qr/commit what has been changed first/, 'not of what is no commit');

	my @names = split /\n/, (run_command([ 'tar', '-tzf', "$place/first/idem-$version.tar.gz" ]))[0];
	is(join(' ', grep { !m{^idem-\Q$version\E/} } @names), '', 'all is in a directory of the name and version');
	is(join(' ', grep { /\.(?:o|so|bc|zip)$/ } @names), '', 'and nothing that was built');

	skip 'pgxnclient is not installed', 3 if system('pgxn --version >/dev/null 2>&1') != 0;
	skip 'there is no compiler', 3 if system(Installation::ask('pg_config', '--cc') . ' --version >/dev/null 2>&1') != 0;

	# into an installation of its own, in which no idem is
	my $installation = Installation->new("$place/pg", 'pg_config');
	system_or_bail('find', "$place/pg", '-type', 'f', '-name', 'idem*', '-delete');
	# the client wants to be able to write there, too
	mkpath(Installation::ask($installation->{pg_config}, '--libdir'));
	{
		local $ENV{MAKEFLAGS} = '-s -j2 with_llvm=no COPT=-O0';
		local $ENV{HOME} = $place;
		delete local @ENV{qw(MAKELEVEL MFLAGS)};
		command_ok([ 'pgxn', 'install', '--nosudo', "--pg_config=$installation->{pg_config}",
			"$place/first/idem-$version.zip" ], "PGXN's client installs the archive");
	}
	my $node = PostgreSQL::Test::Cluster->new('pgxn', install_path => $installation->{root});
	$node->init;
	$node->start;
	is($node->safe_psql('postgres', 'CREATE EXTENSION idem; SELECT extversion FROM pg_extension WHERE extname = \'idem\''),
		$control, 'and the extension of that version is there');
	is($node->safe_psql('postgres', q{SELECT result FROM idem_execute('k', 'SELECT 1 AS n') UNION ALL
		SELECT result FROM idem_execute('k', 'SELECT 1 AS n')}), qq([{"n": 1}]\n[{"n": 1}]), 'and works');
	$node->stop;
}

done_testing();

# The house rules: scripts/arrows and scripts/indent --check pass this tree, and
# find each thing that they are there to find, in a copy of the tree into which
# that has been planted.  And the faults that other tests plant still have their place.

use strict;
use warnings;

use File::Copy qw(copy);
use File::Path qw(make_path);
use File::Temp;
use FindBin;
use Test::More;

my $top = "$FindBin::RealBin/..";

# The exit status of a script for the tree that it stands in, and what it prints.
sub run_script
{
	my ($tree, $script, @arguments) = @_;
	my $output = `"$^X" "$tree/scripts/$script" @arguments 2>&1`;
	return ($? >> 8, $output);
}

sub arrows { return run_script($_[0], 'arrows') }
sub indent { return run_script($_[0], 'indent', '--check') }

sub slurp
{
	my ($file) = @_;
	open(my $handle, '<', $file) or die "cannot read $file: $!";
	local $/;
	return scalar <$handle>;
}

sub spew
{
	my ($file, $text) = @_;
	open(my $handle, '>', $file) or die "cannot write $file: $!";
	print $handle $text;
	close($handle) or die "cannot write $file: $!";
	return;
}

# What the scripts read of this tree, elsewhere.
sub copy_tree
{
	my $tree = File::Temp->newdir;
	foreach my $file ('ARCHITECTURE.md', 'typedefs.list', 'scripts/arrows', 'scripts/indent',
		map { s{^\Q$top\E/}{}r } glob "$top/src/*.[ch] $top/src/*/*.[ch]")
	{
		make_path("$tree/" . ($file =~ s{[^/]*$}{}r));
		copy("$top/$file", "$tree/$file") or die "cannot copy $file: $!";
	}
	return $tree;
}

# Changes a file by a function of its text.
sub change
{
	my ($file, $how) = @_;
	local $_ = my $before = slurp($file);
	$how->();
	die "nothing was changed in $file" if $_ eq $before;
	spew($file, $_);
	return;
}

# Adds a line to a file, and gives its number.
sub add_line
{
	my ($file, $line) = @_;
	my $text = slurp($file);
	spew($file, "$text$line\n");
	return 1 + ($text =~ tr/\n//);
}

# found TITLE, PLANT [, SCRIPT]: after PLANT, which gets the path of a copy of the
# tree and gives what arrows has to say then, arrows says that, and fails.
sub found
{
	my ($title, $plant, $script) = @_;
	my $tree = copy_tree();
	my $expected = $plant->("$tree");
	my ($status, $output) = ($script // \&arrows)->("$tree");
	is($status, 1, "$title: fails");
	like($output, qr/^\Q$expected\E/m, "$title: is found");
	return;
}

my ($status, $output) = arrows($top);
is($status, 0, 'the tree is as ARCHITECTURE.md says') or diag($output);
like($output, qr/^[1-9]\d* folders, [1-9]\d* arrows, [1-9]\d* includes$/,
	'and not because nothing was looked at');
my $copy = copy_tree();
is_deeply([ arrows("$copy") ], [ $status, $output ], 'a copy of it is no different');

found('an include against the arrows', sub {
	my ($tree) = @_;
	my $line = add_line("$tree/src/base/settings.c", '#include "purge/purge.h"');
	return "src/base/settings.c:$line: base/ may not include purge/";
});
found('an include against the arrows, of another spelling', sub {
	my ($tree) = @_;
	my $line = add_line("$tree/src/base/settings.h", '#  include <key/key.h>');
	return "src/base/settings.h:$line: base/ may not include key/";
});
found('an own header without its folder', sub {
	my ($tree) = @_;
	my $line = add_line("$tree/src/key/key.c", '#include "settings.h"');
	return "src/key/key.c:$line: \"settings.h\" does not say where it is";
});
found('an own header by a relative path', sub {
	my ($tree) = @_;
	my $line = add_line("$tree/src/base/error.c", '#include "../key/key.h"');
	return "src/base/error.c:$line: base/ may not include key/";
});
found('a folder that is listed, but not there', sub {
	my ($tree) = @_;
	change("$tree/ARCHITECTURE.md", sub { s/^```arrows\n\K/nowhere\/   nothing\n/m });
	my ($line) = slurp("$tree/ARCHITECTURE.md") =~ /\A(.*?)^nowhere/ms;
	return 'ARCHITECTURE.md:' . (1 + ($line =~ tr/\n//)) . ': src/nowhere/ is not there';
});
found('a folder that is there, but not listed', sub {
	my ($tree) = @_;
	make_path("$tree/src/somewhere");
	spew("$tree/src/somewhere/lost.c", qq{#include "postgres.h"\n});
	return 'src/somewhere: ARCHITECTURE.md does not list somewhere/';
});
found('a folder that is listed twice', sub {
	my ($tree) = @_;
	change("$tree/ARCHITECTURE.md", sub { s/^```arrows\n\K(.*\n)/$1$1/m });
	my ($line) = slurp("$tree/ARCHITECTURE.md") =~ /\A(.*?)^```arrows/ms;
	return 'ARCHITECTURE.md:' . (3 + ($line =~ tr/\n//)) . ': ';
});
found('an arrow to a folder that is not listed', sub {
	my ($tree) = @_;
	change("$tree/ARCHITECTURE.md", sub { s/^(key\/.*->.*)/$1 nowhere/m });
	my ($line) = slurp("$tree/ARCHITECTURE.md") =~ /\A(.*?)^key\//ms;
	return 'ARCHITECTURE.md:' . (1 + ($line =~ tr/\n//)) . ': an arrow leads from key/ to nowhere/';
});
found('a circle', sub {
	my ($tree) = @_;
	change("$tree/ARCHITECTURE.md", sub { s/^(base\/\s.*)/$1 -> upsert/m });
	my ($line) = slurp("$tree/ARCHITECTURE.md") =~ /\A(.*?)^base\//ms;
	return 'ARCHITECTURE.md:' . (1 + ($line =~ tr/\n//))
	  . ': the arrows go in a circle: base -> upsert -> base';
});
found('an arrow that nothing goes by', sub {
	my ($tree) = @_;
	change("$tree/ARCHITECTURE.md", sub { s/^(upsert\/.*->.*)/$1 purge/m });
	my ($line) = slurp("$tree/ARCHITECTURE.md") =~ /\A(.*?)^upsert\//ms;
	return 'ARCHITECTURE.md:' . (1 + ($line =~ tr/\n//)) . ': nothing in upsert/ includes purge/';
});
found('two files of one name', sub {
	my ($tree) = @_;
	copy("$tree/src/key/key.h", "$tree/src/upsert/key.h");
	return 'src/upsert/key.h: there is another file of this name: src/key/key.';
});
found('a file outside the folders', sub {
	my ($tree) = @_;
	spew("$tree/src/common.c", qq{#include "postgres.h"\n});
	return 'src/common.c: only idem.c stands in src/ itself';
});
found('a folder named as one of PostgreSQL\'s', sub {
	my ($tree) = @_;
	rename("$tree/src/purge", "$tree/src/utils");
	return 'src/utils: PostgreSQL has a folder of headers named utils/';
});
found('a call of SPI', sub {
	my ($tree) = @_;
	my $line = add_line("$tree/src/key/key.c", "\tSPI_connect();");
	return "src/key/key.c:$line: SPI_connect is for src/run/spi.c alone";
});
found('a look at the version', sub {
	my ($tree) = @_;
	my $line = add_line("$tree/src/key/key.c", '#if PG_VERSION_NUM >= 160000');
	return "src/key/key.c:$line: PG_VERSION_NUM is for src/base/compat.h alone";
});
found('a setting', sub {
	my ($tree) = @_;
	my $line = add_line("$tree/src/key/key.c", "\tDefineCustomIntVariable(NULL);");
	return "src/key/key.c:$line: DefineCustomIntVariable is for src/base/settings.c alone";
});
found('no list of folders', sub {
	my ($tree) = @_;
	change("$tree/ARCHITECTURE.md", sub { s/^```arrows$/```/m });
	return 'ARCHITECTURE.md: it lists no folders';
});

# What is only spoken of is not there.
$copy = copy_tree();
add_line("$copy/src/key/key.c", $_)
  foreach "/*\n * SPI_connect(), PG_VERSION_NUM\n#include \"purge/purge.h\"\n */",
  'static const char *const spoken = "SPI_connect";';
is_deeply([ arrows("$copy") ], [ $status, $output ], 'comments and literals do not count');

# Faults are planted in the code as it is.
SKIP:
{
	my @patches = glob("$top/t/*mutants/*.patch $top/t/*/mutants/*.patch");
	ok(@patches > 30, 'there are faults to plant');
	skip 'patch is not there', 1 if system('patch --version >/dev/null 2>&1') != 0;
	is_deeply(
		[ grep { system("patch -d '$top' -p1 -s -f --dry-run <'$_' >/dev/null 2>&1") != 0 } @patches ],
		[], 'all of them apply');
}

# Of the layout, what needs no pg_bsd_indent ...
($status, $output) = indent($top);
is($status, 0, 'the tree is laid out as it has to be') or diag($output);
my $unable = $output =~ /^not checked: (.*)/m ? $1 : undef;
found('a type that is not listed', sub {
	my ($tree) = @_;
	add_line("$tree/src/key/key.c", "typedef struct Unlisted\n{\n\tint\t\t\ta;\n} Unlisted;");
	return 'typedefs.list: Unlisted is not there';
}, \&indent);
found('a type of PostgreSQL\'s that is not listed', sub {
	my ($tree) = @_;
	add_line("$tree/src/key/key.c", 'static void look(PlannerGlobal * global);');
	return 'typedefs.list: PlannerGlobal seems to be a type';
}, \&indent);
found('a name that nothing uses', sub {
	my ($tree) = @_;
	add_line("$tree/typedefs.list", 'zz_unused');
	return 'typedefs.list: zz_unused is not used in src/';
}, \&indent);
found('names in no order', sub {
	my ($tree) = @_;
	change("$tree/typedefs.list", sub { s/^(.*\n)(.*\n)/$2$1/ });
	return 'typedefs.list: not in the order';
}, \&indent);

$copy = copy_tree();
add_line("$copy/src/key/key.c", "typedef struct Unlisted\n{\n\tint\t\t\ta;\n} Unlisted;");
add_line("$copy/typedefs.list", 'Absent');
run_script("$copy", 'indent');
my $list = slurp("$copy/typedefs.list");
ok($list =~ /^Unlisted$/m && $list !~ /^Absent$/m, 'the list is mended');
unlike((indent("$copy"))[1], qr/^typedefs\.list:/m, 'and passes then');

# ... and what does.
SKIP:
{
	skip $unable, 3 if defined $unable;
	found('a line laid out otherwise', sub {
		my ($tree) = @_;
		add_line("$tree/src/key/key.c", "static int\tanother(void)\n{   return 1; }");
		return 'src/key/key.c: not laid out as it has to be';
	}, \&indent);
	$copy = copy_tree();
	add_line("$copy/src/key/key.c", "\nint another(void)\n{   return 1; }");
	run_script("$copy", 'indent', "$copy/src/key/key.c");
	is(join("\n", (split /\n/, slurp("$copy/src/key/key.c"))[ -5 .. -1 ]),
		"int\nanother(void)\n{\n\treturn 1;\n}", 'is laid out by scripts/indent');
	is((indent("$copy"))[0], 0, 'and passes then');
}

done_testing();

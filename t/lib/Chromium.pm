# A headless Chromium, by the DevTools protocol over a pair of pipes: no driver and no
# socket.  Notes what a page complains of.
package Chromium;

use strict;
use warnings;

use IO::Handle;
use JSON::PP;
use MIME::Base64;
use POSIX ();
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

use constant BOUND => 60;    # seconds for anything to happen

my %running;

# The program, if there is one that starts.
sub found
{
	foreach my $path (map { ("$_/chromium", "$_/chromium-browser", "$_/google-chrome") } split /:/, "$ENV{PATH}:/usr/bin")
	{
		return $path if -x $path && `"$path" --version 2>/dev/null` =~ /^\w.*\d/;
	}
	return;
}

# Opens a window of this size.
sub new
{
	my ($class, $width, $height) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir_short();

	# its descriptors 3 and 4: commands, and answers
	pipe(my $commands, my $in) or die "pipe: $!";
	pipe(my $out, my $answers) or die "pipe: $!";
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		# out of the way of each other first
		POSIX::dup2(fileno $commands, 30);
		POSIX::dup2(fileno $answers, 31);
		POSIX::dup2(30, 3);
		POSIX::dup2(31, 4);
		POSIX::close($_) foreach 30, 31;
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', "$dir/log");
		open(STDERR, '>&', \*STDOUT);
		@ENV{qw(HOME XDG_CONFIG_HOME XDG_CACHE_HOME)} = ($dir) x 3;
		exec(found(), '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
			'--disable-background-networking', '--disable-component-update', '--disable-sync', '--hide-scrollbars',
			'--no-proxy-server', "--user-data-dir=$dir/profile", "--window-size=$width,$height",
			'--remote-debugging-pipe', 'about:blank')
		  or POSIX::_exit(127);
	}
	close $_ foreach $commands, $answers;
	$in->autoflush(1);
	$running{$pid} = 1;
	my $self = bless { pid => $pid, in => $in, out => $out, buffer => '', number => 0, complaints => [], log => "$dir/log" }, $class;

	my ($target) = wait_for(sub {
		grep { $_->{type} eq 'page' } @{ $self->call('Target.getTargets')->{targetInfos} } });
	$self->{session} = $self->call('Target.attachToTarget', { targetId => $target->{targetId}, flatten => JSON::PP::true })->{sessionId};
	$self->call("$_.enable") foreach qw(Page Runtime Log);
	$self->call('Emulation.setDeviceMetricsOverride',
		{ width => $width, height => $height, deviceScaleFactor => 1, mobile => JSON::PP::false });
	return $self;
}

sub wait_for
{
	my ($condition) = @_;
	my $end = time + BOUND;

	while (1)
	{
		my @found = $condition->();
		return @found if @found && $found[0];
		die 'nothing came of waiting' if time > $end;
		sleep 0.05;
	}
}

# One message of Chromium's.
sub message
{
	my ($self) = @_;
	my $end = time + BOUND;

	while (1)
	{
		return decode_json($1) if $self->{buffer} =~ s/\A([^\0]*)\0//;
		my $ready = '';
		vec($ready, fileno $self->{out}, 1) = 1;
		die 'Chromium does not answer: ' . slurp_file($self->{log}) if time > $end;
		next unless select($ready, undef, undef, 1);
		sysread($self->{out}, $self->{buffer}, 65536, length $self->{buffer})
		  or die 'Chromium has ended: ' . slurp_file($self->{log});
	}
}

# Sends a command, and waits for its answer.
sub call
{
	my ($self, $method, $params) = @_;
	my $number = ++$self->{number};

	print { $self->{in} } encode_json({
		id => $number, method => $method, params => $params // {},
		$self->{session} ? (sessionId => $self->{session}) : () }) . "\0";
	while (1)
	{
		my $message = $self->message;
		if (($message->{id} // 0) == $number)
		{
			die "$method: $message->{error}{message}" if $message->{error};
			return $message->{result};
		}
		$self->note($message) if $message->{method};
	}
}

# What a page complains of: kinds and texts.
sub note
{
	my ($self, $message) = @_;
	my $params = $message->{params};

	if ($message->{method} eq 'Runtime.exceptionThrown')
	{
		push @{ $self->{complaints} }, "exception: " . encode_json($params->{exceptionDetails});
	}
	elsif ($message->{method} eq 'Runtime.consoleAPICalled' && $params->{type} =~ /^(?:error|warning|assert)$/)
	{
		push @{ $self->{complaints} }, "console: " . encode_json($params->{args});
	}
	elsif ($message->{method} eq 'Log.entryAdded' && $params->{entry}{level} =~ /^(?:error|warning)$/)
	{
		push @{ $self->{complaints} }, "$params->{entry}{source}: $params->{entry}{text}";
	}
}

# What it has complained of so far, and nothing any more.
sub complaints
{
	my ($self) = @_;

	$self->evaluate('1');    # what was said before is here now
	return splice @{ $self->{complaints} };
}

# The value of an expression in the page.
sub evaluate
{
	my ($self, $expression) = @_;
	my $answer = $self->call('Runtime.evaluate',
		{ expression => $expression, returnByValue => JSON::PP::true, awaitPromise => JSON::PP::true });

	die "$expression: " . encode_json($answer->{exceptionDetails}) if $answer->{exceptionDetails};
	return $answer->{result}{value};
}

# Waits until an expression is true there; whether it came to be.
sub until_true
{
	my ($self, $expression) = @_;

	return eval { wait_for(sub { $self->evaluate($expression) }) ? 1 : 0 } // 0;
}

sub open_page
{
	my ($self, $url) = @_;

	$self->call('Page.navigate', { url => $url });
	$self->until_true('document.readyState === "complete"') or die "$url does not load";
}

# Clicks with the mouse where an element is, as a person does.
sub click
{
	my ($self, $selector) = @_;
	my $json = JSON::PP->new->allow_nonref->encode($selector);
	my $place = $self->evaluate("(() => { const e = document.querySelector($json); e.scrollIntoView({block: 'center'});"
		. 'const r = e.getBoundingClientRect(); const x = r.x + r.width / 2, y = r.y + r.height / 2;'
		. 'const top = document.elementFromPoint(x, y);'
		. 'return { x, y, hit: e === top || e.contains(top) || top.contains(e) } })()');

	die "$selector cannot be clicked" unless $place->{hit};
	$self->call('Input.dispatchMouseEvent',
		{ type => $_, x => $place->{x}, y => $place->{y}, button => 'left', clickCount => 1 })
	  foreach 'mousePressed', 'mouseReleased';
}

sub screenshot
{
	my ($self, $file) = @_;

	open(my $out, '>:raw', $file) or die "$file: $!";
	print $out decode_base64($self->call('Page.captureScreenshot',
		{ format => 'png', captureBeyondViewport => JSON::PP::true })->{data});
	close $out;
}

sub stop
{
	my $status = $?;
	foreach my $pid (keys %running)
	{
		kill 'TERM', $pid;
		my $end = time + 5;
		my $ended;
		sleep 0.05 until ($ended = waitpid($pid, POSIX::WNOHANG())) || time > $end;
		next if $ended;
		kill 'KILL', $pid;
		waitpid $pid, 0;
	}
	%running = ();
	$? = $status;
}

END { stop() }

1;

#!/usr/bin/env perl
#
# badline.pl DIRECTORY SERVER EVERY
#
# A line between clients and a PostgreSQL server that loses acknowledgements.
# It listens on a unix socket in DIRECTORY and passes each connection on to
# the socket SERVER.  When the server has answered, and so has committed, each
# EVERYth answer is thrown away and the connection cut: the client cannot know
# what became of its request.  Writes a line for each answer it has lost.

use strict;
use warnings;
use IO::Select;
use IO::Socket::UNIX;

my ($directory, $server, $every) = @ARGV;
(my $name = $server) =~ s{.*/}{};

$SIG{PIPE} = 'IGNORE';
$| = 1;

my $listener = IO::Socket::UNIX->new(Local => "$directory/$name", Listen => 64)
	or die "cannot listen in $directory: $!\n";
my $select = IO::Select->new($listener);
my %connection;    # of each socket
my $answers = 0;

sub accept_client
{
	my $client = $listener->accept or return;
	my $backend = IO::Socket::UNIX->new(Peer => $server) or return;
	my $connection = {
		client => $client,
		backend => $backend,
		held => '',       # what the client is to get, once it is complete
		parsed => 0,      # bytes of it that were looked at
		ready => 0 };     # is the client logged in?

	$connection{$_} = $connection for $client, $backend;
	$select->add($client, $backend);
	return;
}

sub cut
{
	my ($connection) = @_;

	for my $socket ($connection->{client}, $connection->{backend})
	{
		delete $connection{$socket};
		$select->remove($socket);
		$socket->close;
	}
	return;
}

sub send_all
{
	my ($socket, $data) = @_;
	my $sent = 0;

	while ($sent < length $data)
	{
		my $n = syswrite $socket, $data, length($data) - $sent, $sent;
		return unless defined $n;
		$sent += $n;
	}
	return;
}

# A message of the server is a letter, a length that counts itself, and so many
# bytes.  Z ends an answer; I in it says that no transaction is open.
sub from_server
{
	my ($connection, $data) = @_;

	$connection->{held} .= $data;
	while (length($connection->{held}) >= $connection->{parsed} + 5)
	{
		my ($type, $length) =
		  unpack 'a N', substr $connection->{held}, $connection->{parsed}, 5;
		my $end = $connection->{parsed} + 1 + $length;

		last if length($connection->{held}) < $end;
		if ($type eq 'Z')
		{
			my $idle = substr($connection->{held}, $end - 1, 1) eq 'I';

			if ($connection->{ready} && $idle && ++$answers % $every == 0)
			{
				print "lost\n";
				return cut($connection);
			}
			$connection->{ready} = 1;
		}
		$connection->{parsed} = $end;
		if ($type eq 'Z' || !$connection->{ready})
		{
			send_all($connection->{client}, substr $connection->{held}, 0, $end, '');
			$connection->{parsed} = 0;
		}
	}
	return;
}

while (1)
{
	for my $socket ($select->can_read)
	{
		my $connection = $connection{$socket};

		if ($socket == $listener)
		{
			accept_client();
		}
		elsif (!$connection)
		{
			next;    # cut a moment ago
		}
		elsif (!sysread $socket, my $data, 65536)
		{
			cut($connection);
		}
		elsif ($socket == $connection->{client})
		{
			send_all($connection->{backend}, $data);
		}
		else
		{
			from_server($connection, $data);
		}
	}
}

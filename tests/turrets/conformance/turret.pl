#!/usr/bin/perl
# A turret in Perl without a ZeroMQ library: it speaks ZMTP 3.0 (ZeroMQ RFC 23) over plain sockets, by docs/reference/turret-protocol.md.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use POSIX qw(:signal_h :sys_wait_h);
use Socket qw(MSG_DONTWAIT);
use Time::HiRes qw(time sleep);

open(my $file, "<", $ARGV[0]) or die "cannot read $ARGV[0]: $!\n";
my $config = decode_json(join("", <$file>));
my $cannons = 0 + ($config->{cannons} // $config->{canons});
my $rampup = 0 + ($config->{rampup} // 0);
my $uuid = sprintf("%08x-%04x-4%03x-a%03x-%012x", $$, rand(65536), rand(4096), rand(4096), time() * 1000);
my ($target) = $config->{url} =~ m{^http://([^/]+)};
my ($status, @children, $gun, $ending) = ("ready");

$SIG{TERM} = sub { $ending = 1 };
$SIG{PIPE} = "IGNORE";

# -- ZMTP: a greeting of 64 bytes, the command READY, then messages of one short or long frame ---------------------

sub exactly {
    my ($socket, $size) = @_;
    my $bytes = "";
    while (length($bytes) < $size) {
        my $read = sysread($socket, $bytes, $size - length($bytes), length($bytes));
        return undef unless $read;
    }
    return $bytes;
}

sub frame {
    my ($flags, $body) = @_;
    return length($body) < 256
        ? pack("CC", $flags, length($body)) . $body
        : pack("CQ>", $flags | 2, length($body)) . $body;
}

sub receive {
    my ($socket) = @_;
    my $flags = exactly($socket, 1) // return;
    my $long = unpack("C", $flags) & 2;
    my $size = exactly($socket, $long ? 8 : 1) // return;
    my $body = exactly($socket, unpack($long ? "Q>" : "C", $size)) // return;
    return (unpack("C", $flags), $body);
}

sub connected {
    my ($port, $type) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => $config->{hq_address}, PeerPort => $port, Timeout => 1) or return;
    syswrite($socket, "\xff" . "\0" x 8 . "\x7f\x03\x00" . "NULL" . "\0" x 16 . "\0" x 32);
    exactly($socket, 64) // return;
    my $property = "\x0bSocket-Type" . pack("N", length($type)) . $type;
    syswrite($socket, frame(4, "\x05READY$property"));
    receive($socket) or return;
    syswrite($socket, frame(0, "\x01")) if $type eq "SUB";
    return $socket;
}

# -- the cannons: one process each, which write a result in a line -------------------------------------------------

sub transact {
    my $socket = IO::Socket::INET->new(PeerAddr => $target, Timeout => 10) or return "cannot connect: $!";
    print $socket "GET $config->{url} HTTP/1.0\r\nHost: $target\r\n\r\n";
    my $answer = <$socket> // return "no answer";
    1 while <$socket>;
    return $answer =~ m{^HTTP/\S+ 200} ? "" : $answer;
}

sub fire {
    my ($started) = @_;
    pipe(my $read, my $write) or die $!;
    $write->autoflush(1);
    # A signal that came to a cannon before it has its own handlers would be lost.
    my $held = POSIX::SigSet->new(SIGTERM, SIGUSR1);
    sigprocmask(SIG_BLOCK, $held);
    for my $number (0 .. $cannons - 1) {
        my $child = fork() // die $!;
        push(@children, $child), next if $child;
        my $stopped;
        $SIG{TERM} = sub { exit 0 };
        $SIG{USR1} = sub { $stopped = 1 };
        sigprocmask(SIG_UNBLOCK, $held);
        my $begins = $started + $number * $rampup / $cannons;
        sleep(0.01) while !$stopped && time() < $begins && getppid() != 1;
        while (!$stopped && getppid() != 1) {
            my $begun = time();
            my $error = transact();
            my $ended = time();
            print $write encode_json({
                turret_name => $config->{name}, elapsed => $ended - $started, epoch => $ended,
                scriptrun_time => $ended - $begun, error => $error, custom_timers => {} }), "\n";
            sleep(0.1) if $error;
        }
        POSIX::_exit(0);
    }
    sigprocmask(SIG_UNBLOCK, $held);
    close($write);
    $gun = $read;
}

# -- the turret ----------------------------------------------------------------------------------------------------

my ($orders, $collector, $due, $results) = (undef, undef, 0, "");

sub lost { close($_) for grep { defined } $orders, $collector; ($orders, $collector) = () }

sub send_message {
    my ($json) = @_;
    return unless $collector;
    syswrite($collector, frame(0, $json)) // lost();
}

sub send_status {
    send_message(encode_json({
        turret => $config->{name}, status => $status, uuid => $uuid, script => $config->{script},
        cannons => $cannons, rampup => $rampup }));
    $due = time() + 2;
}

sub obey {
    my ($frame) = @_;
    my ($channel, $json) = split(/ /, $frame, 2);
    return if ($channel // "") ne "" && $channel ne $uuid;
    my $order = eval { decode_json($json // "") };
    my $command = ref($order) eq "HASH" ? $order->{command} // "" : "";
    if ($command eq "start" && $status eq "ready") {
        fire(time());
        $status = "Running";
    } elsif ($command eq "stop" && $status eq "Running") {
        kill("USR1", @children);
    } elsif ($command eq "kill") {
        $ending = 1;
    }
    send_status();
}

until ($ending) {
    if (!$orders) {
        $orders = connected($config->{hq_publisher}, "SUB");
        $collector = connected($config->{hq_rc}, "PUSH") if $orders;
        if (!$collector) { lost(); sleep(0.1); next }
        send_status();
    }
    send_status() if time() > $due;
    my $select = IO::Select->new(grep { defined } $orders, $gun);
    for my $ready ($select->can_read(0.2)) {
        if ($gun && $ready == $gun) {
            if (sysread($gun, $results, 65536, length($results))) {
                send_message($1) while $results =~ s/^(.*)\n//;
                next;
            }
            waitpid($_, 0) for @children;  # the pipe is closed: all cannons have ended
            (@children, $gun) = ();
            $status = "ready";
            send_status();
        } elsif ($orders && $ready == $orders) {
            my ($flags, $body) = receive($orders);
            if (!defined $flags) { lost() }
            elsif (!($flags & 4)) { obey($body) }
        }
    }
}
kill("TERM", @children);
waitpid($_, 0) for @children;
$status = "Killed";
send_status();

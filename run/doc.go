// Package run runs unmodified programs on a host: their sockets are the host's.
//
//	func main() {
//		run.Init() // does not return in the processes that Start makes
//		p, err := run.Start(h, run.Cmd{Args: []string{"curl", "http://10.0.0.2/"}, Stdout: os.Stdout})
//		err = p.Wait()
//	}
//
// # Theory of operation
//
// Package unotify stops the calls that make, name and configure sockets, and
// this package answers them from the host by way of package posix. Data is not
// stopped: a socket that a program gets is one end of a pair of unix sockets,
// so that read, write, poll, epoll, dup, fork, exec, sendfile and close are the
// kernel's own, and the other end is pumped into the host:
//
//	program   far end ====== near end   pump   host.Socket   …network
//
// A socket is recognised by the cookie of its far end (SO_COOKIE), whichever
// process has it under whatever number.
//
// Streams (stream.go). Readiness is made by what lies in the pair. A listener
// polls readable while a token byte lies in it, one for the first connection
// that waits. While a connection is being made, filler lies in the other
// direction and takes away the room to write; when it is drained, the socket
// polls writable. A near end that is closed with bytes unread in it makes the
// far end report ECONNRESET: that is how a reset arrives. The pump learns of a
// close from POLLHUP, of a close with unread data from ECONNRESET.
//
// Datagrams, and raw sockets (datagram.go). The far end is a unix datagram socket, and what
// comes from a peer is sent to it by a socket whose abstract name tells the peer
// and how it came, so that the queue, poll, MSG_PEEK and read are the kernel's,
// and the source is exact. A connected socket is connected to its peer's. Such
// sockets do not tell when they are closed; they are asked now and then, and
// before a port is said to be in use.
//
// Calls that wait have a goroutine each; all others are answered by the one that
// receives notifications. A call that a signal has interrupted is forgotten by
// the kernel: what it would have returned is put back.
//
// What a program has closed it may expect to be closed: before a call goes to a
// port, or wants to have it, the sockets there are looked at.
//
// Adapters, addresses and routes are the host's too: a routing socket
// (netlink_linux.go) is one end of a pair that keeps packets apart, and package
// rtnl answers what is sent to it, as it does the requests of ioctl about
// interfaces on any socket. It shows the host's sockets to programs such as ss
// likewise. Netlink sockets for devices and audits are the system's, and others
// about networks are refused.
//
// Files about the network (file_linux.go) are the host's, if they are opened by
// their whole path: those of /proc/net that package procnet writes, and the
// settings in /proc/sys/net. What a program reads is a file in memory, made when
// it was opened. What it writes to a setting goes through a pipe, and is in force
// before a file is opened or a socket made after it.
//
// Names are the host's. Questions to port 53 of any address are answered here
// if they are for a name that the host knows (host.AddName), and go to the
// network otherwise (dns.go). The programs see the files of the system:
// /etc/hosts goes first there.
//
// # Limits
//
// What packages unotify, rtnl and procnet list. Packet sockets are refused.
// Out-of-band data and zero copy do not exist. Opening a file costs a few
// microseconds more. A setting that is refused is told of on the terminal, not to
// the program, and settings cannot be opened for reading and writing at once;
// directories show the system's files. The first write after a reset says EPIPE. A stream that has never been
// connected polls writable, and reading it waits. A pair holds about 200 KiB
// in each direction beside the host's buffers. A reset is seen as an end if the
// process that was last asked about the socket has ended and nothing that it
// wrote is left. A descriptor that gets a new pair, for a second attempt to
// connect without waiting, is not close-on-exec any more, and its duplicates
// keep the old pair. A datagram from another host to a socket that was closed
// within the last quarter of a second is lost without an ICMP error. An ICMP
// error reaches the calls that are answered here; read, recv and send without an
// address fail with ECONNRESET instead, and poll says POLLERR, if the socket is
// connected. They do not tell what is wrong with what they send. Datagrams are
// never received many at once (UDP_GRO), and their time stamps are of the moment
// they are read. recvmmsg waits for the first message only. A call on datagrams that a
// signal interrupts may lose one.
package run

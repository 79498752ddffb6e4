// Package posix gives a host's sockets the shape of Linux's system calls:
// descriptors, address structures, options by number, poll and epoll.
//
//	p := posix.New(h)
//	fd, errno := p.Socket(posix.AF_INET, posix.SOCK_STREAM, 0)
//	errno = p.Connect(fd, addr)
//
// # Theory of operation
//
// A Process is a table of descriptors. Its methods are the calls, with the
// numbers of Linux on amd64, and return what those return. The socket behind a
// descriptor is a [host.Socket], which never waits; all the waiting is done
// here, in one way: a call watches the sockets it wants something of, tries,
// sleeps until one of them has news or its time is over, and tries again.
// Nothing runs between calls.
//
// An epoll instance watches its sockets all the time. A level-triggered one
// looks at each of them when it is waited for; an edge-triggered one only at
// those that have had news since it last told of them.
//
// Options are a table by level and number. Those that act are fields of
// [host.SocketOptions]; those that are only remembered (and read back) are
// listed as such.
//
// Packet sockets (AF_PACKET) have addresses of their own kind in Addr.Link, and
// filters of all datagram sockets are BPF programs of capture/bpf. The value of
// SO_ATTACH_FILTER is here the program itself, not a pointer to it.
//
// # Limits
//
// Descriptors cannot be duplicated or passed on: that is the business of who
// has real ones. Time is the host's clock's.
package posix

package sys

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

var native = binary.NativeEndian

// vethInfoPeer is VETH_INFO_PEER of linux/veth.h.
const vethInfoPeer = 1

// Netlink is an rtnetlink socket. It acts on the network namespace of the
// thread that opened it, whatever thread uses it later. It is not safe for
// concurrent use.
type Netlink struct {
	fd  int
	seq uint32
}

// OpenNetlink opens an rtnetlink socket in the thread's network namespace.
func OpenNetlink() (*Netlink, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("netlink socket", err)
	}
	return &Netlink{fd: fd}, nil
}

// Close closes the socket.
func (n *Netlink) Close() error { return unix.Close(n.fd) }

// Link is what can be set on a link. Zero fields are left as they are.
type Link struct {
	Name string
	MTU  int
	MAC  []byte
	Up   bool
}

// Index returns the number of the link with the given name.
func (n *Netlink) Index(name string) (int, error) {
	index, _, err := n.get(name)
	return index, err
}

// WaitRunning waits until the link passes packets: a link of the veth kind,
// both of whose ends are up, loses them until the kernel has taken note of its
// carrier. Recent kernels do so when they are asked for the link, older ones
// within a second.
func (n *Netlink) WaitRunning(name string, max time.Duration) error {
	for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		_, flags, err := n.get(name)
		switch {
		case err != nil:
			return err
		case flags&unix.IFF_RUNNING != 0:
			return nil
		case time.Since(begun) > max:
			return fmt.Errorf("link %s: no carrier after %v", name, max)
		}
	}
}

func (n *Netlink) get(name string) (index int, flags uint32, err error) {
	m := newMessage(unix.RTM_GETLINK, 0)
	m.ifinfo(0, 0, 0)
	m.str(unix.IFLA_IFNAME, name)
	reply, err := n.do(m)
	if err != nil {
		return 0, 0, fmt.Errorf("look up link %s: %w", name, err)
	}
	if len(reply) < unix.SizeofIfInfomsg {
		return 0, 0, fmt.Errorf("look up link %s: short reply", name)
	}
	return int(int32(native.Uint32(reply[4:]))), native.Uint32(reply[8:]), nil
}

// SetLink changes a link.
func (n *Netlink) SetLink(index int, l Link) error {
	m := newMessage(unix.RTM_NEWLINK, 0)
	var up uint32
	if l.Up {
		up = unix.IFF_UP
	}
	m.ifinfo(index, up, up)
	m.link(l)
	_, err := n.do(m)
	return wrap(err, "set link %d", index)
}

// DeleteLink removes a link.
func (n *Netlink) DeleteLink(index int) error {
	m := newMessage(unix.RTM_DELLINK, 0)
	m.ifinfo(index, 0, 0)
	_, err := n.do(m)
	return wrap(err, "delete link %d", index)
}

// AddVeth creates a pair of veth links: a in this namespace and b in the one
// that the descriptor netns refers to, or in this one if netns is negative.
func (n *Netlink) AddVeth(a, b Link, netns int) error {
	m := newMessage(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	m.ifinfo(0, 0, 0)
	m.link(a)
	info := m.begin(unix.IFLA_LINKINFO)
	m.str(unix.IFLA_INFO_KIND, "veth")
	data := m.begin(unix.IFLA_INFO_DATA)
	peer := m.begin(vethInfoPeer)
	m.ifinfo(0, 0, 0)
	m.link(b)
	if netns >= 0 {
		m.u32(unix.IFLA_NET_NS_FD, uint32(netns))
	}
	m.end(peer)
	m.end(data)
	m.end(info)
	_, err := n.do(m)
	return wrap(err, "create veth pair %s and %s", a.Name, b.Name)
}

// MoveLink moves a link into the network namespace that the descriptor netns
// refers to.
func (n *Netlink) MoveLink(index, netns int) error {
	m := newMessage(unix.RTM_NEWLINK, 0)
	m.ifinfo(index, 0, 0)
	m.u32(unix.IFLA_NET_NS_FD, uint32(netns))
	_, err := n.do(m)
	return wrap(err, "move link %d", index)
}

// AddAddress gives a link an address, usable at once: without duplicate
// address detection.
func (n *Netlink) AddAddress(index int, p netip.Prefix) error {
	m := newMessage(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	flags := uint8(0)
	if p.Addr().Is6() {
		flags = unix.IFA_F_NODAD
	}
	m.b = append(m.b, family(p.Addr()), uint8(p.Bits()), flags, unix.RT_SCOPE_UNIVERSE)
	m.b = native.AppendUint32(m.b, uint32(index))
	m.attr(unix.IFA_LOCAL, p.Addr().AsSlice())
	m.attr(unix.IFA_ADDRESS, p.Addr().AsSlice())
	if p.Addr().Is4() && p.Bits() < 31 {
		m.attr(unix.IFA_BROADCAST, broadcast(p))
	}
	_, err := n.do(m)
	return wrap(err, "add address %s", p)
}

func broadcast(p netip.Prefix) []byte {
	a := p.Addr().As4()
	v := binary.BigEndian.Uint32(a[:]) | (1<<(32-p.Bits()) - 1)
	return binary.BigEndian.AppendUint32(nil, v)
}

// AddRoute adds a route to the main table: via a gateway, by a link (index 0:
// let the kernel find it), or both.
func (n *Netlink) AddRoute(to netip.Prefix, via netip.Addr, index int) error {
	m := newMessage(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	scope := uint8(unix.RT_SCOPE_UNIVERSE)
	if !via.IsValid() && to.Addr().Is4() {
		scope = unix.RT_SCOPE_LINK
	}
	m.b = append(m.b, family(to.Addr()), uint8(to.Bits()), 0, 0,
		unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, scope, unix.RTN_UNICAST, 0, 0, 0, 0)
	if to.Bits() > 0 {
		m.attr(unix.RTA_DST, to.Masked().Addr().AsSlice())
	}
	switch {
	case !via.IsValid():
	case via.Is4() == to.Addr().Is4():
		m.attr(unix.RTA_GATEWAY, via.WithZone("").AsSlice())
	default: // an IPv4 route through an IPv6 neighbour, RFC 8950
		m.attr(unix.RTA_VIA, append(native.AppendUint16(nil, uint16(family(via))), via.AsSlice()...))
	}
	if index != 0 {
		m.u32(unix.RTA_OIF, uint32(index))
	}
	_, err := n.do(m)
	return wrap(err, "add route to %s via %s", to, via)
}

// AddNeighbor tells a link the station address of a neighbour, for good.
func (n *Netlink) AddNeighbor(index int, a netip.Addr, mac []byte) error {
	m := newMessage(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	m.b = append(m.b, family(a), 0, 0, 0)
	m.b = native.AppendUint32(m.b, uint32(index))
	m.b = native.AppendUint16(m.b, unix.NUD_PERMANENT)
	m.b = append(m.b, 0, unix.RTN_UNICAST)
	m.attr(unix.NDA_DST, a.AsSlice())
	m.attr(unix.NDA_LLADDR, mac)
	_, err := n.do(m)
	return wrap(err, "add neighbour %s", a)
}

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

// do sends a request and waits for its answer: the payload of the reply
// message, if there is one, or the error.
func (n *Netlink) do(m *message) ([]byte, error) {
	n.seq++
	if err := unix.Sendto(n.fd, m.finish(n.seq), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("netlink send", err)
	}
	var reply []byte
	buf := make([]byte, 32<<10)
	for {
		k, _, err := unix.Recvfrom(n.fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("netlink receive", err)
		}
		for b := buf[:k]; len(b) >= unix.SizeofNlMsghdr; {
			size := int(native.Uint32(b))
			if size < unix.SizeofNlMsghdr || size > len(b) {
				return nil, fmt.Errorf("netlink: message of %d bytes in %d", size, len(b))
			}
			kind, seq, body := native.Uint16(b[4:]), native.Uint32(b[8:]), b[unix.SizeofNlMsghdr:size]
			b = b[min((size+3)&^3, len(b)):]
			if seq != n.seq {
				continue
			}
			if kind != unix.NLMSG_ERROR {
				reply = append([]byte(nil), body...)
				continue
			}
			if len(body) < 4 {
				return nil, fmt.Errorf("netlink: short answer")
			}
			if errno := -int32(native.Uint32(body)); errno != 0 {
				return nil, unix.Errno(errno)
			}
			return reply, nil
		}
	}
}

// message is a netlink request being built.
type message struct{ b []byte }

func newMessage(kind, flags uint16) *message {
	m := &message{make([]byte, unix.SizeofNlMsghdr, 256)}
	native.PutUint16(m.b[4:], kind)
	native.PutUint16(m.b[6:], flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	return m
}

func (m *message) finish(seq uint32) []byte {
	native.PutUint32(m.b, uint32(len(m.b)))
	native.PutUint32(m.b[8:], seq)
	return m.b
}

// ifinfo appends a struct ifinfomsg.
func (m *message) ifinfo(index int, flags, change uint32) {
	m.b = append(m.b, unix.AF_UNSPEC, 0, 0, 0)
	m.b = native.AppendUint32(m.b, uint32(index))
	m.b = native.AppendUint32(m.b, flags)
	m.b = native.AppendUint32(m.b, change)
}

func (m *message) link(l Link) {
	if l.Name != "" {
		m.str(unix.IFLA_IFNAME, l.Name)
	}
	if l.MTU != 0 {
		m.u32(unix.IFLA_MTU, uint32(l.MTU))
	}
	if l.MAC != nil {
		m.attr(unix.IFLA_ADDRESS, l.MAC)
	}
}

func (m *message) attr(kind uint16, value []byte) {
	at := m.begin(kind)
	m.b = append(m.b, value...)
	m.end(at)
}

func (m *message) str(kind uint16, s string) { m.attr(kind, append([]byte(s), 0)) }

func (m *message) u32(kind uint16, v uint32) { m.attr(kind, native.AppendUint32(nil, v)) }

// begin opens an attribute, which may hold others, and end closes it.
func (m *message) begin(kind uint16) (at int) {
	at = len(m.b)
	m.b = native.AppendUint16(m.b, 0)
	m.b = native.AppendUint16(m.b, kind)
	return at
}

func (m *message) end(at int) {
	native.PutUint16(m.b[at:], uint16(len(m.b)-at))
	for len(m.b)%4 != 0 {
		m.b = append(m.b, 0)
	}
}

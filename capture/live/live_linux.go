package live

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/capture/bpf"
	"github.com/towpath/towpath/capture/jit"
	"github.com/towpath/towpath/capture/savefile"
	"github.com/towpath/towpath/wire"
)

// A Capture is packets of an interface, or of all. It is used by one goroutine
// at a time, but for Interrupt.
type Capture struct {
	name   string
	config Config
	index  int // 0: any
	link   wire.LinkType
	cooked bool
	lo     uint32 // index of the loopback interface

	file  *os.File
	conn  syscall.RawConn
	queue queue

	// Of a look at the queue and the socket; the functions are made once.
	look      func(fd uintptr)
	lookAgain func(fd uintptr) bool
	found     bool
	down      error

	interrupted atomic.Bool

	filter *jit.Filter // nil: none
	inHere bool        // the filter runs here on all packets, not only on old ones

	frame   []byte // with what the kernel has kept apart put back
	aux     bpf.Ancillary
	stats   Stats
	ifDrops uint64 // what the interface had lost at the beginning
}

// A queue is where packets wait for Next: a ring or a socket.
type queue interface {
	// more reports whether next has a packet.
	more() bool
	// fill looks for packets if there are no more, and reports whether next has
	// one. An error is what the socket has for whoever reads it.
	fill(fd int) (bool, error)
	// next takes a packet. Its bytes are lent until the next call of more or
	// fill.
	next() arrival
	// switched tells that a filter has been set: packets that may have arrived
	// before are marked as old.
	switched()
	// count adds to the capture's counters what the kernel has counted.
	count(fd int, s *Stats)
	close() error
}

// An arrival is a packet as the kernel hands it over.
type arrival struct {
	old      bool // it may have arrived before the filter was set
	at       time.Time
	data     []byte
	length   int
	protocol uint16 // EtherType, in host order
	index    uint32
	hatype   uint16 // ARPHRD_
	kind     uint8  // PACKET_HOST and so on
	addr     [8]byte
	addrLen  uint8
	status   uint32 // TP_STATUS_VLAN_
	tci      uint16
	tpid     uint16
	rxhash   uint32
}

// Open begins to capture on an interface, or on all if the device is [Any].
func Open(device string, c Config) (*Capture, error) {
	c.defaults()
	h := &Capture{name: device, config: c}
	if err := h.find(); err != nil {
		return nil, err
	}
	kind := unix.SOCK_RAW
	if h.cooked {
		kind = unix.SOCK_DGRAM
	}
	// Protocol 0 receives nothing until the socket is bound.
	fd, err := unix.Socket(unix.AF_PACKET, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, h.permission(os.NewSyscallError("packet socket", err))
	}
	if err := h.start(fd); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("capture on %s: %w", device, err)
	}
	return h, nil
}

// permission says what to do if packet sockets are not allowed.
func (h *Capture) permission(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("you may not capture on %s; run this as root, or give the program the right: setcap cap_net_raw+ep: %w", h.name, err)
	}
	return fmt.Errorf("capture on %s: %w", h.name, err)
}

// find learns what the device is.
func (h *Capture) find() error {
	h.link, h.cooked = linkSLL2, true
	if lo, err := net.InterfaceByName("lo"); err == nil {
		h.lo = uint32(lo.Index)
	}
	if h.name == Any {
		return nil
	}
	i, err := net.InterfaceByName(h.name)
	if err != nil {
		return unknown(h.name)
	}
	h.index = i.Index
	b, err := os.ReadFile("/sys/class/net/" + i.Name + "/type")
	kind, e := strconv.Atoi(strings.TrimSpace(string(b)))
	switch {
	case err != nil || e != nil:
		if len(i.HardwareAddr) == 6 || i.Flags&net.FlagLoopback != 0 {
			kind = unix.ARPHRD_ETHER
		}
	case h.config.Cooked:
		return nil
	}
	switch kind {
	case unix.ARPHRD_ETHER, unix.ARPHRD_LOOPBACK:
		h.link, h.cooked = wire.LinkEthernet, false
	case unix.ARPHRD_NONE, unix.ARPHRD_RAWIP, unix.ARPHRD_TUNNEL, unix.ARPHRD_TUNNEL6, unix.ARPHRD_SIT:
		h.link, h.cooked = wire.LinkRaw, false
	}
	h.ifDrops = h.interfaceDrops()
	return nil
}

// unknown is the error for a device that is not there.
func unknown(name string) error {
	all, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("there is no interface %q: %w", name, unix.ENODEV)
	}
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	return fmt.Errorf("there is no interface %q, but %s and %s: %w", name, strings.Join(names, ", "), Any, unix.ENODEV)
}

// start makes the socket a capture. If it fails, fd is still the caller's.
func (h *Capture) start(fd int) (err error) {
	if h.config.Promisc && h.index != 0 {
		m := unix.PacketMreq{Ifindex: int32(h.index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m); err != nil {
			return os.NewSyscallError("setsockopt PACKET_ADD_MEMBERSHIP", err)
		}
	}
	if err := h.kernelFilter(fd, nil); err != nil {
		return err
	}
	if h.config.Immediate {
		h.queue, err = newSocket(fd, &h.config)
	} else {
		h.queue, err = newRing(fd, &h.config)
	}
	if err != nil {
		return err
	}
	protocol := uint16(unix.ETH_P_ALL)
	if h.config.Protocol != 0 {
		protocol = h.config.Protocol
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(protocol), Ifindex: h.index}); err != nil {
		return errors.Join(os.NewSyscallError("bind", err), h.queue.close())
	}
	h.file = os.NewFile(uintptr(fd), "packet socket")
	if h.conn, err = h.file.SyscallConn(); err != nil {
		return errors.Join(err, h.queue.close())
	}
	h.look = h.lookOnce
	h.lookAgain = func(fd uintptr) bool {
		h.lookOnce(fd)
		return h.found || h.down != nil
	}
	return nil
}

// htons is a number with the bytes of network order in this machine's.
func htons(v uint16) uint16 {
	return native.Uint16([]byte{byte(v >> 8), byte(v)})
}

// Link is what packets begin with.
func (h *Capture) Link() wire.LinkType { return h.link }

// Beside reports whether filters find the VLAN tag, the direction and the
// interface beside the packet, as expr.Config.Live has it, and not in it.
func (h *Capture) Beside() bool { return !h.cooked }

// Snaplen is the snapshot length in bytes.
func (h *Capture) Snaplen() int { return h.config.Snaplen }

// SetFilter leaves out packets for which the program returns 0, also of those
// that wait. An empty program leaves out none.
func (h *Capture) SetFilter(p bpf.Program) error {
	var f *jit.Filter
	if len(p) > 0 {
		var err error
		if f, err = jit.Compile(p); err != nil {
			return err
		}
	}
	inHere := f != nil && (h.cooked || p.Loops() || len(p) > bpf.MaxLen)
	var failed error
	err := h.conn.Control(func(fd uintptr) {
		in := p
		if inHere {
			in = nil
		}
		if failed = h.kernelFilter(int(fd), in); failed != nil && f != nil {
			// The kernel is stricter than the machine.
			inHere = true
			failed = h.kernelFilter(int(fd), nil)
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("filter on %s: %w", h.name, err)
	}
	h.filter, h.inHere = f, inHere
	h.queue.switched()
	return nil
}

// kernelFilter attaches a program, or one that only cuts packets to the
// snapshot length.
func (h *Capture) kernelFilter(fd int, p bpf.Program) error {
	if len(p) == 0 {
		p = bpf.Program{{Op: bpf.ClassRET, K: uint32(h.config.Snaplen)}}
	}
	insns := make([]unix.SockFilter, len(p))
	for i, s := range p {
		insns[i] = unix.SockFilter{Code: s.Op, Jt: s.Jt, Jf: s.Jf, K: s.K}
	}
	return os.NewSyscallError("setsockopt SO_ATTACH_FILTER", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(insns)), Filter: &insns[0]}))
}

// Next returns the next packet, whose Data are lent until the next call. If none
// comes within wait, the error is ErrTimeout; a wait below zero is for ever. An
// interface that goes down or away ends the capture with an error.
func (h *Capture) Next(wait time.Duration) (savefile.Packet, error) {
	for {
		if h.interrupted.Swap(false) {
			return savefile.Packet{}, ErrTimeout
		}
		if err := h.await(wait); err != nil {
			return savefile.Packet{}, err
		}
		a := h.queue.next()
		if p, ok := h.packet(&a); ok {
			return p, nil
		}
	}
}

// await waits until the queue has a packet.
func (h *Capture) await(wait time.Duration) (err error) {
	if h.queue.more() {
		return nil
	}
	h.found, h.down = false, nil
	if wait == 0 {
		err = h.conn.Control(h.look)
	} else {
		deadline := time.Time{}
		if wait > 0 {
			deadline = time.Now().Add(wait)
		}
		if err = h.file.SetReadDeadline(deadline); err == nil && h.interrupted.Swap(false) {
			return ErrTimeout // Interrupt's deadline may have been replaced
		}
		if err == nil {
			err = h.conn.Read(h.lookAgain)
		}
	}
	switch {
	case h.found:
		return nil
	case h.down != nil:
		return h.gone()
	case err == nil || errors.Is(err, os.ErrDeadlineExceeded):
		h.interrupted.Store(false)
		return ErrTimeout
	}
	return fmt.Errorf("capture on %s: %w", h.name, err)
}

// lookOnce asks the queue and the socket.
func (h *Capture) lookOnce(fd uintptr) {
	if h.found, h.down = h.queue.fill(int(fd)); h.found || h.down != nil {
		return
	}
	if n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && n != 0 {
		h.down = unix.Errno(n)
	}
}

// gone says what became of the interface.
func (h *Capture) gone() error {
	what := "the interface went down"
	if _, err := net.InterfaceByIndex(h.index); err != nil && h.index != 0 {
		what = "the interface has disappeared"
	}
	return fmt.Errorf("capture on %s: %s: %w", h.name, what, h.down)
}

// Interrupt makes a Next that waits, or the next that would, return ErrTimeout
// at once. Any goroutine may call it.
func (h *Capture) Interrupt() {
	h.interrupted.Store(true)
	h.file.SetReadDeadline(time.Unix(1, 0))
}

// packet makes a packet of what has arrived, if it is to be seen.
func (h *Capture) packet(a *arrival) (p savefile.Packet, ok bool) {
	if a.index == h.lo && a.kind == unix.PACKET_OUTGOING {
		return p, false // seen again when it arrives
	}
	p = savefile.Packet{Time: a.at, Data: a.data, Length: a.length, Direction: savefile.DirectionIn}
	if a.kind == unix.PACKET_OUTGOING {
		p.Direction = savefile.DirectionOut
	}
	tagged := a.status&unix.TP_STATUS_VLAN_VALID != 0
	tpid := uint16(wire.EtherTypeVLAN)
	if a.status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		tpid = a.tpid
	}
	check := h.filter != nil && (h.inHere || a.old)
	if check && !h.cooked {
		h.aux = bpf.Ancillary{
			Protocol: a.protocol, PktType: a.kind, Hatype: a.hatype, IfIndex: a.index, RxHash: a.rxhash,
			VlanTagPresent: tagged, VlanTag: a.tci, VlanTPID: tpid,
		}
		if h.filter.Run(p.Data, p.Length, &h.aux) == 0 {
			return p, false
		}
	}
	switch {
	case h.cooked:
		h.cook(&p, a, tagged, tpid)
	case tagged && len(p.Data) >= 2*len(wire.MAC{}) && h.link == wire.LinkEthernet:
		h.tag(&p, a.data, 2*len(wire.MAC{}), tpid, a.tci)
	}
	if check && h.cooked && h.filter.Run(p.Data, p.Length, nil) == 0 {
		return p, false
	}
	p.Data = p.Data[:min(len(p.Data), h.config.Snaplen)]
	return p, true
}

// tag puts a VLAN tag back to where it was, behind n bytes.
func (h *Capture) tag(p *savefile.Packet, data []byte, n int, tpid, tci uint16) {
	h.frame = append(h.frame[:0], data[:n]...)
	h.frame = append(h.frame, byte(tpid>>8), byte(tpid), byte(tci>>8), byte(tci))
	h.frame = append(h.frame, data[n:]...)
	p.Data = h.frame
	p.Length += wire.VLANLen
}

// The header LINUX_SLL2: EtherType, reserved, interface, ARPHRD, kind, length of
// the address, address.
const (
	linkSLL2 = wire.LinkType(276)
	sll2Len  = 20
)

// cook puts a header LINUX_SLL2 in front, and behind it the VLAN tag.
func (h *Capture) cook(p *savefile.Packet, a *arrival, tagged bool, tpid uint16) {
	protocol := a.protocol
	if tagged {
		protocol = tpid
	}
	f := append(h.frame[:0], byte(protocol>>8), byte(protocol), 0, 0, byte(a.index>>24), byte(a.index>>16), byte(a.index>>8), byte(a.index),
		byte(a.hatype>>8), byte(a.hatype), a.kind, a.addrLen)
	f = append(f, a.addr[:]...)
	p.Length += sll2Len
	if tagged {
		f = append(f, byte(a.tci>>8), byte(a.tci), byte(a.protocol>>8), byte(a.protocol))
		p.Length += wire.VLANLen
	}
	h.frame = append(f, a.data...)
	p.Data = h.frame
}

// Stats returns the counters.
func (h *Capture) Stats() (Stats, error) {
	err := h.conn.Control(func(fd uintptr) { h.queue.count(int(fd), &h.stats) })
	if err != nil {
		return Stats{}, fmt.Errorf("capture on %s: %w", h.name, err)
	}
	s := h.stats
	if now := h.interfaceDrops(); now > h.ifDrops {
		s.IfDropped = now - h.ifDrops
	}
	return s, nil
}

// interfaceDrops is how many packets the interface has lost.
func (h *Capture) interfaceDrops() (n uint64) {
	if h.index == 0 {
		return 0
	}
	for _, file := range []string{"rx_missed_errors", "rx_fifo_errors"} {
		b, err := os.ReadFile("/sys/class/net/" + h.name + "/statistics/" + file)
		if err == nil {
			v, _ := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
			n += v
		}
	}
	return n
}

// Inject sends a packet, with its link header.
func (h *Capture) Inject(b []byte) error {
	if h.cooked {
		return fmt.Errorf("capture on %s: packets cannot be sent where captures are cooked: %w", h.name, unix.EOPNOTSUPP)
	}
	var failed error
	err := h.conn.Write(func(fd uintptr) bool {
		_, failed = unix.Write(int(fd), b)
		return failed != unix.EAGAIN && failed != unix.ENOBUFS
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("send on %s: %w", h.name, err)
	}
	return nil
}

// Close ends the capture.
func (h *Capture) Close() error { return errors.Join(h.queue.close(), h.file.Close()) }

package afpacket

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/internal/sys"
	"github.com/towpath/towpath/internal/sys/vnet"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

const (
	// slots is how many packets one recvmmsg may bring. Each slot holds 64 KiB
	// ready.
	slots = 8
	// batchMax is how many packets are indicated at once.
	batchMax = 64
	// sendMax is how many packets one sendmmsg takes.
	sendMax = 32
	// sendWaitMax bounds, in milliseconds, how long Send waits for the kernel
	// to take in what is in the socket's send buffer.
	sendWaitMax = 20
	// bufferLen is asked for as the socket's buffers, in bytes.
	bufferLen = 16 << 20
)

// Port is a packet socket, a [link.Miniport].
type Port struct {
	caps   link.Capabilities
	file   *os.File
	conn   syscall.RawConn
	reader sync.WaitGroup

	mu     sync.Mutex
	closed bool
	missed uint64

	rx receiver // of readLoop
	tx sender   // of Send, which runs once at a time
}

// Open binds a port to a network interface in the thread's namespace.
func Open(name string, c Config) (*Port, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("afpacket: %s: %w", name, err)
	}
	fd, err := sys.OpenPacket(ifi.Index)
	if err != nil {
		return nil, fmt.Errorf("afpacket: %s: %w", name, err)
	}
	if c.MTU == 0 {
		c.MTU = ifi.MTU
	}
	if c.MAC.IsZero() && len(ifi.HardwareAddr) == len(c.MAC) {
		c.MAC = wire.MAC(ifi.HardwareAddr)
	}
	c.IP = len(ifi.HardwareAddr) == 0 && ifi.Flags&net.FlagLoopback == 0
	p, err := FromFD(fd, c)
	if err != nil {
		unix.Close(fd)
	}
	return p, err
}

// FromFD takes over a packet socket that is bound to an interface, whatever
// namespace the interface is in, and sends and receives with a vnet header. If
// it fails, fd is still the caller's.
func FromFD(fd int, c Config) (*Port, error) {
	on, err := unix.GetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR)
	if err != nil {
		return nil, fmt.Errorf("afpacket: not a packet socket: %w", err)
	}
	if on == 0 {
		return nil, errors.New("afpacket: socket without PACKET_VNET_HDR")
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("afpacket: %w", err)
	}
	for _, o := range [...][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[0], bufferLen) != nil {
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[1], bufferLen) // as much as is allowed
		}
	}
	p := &Port{caps: link.Capabilities{MTU: c.MTU, GSOMax: packet.SizeMax, TxChecksum: true}}
	if c.MTU == 0 {
		p.caps.MTU = 1500
	}
	if c.IP {
		p.caps.Medium = link.MediumIP
	} else if p.caps.MAC = c.MAC; c.MAC.IsZero() {
		rand.Read(p.caps.MAC[:])
		p.caps.MAC[0] = p.caps.MAC[0]&^1 | 2 // locally administered, unicast
	}
	p.tx.write = p.tx.writeOut
	p.file = os.NewFile(uintptr(fd), "packet socket")
	if p.file == nil {
		return nil, fmt.Errorf("afpacket: %w", unix.EBADF)
	}
	p.conn, err = p.file.SyscallConn()
	return p, err
}

// Capabilities implements [link.Miniport].
func (p *Port) Capabilities() link.Capabilities { return p.caps }

// Start implements [link.Miniport].
func (p *Port) Start(a *link.Adapter) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return os.ErrClosed
	}
	p.tx.adapter.Store(a)
	p.reader.Add(1)
	go p.readLoop(a)
	return nil
}

// Close implements [link.Miniport]. It may be called more than once.
func (p *Port) Close() (err error) {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	p.mu.Unlock()
	if first {
		err = p.file.Close()
	}
	p.reader.Wait()
	return err
}

// Missed is how many packets the kernel has dropped because the socket's
// receive buffer was full. It can be asked until the port is closed.
func (p *Port) Missed() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn.Control(func(fd uintptr) {
		if s, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			p.missed += uint64(s.Drops) // reading sets the kernel's counter to 0
		}
	})
	return p.missed
}

// receiver is what readLoop works with.
type receiver struct {
	pool   packet.Pool
	slot   [slots]vnet.Slot
	msg    [slots]unix.Mmsghdr
	aux    [slots][64]byte
	primed [slots]bool // msg is laid out for slot
	in     packet.List
	bad    packet.List // of one reason
	err    error
	plain  bool // packets begin with an IP header
}

// readLoop indicates what arrives until the port is closed or its interface
// gone.
func (p *Port) readLoop(a *link.Adapter) {
	defer p.reader.Done()
	r := &p.rx
	r.plain = p.caps.Medium == link.MediumIP
	defer func() {
		for i := range r.slot {
			r.slot[i].Release(&r.pool)
		}
		r.pool.Trim()
	}()
	read := func(fd uintptr) bool { return r.readIn(int(fd), a) }
	for {
		err := p.conn.Read(read)
		if !r.in.Empty() {
			w := link.NewWork(nil)
			a.Indicate(&r.in, w)
			w.Run()
		}
		if r.err != nil {
			a.SetUp(false) // the interface is gone
		}
		if err != nil || r.err != nil {
			return
		}
	}
}

// readIn fills r.in and reports false if there is nothing to read.
func (r *receiver) readIn(fd int, a *link.Adapter) bool {
	for read := 0; read < batchMax; {
		for i := range r.slot {
			if r.primed[i] {
				continue
			}
			r.primed[i] = true
			iov := r.slot[i].Prepare(&r.pool)
			h := &r.msg[i].Hdr
			h.Iov = &iov[0]
			h.SetIovlen(len(iov))
			h.Control = &r.aux[i][0]
			h.SetControllen(len(r.aux[i]))
		}
		n, errno := mmsg(unix.SYS_RECVMMSG, fd, r.msg[:], unix.MSG_DONTWAIT)
		switch errno {
		case 0:
			for i := range n {
				r.take(i, a)
			}
			read += n
			if n < slots {
				return true
			}
		case unix.EAGAIN:
			return read > 0
		case unix.EINTR, unix.ENETDOWN: // down: told once, may come up again
		default:
			r.err = errno
			return true
		}
	}
	return true
}

// take makes a packet of what slot i has received.
func (r *receiver) take(i int, a *link.Adapter) {
	s, n := &r.slot[i], int(r.msg[i].Len)
	r.primed[i] = false
	p := s.Take(&r.pool, max(n-vnet.Len, 0))
	p.Link = p.Start()
	if why := r.check(s, p, n); why != packet.NotDropped {
		r.bad.Push(p)
		a.DropIn(&r.bad, why)
		return
	}
	h := &r.msg[i].Hdr
	if aux := auxdata(r.aux[i][:h.Controllen]); aux != nil && !r.plain {
		restore(p, aux)
	}
	r.in.Push(p)
}

func (r *receiver) check(s *vnet.Slot, p *packet.Packet, n int) packet.Reason {
	if n <= vnet.Len || !r.plain && p.Len() < wire.EthernetLen {
		return packet.ReasonDeviceShort
	}
	return vnet.Decode(&s.Hdr, p, !r.plain)
}

// auxdata finds the struct tpacket_auxdata in a control message.
func auxdata(b []byte) *unix.TpacketAuxdata {
	const size = int(unsafe.Sizeof(unix.TpacketAuxdata{}))
	if len(b) < unix.CmsgLen(size) {
		return nil
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	if h.Level != unix.SOL_PACKET || h.Type != unix.PACKET_AUXDATA {
		return nil
	}
	return (*unix.TpacketAuxdata)(unsafe.Pointer(&b[unix.CmsgLen(0)]))
}

// restore puts a VLAN tag back behind the addresses. The offsets of later
// headers are positions in the head and stay true.
func restore(p *packet.Packet, aux *unix.TpacketAuxdata) {
	if aux.Status&unix.TP_STATUS_VLAN_VALID == 0 {
		return
	}
	kind := wire.EtherTypeVLAN
	if aux.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		kind = wire.EtherType(aux.Vlan_tpid)
	}
	p.Push(wire.VLANLen)
	p.Link = p.Start()
	b := p.Head()
	inner := wire.Ethernet(b[wire.VLANLen:]).Type()
	copy(b, b[wire.VLANLen:wire.VLANLen+12])
	wire.Ethernet(b).SetType(kind)
	v := wire.VLAN(b[wire.EthernetLen:])
	v.SetTCI(aux.Vlan_tci)
	v.SetType(inner)
}

// sender is what Send works with.
type sender struct {
	adapter atomic.Pointer[link.Adapter] // nil before Start
	pool    packet.Pool
	write   func(fd uintptr) bool // writeOut as a value, made once
	out     *packet.List
	refused packet.List
	msg     [sendMax]unix.Mmsghdr
	hdr     [sendMax][vnet.Len]byte
	iov     [sendMax][vnet.IovecMax]unix.Iovec
}

// Send implements [link.Miniport].
func (p *Port) Send(l *packet.List, _ *link.Work) {
	t := &p.tx
	a := t.adapter.Load()
	if l.Empty() {
		return
	}
	t.out = l
	err := p.conn.Write(t.write)
	t.out = nil
	if err != nil {
		a.Drop(l, packet.ReasonDeviceClosed)
	}
	a.Drop(&t.refused, packet.ReasonDeviceWrite)
}

// writeOut writes all packets.
func (t *sender) writeOut(fd uintptr) bool {
	waited := 0
	for !t.out.Empty() {
		n := 0
		for p := t.out.First(); p != nil && n < sendMax; p = p.Next() {
			t.prepare(n, p)
			n++
		}
		sent, errno := mmsg(unix.SYS_SENDMMSG, int(fd), t.msg[:n], unix.MSG_DONTWAIT)
		switch errno {
		case 0:
			for range sent {
				t.pool.Free(t.out.Pop())
			}
		case unix.EINTR:
		case unix.EAGAIN:
			// The kernel takes packets in right away, on this or another
			// processor; a moment is enough.
			if waited < sendWaitMax {
				waited++
				unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 1)
				continue
			}
			fallthrough
		default:
			t.refused.Push(t.out.Pop())
		}
	}
	return true
}

func (t *sender) prepare(i int, p *packet.Packet) {
	vnet.Encode(&t.hdr[i], p)
	iov := append(t.iov[i][:0], unix.Iovec{Base: &t.hdr[i][0]})
	iov[0].SetLen(vnet.Len)
	iov = vnet.AppendPacket(iov, p)
	h := &t.msg[i].Hdr
	h.Iov = &iov[0]
	h.SetIovlen(len(iov))
}

// mmsg is recvmmsg or sendmmsg.
func mmsg(trap uintptr, fd int, m []unix.Mmsghdr, flags uintptr) (int, unix.Errno) {
	n, _, errno := unix.Syscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), flags, 0, 0)
	return int(n), errno
}

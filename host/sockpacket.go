package host

import (
	"slices"
	"syscall"
	"time"

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/socket"
	"github.com/towpath/towpath/wire"
)

// Packet sockets see and send frames of adapters (Linux: packet(7)). They hang
// on the adapters' taps, which are there only while such a socket is, so nobody
// else pays for them.

// AFPacket is the address family of packet sockets, by its number on Linux.
// Their type is SockRaw, or SockDgram for those that leave link headers to the
// host; their protocol is an EtherType, in host order, or EtherTypeAll.
const AFPacket = 17

// EtherTypeAll stands for every protocol, and for what is sent too (Linux:
// ETH_P_ALL).
const EtherTypeAll = 3

// etherType8022 is the protocol of frames that have a length in place of a type
// (Linux: ETH_P_802_2).
const etherType8022 = 4

// A PacketKind says for whom a frame was, by Linux's numbers.
type PacketKind uint8

const (
	PacketHost      PacketKind = iota // for this station
	PacketBroadcast                   // for all
	PacketMulticast                   // for a group
	PacketOtherHost                   // for another station
	PacketOutgoing                    // sent by this host
)

// Hardware types, by the numbers of RFC 826 and Linux.
const (
	hardwareEthernet = 1
	hardwareLoopback = 772
	hardwareNone     = 0xfffe
)

// A LinkAddr is the address of a packet socket, or of a frame that it receives
// or sends (Linux: struct sockaddr_ll).
type LinkAddr struct {
	Protocol uint16 // EtherType, in host order
	Adapter  int32  // index; 0: none, or any
	Hardware uint16
	Kind     PacketKind
	Len      uint8 // of MAC; 0 where stations have no addresses
	MAC      wire.MAC
}

// A FrameInfo is what is known of a frame that a packet socket has received.
type FrameInfo struct {
	From    LinkAddr
	Size    int           // bytes, before a filter cut them
	Net     int           // where the network header is
	At      time.Duration // when it was seen, by the host's clock
	Partial bool          // the transport checksum is still to be completed
}

// A MemberKind is what a packet socket wants of an adapter, by Linux's numbers.
type MemberKind uint16

const (
	MemberMulticast   MemberKind = iota
	MemberPromiscuous            // frames for other stations
	MemberAllMulticast
	MemberUnicast
)

// A packetMember is one such wish. Adapters have no filter of groups, so that of
// all kinds only MemberPromiscuous makes a difference.
type packetMember struct {
	adapter int32
	kind    MemberKind
	mac     wire.MAC
}

// packetSocket is guarded by lane.mu.
type packetSocket struct {
	face    *Socket
	id      uint32 // of the packets it sends
	cooked  bool   // frames without link headers
	proto   uint16
	adapter int32 // 0: all; negative: one that is gone
	noOut   bool  // nothing of what this host sends
	filter  PacketFilter
	members []packetMember

	queue       []frame
	queuedBytes int
	limit       int
	seen, lost  uint32
	err         syscall.Errno
}

// A frame is a copy that waits to be read.
type frame struct {
	p    *packet.Packet
	info FrameInfo
}

const packetSocketCost = 1024

func hardware(a *link.Adapter) uint16 {
	switch {
	case a.Capabilities().Loopback:
		return hardwareLoopback
	case a.Capabilities().Medium == link.MediumEthernet:
		return hardwareEthernet
	}
	return hardwareNone
}

// headerLen is the length of the link headers that packet sockets see. The
// loopback has none; there they are made up, as on Linux, of zeros and a type.
func headerLen(a *link.Adapter) int {
	if a.Capabilities().Loopback || a.Capabilities().Medium == link.MediumEthernet {
		return wire.EthernetLen
	}
	return 0
}

// linkAddr is the address of an adapter.
func linkAddr(a *link.Adapter) LinkAddr {
	x := LinkAddr{Adapter: a.Index(), Hardware: hardware(a)}
	if headerLen(a) > 0 {
		x.Len, x.MAC = uint8(len(x.MAC)), a.MAC()
	}
	return x
}

func (h *Host) packetSocket(t SockType, proto int) (*Socket, syscall.Errno) {
	if t != SockRaw && t != SockDgram {
		return nil, syscall.ESOCKTNOSUPPORT
	}
	s := &Socket{ln: &h.lane, typ: t}
	s.opt = defaultOptions
	e := s.hold(func(ln *lane) syscall.Errno {
		switch {
		case ln.closed:
			return syscall.ENETDOWN
		case h.mem.exceeded(packetSocketCost, ln.conf.set.MemoryMax):
			return syscall.ENOBUFS
		}
		ln.packetID++
		s.pkt = &packetSocket{face: s, id: ln.packetID, cooked: t == SockDgram, proto: uint16(proto), limit: ln.conf.set.UDPRcvBuf}
		h.mem.add(packetSocketCost)
		ln.packets = append(ln.packets, s.pkt)
		ln.sockets[s] = struct{}{}
		return 0
	})
	if e != 0 {
		return nil, e
	}
	h.tapAdapters()
	return s, 0
}

// tapAdapters puts the host's tap on all adapters, or takes it away when there
// is no packet socket left.
func (h *Host) tapAdapters() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lane.mu.Lock()
	want := len(h.lane.packets) > 0
	h.lane.mu.Unlock()
	for _, a := range h.conf.Load().adapters {
		if a != nil {
			a.RemoveTap((*packetTap)(h))
			if want {
				a.AddTap((*packetTap)(h))
			}
		}
	}
}

// packetTap gives packet sockets what passes an adapter. It is called without
// the lane's lock.
type packetTap Host

// Tap implements [link.Tap].
func (h *packetTap) Tap(a *link.Adapter, dir link.Direction, p *packet.Packet) {
	ln := &h.lane
	ln.lock()
	defer ln.unlock(nil)
	if len(ln.packets) == 0 || ln.closed {
		return
	}
	from, net := frameAddr(a, dir, p)
	if from.Kind == PacketOtherHost && !ln.promiscuous(a.Index()) {
		return // what a station would not hear
	}
	for _, s := range ln.packets {
		if s.wants(&from, p) {
			s.take(ln, a, p, from, net)
		}
	}
}

// frameAddr is what a frame says of itself, and where its network header is.
func frameAddr(a *link.Adapter, dir link.Direction, p *packet.Packet) (x LinkAddr, net int) {
	x = linkAddr(a)
	b := p.Head()
	if a.Capabilities().Medium == link.MediumEthernet {
		eth := wire.Ethernet(b)
		if !eth.Valid() {
			return x, 0
		}
		net = wire.EthernetLen
		if x.Protocol = uint16(eth.Type()); eth.Type().IsLength() {
			x.Protocol = etherType8022
		}
		x.MAC = eth.Src()
		switch dst := eth.Dst(); {
		case dst == wire.Broadcast:
			x.Kind = PacketBroadcast
		case dst[0]&1 != 0:
			x.Kind = PacketMulticast
		case dst != a.MAC():
			x.Kind = PacketOtherHost
		}
	} else if len(b) > 0 {
		if x.Protocol = uint16(wire.EtherTypeIPv4); b[0]>>4 == 6 {
			x.Protocol = uint16(wire.EtherTypeIPv6)
		}
	}
	if dir == link.Out {
		x.Kind = PacketOutgoing
	}
	return x, net
}

// promiscuous reports whether a socket wants an adapter's frames for others.
func (ln *lane) promiscuous(adapter int32) bool {
	for _, s := range ln.packets {
		for _, m := range s.members {
			if m.kind == MemberPromiscuous && m.adapter == adapter {
				return true
			}
		}
	}
	return false
}

// wants reports whether a frame is for the socket. What this host sends is for
// those that want every protocol only, but for who sent it.
func (s *packetSocket) wants(x *LinkAddr, p *packet.Packet) bool {
	switch {
	case s.proto == 0, s.adapter != 0 && s.adapter != x.Adapter, p.Origin == s.id && x.Kind == PacketOutgoing:
		return false
	case s.proto == EtherTypeAll:
		return x.Kind != PacketOutgoing || !s.noOut
	}
	return s.proto == x.Protocol && x.Kind != PacketOutgoing
}

// take queues a copy of the frame p.
func (s *packetSocket) take(ln *lane, a *link.Adapter, p *packet.Packet, from LinkAddr, net int) {
	c := p.Clone()
	switch made := headerLen(a) - net; {
	case s.cooked:
		c.TrimFront(net)
		net = 0
	case made > 0:
		wire.PutEthernet(c.Push(made), wire.MAC{}, wire.MAC{}, wire.EtherType(from.Protocol))
		net = made
	}
	info := FrameInfo{From: from, Size: c.Len(), Net: net, At: ln.now, Partial: p.Checksum == packet.ChecksumPartial}
	if s.filter != nil {
		x := FilterContext{Protocol: from.Protocol, Kind: from.Kind, Hardware: from.Hardware, Adapter: from.Adapter, Mark: p.Mark, NetOffset: net}
		if !ln.keep(s.filter, c, 0, &x) {
			ln.pool.Free(c)
			return
		}
	}
	s.seen++
	size := c.Footprint()
	switch {
	case s.queuedBytes+size > s.limit:
		s.lost++
		ln.drop(c, packet.ReasonPacketQueueFull)
		return
	case ln.host.mem.exceeded(int64(size), ln.conf.set.MemoryMax):
		s.lost++
		ln.drop(c, packet.ReasonPacketMemory)
		return
	}
	s.queuedBytes += size
	ln.host.mem.add(int64(size))
	s.queue = append(s.queue, frame{c, info})
	s.face.tell(socket.EventIn)
}

// pop takes the first frame off the queue.
func (s *packetSocket) pop(ln *lane) frame {
	f := s.queue[0]
	s.queue[0] = frame{}
	if s.queue = s.queue[1:]; len(s.queue) == 0 {
		s.queue = nil
	}
	size := f.p.Footprint()
	s.queuedBytes -= size
	ln.host.mem.add(-int64(size))
	return f
}

func (s *packetSocket) closeLocked(ln *lane) {
	ln.packets = slices.DeleteFunc(ln.packets, func(o *packetSocket) bool { return o == s })
	for len(s.queue) > 0 {
		ln.drop(s.pop(ln).p, packet.ReasonPacketClosed)
	}
	ln.host.mem.add(-packetSocketCost)
}

func (s *packetSocket) takeError() syscall.Errno {
	e := s.err
	s.err = 0
	return e
}

// ready is what poll tells of a packet socket.
func (s *packetSocket) ready() socket.Events {
	ev := socket.EventOut
	if len(s.queue) > 0 {
		ev |= socket.EventIn
	}
	return ev
}

// adapterGone tells packet sockets that an adapter has been taken away.
func (ln *lane) adapterGone(index int32) {
	for _, s := range ln.packets {
		s.members = slices.DeleteFunc(s.members, func(m packetMember) bool { return m.adapter == index })
		if s.adapter == index {
			s.adapter, s.err = -1, syscall.ENETDOWN
			s.face.tell(socket.EventErr | socket.EventIn | socket.EventOut)
		}
	}
}

// packet runs f for a packet socket with the lane locked; other sockets say
// EOPNOTSUPP.
func (s *Socket) packet(f func(ln *lane, s *packetSocket) syscall.Errno) syscall.Errno {
	return s.hold(func(ln *lane) syscall.Errno {
		if s.pkt == nil {
			return syscall.EOPNOTSUPP
		}
		return f(ln, s.pkt)
	})
}

// BindLink binds a packet socket to an adapter, or with index 0 to all, and to a
// protocol; protocol 0 leaves it as it is.
func (s *Socket) BindLink(to LinkAddr) syscall.Errno {
	return s.packet(func(ln *lane, s *packetSocket) syscall.Errno {
		if to.Adapter != 0 && ln.conf.adapter(to.Adapter) == nil {
			return syscall.ENODEV
		}
		s.adapter = to.Adapter
		if to.Protocol != 0 {
			s.proto = to.Protocol
		}
		if a := ln.conf.adapter(to.Adapter); a != nil && !a.Up() && s.proto != 0 {
			s.err = syscall.ENETDOWN
		}
		return 0
	})
}

// LinkName is the address that a packet socket is bound to.
func (s *Socket) LinkName() (x LinkAddr, e syscall.Errno) {
	e = s.packet(func(ln *lane, s *packetSocket) syscall.Errno {
		if a := ln.conf.adapter(s.adapter); a != nil {
			x = linkAddr(a)
		}
		x.Adapter, x.Protocol = s.adapter, s.proto
		return 0
	})
	return x, e
}

// RecvFrame reads a frame, of which what does not fit is lost. n is its length,
// as far as a filter has kept it.
func (s *Socket) RecvFrame(b []byte, flags int) (n int, info FrameInfo, e syscall.Errno) {
	e = s.packet(func(ln *lane, s *packetSocket) syscall.Errno {
		if e := s.takeError(); e != 0 {
			return e
		}
		if len(s.queue) == 0 {
			return syscall.EAGAIN
		}
		f := s.queue[0]
		n, info = f.p.Len(), f.info
		f.p.CopyTo(b, 0)
		if flags&MsgPeek == 0 {
			ln.pool.Free(s.pop(ln).p)
		}
		return 0
	})
	return n, info, e
}

// SendFrame sends a frame by an adapter: that of to, if it has one, else that
// which the socket is bound to. The socket's type says whether b begins with the
// link header.
func (s *Socket) SendFrame(b []byte, to *LinkAddr) syscall.Errno {
	return s.packet(func(ln *lane, s *packetSocket) syscall.Errno {
		if e := s.takeError(); e != 0 {
			return e
		}
		x := LinkAddr{Adapter: s.adapter, Protocol: s.proto}
		if to != nil {
			x = *to
		}
		a := ln.conf.adapter(x.Adapter)
		if a == nil {
			return syscall.ENXIO
		}
		hdr := headerLen(a)
		switch {
		case !a.Up():
			return syscall.ENETDOWN
		case s.cooked && to != nil && hdr > 0 && int(x.Len) < len(x.MAC), !s.cooked && len(b) < hdr:
			return syscall.EINVAL
		}
		room := a.MTU()
		if !s.cooked {
			room += hdr
		}
		if len(b) > room {
			return syscall.EMSGSIZE
		}
		p := ln.pool.Get()
		switch ethernet := a.Capabilities().Medium == link.MediumEthernet; {
		case ethernet && s.cooked:
			wire.PutEthernet(p.Append(hdr), x.MAC, a.MAC(), wire.EtherType(x.Protocol))
		case ethernet:
			copy(p.Append(hdr), b)
			b = b[hdr:]
		case !s.cooked:
			b = b[hdr:] // of the loopback: the made up header
		}
		p.Link, p.Net, p.Origin = p.Start(), p.Start()+uint16(p.HeadLen()), s.id
		n := copy(p.Append(min(len(b), len(p.Room()))), b)
		if !p.AppendBytes(b[n:]) {
			ln.pool.Free(p)
			return syscall.EMSGSIZE
		}
		ln.frameOut(p, a)
		return 0
	})
}

// Member adds a wish of a packet socket about an adapter, or takes it back.
func (s *Socket) Member(adapter int32, kind MemberKind, mac wire.MAC, add bool) syscall.Errno {
	return s.packet(func(ln *lane, s *packetSocket) syscall.Errno {
		m := packetMember{adapter, kind, mac}
		switch i := slices.Index(s.members, m); {
		case add && ln.conf.adapter(adapter) == nil:
			return syscall.ENODEV
		case add && kind > MemberUnicast:
			return syscall.EINVAL
		case add && len(s.members) >= packetMembersMax:
			return syscall.ENOBUFS
		case add:
			s.members = append(s.members, m)
		case i >= 0:
			s.members = slices.Delete(s.members, i, i+1)
		}
		return 0
	})
}

// packetMembersMax bounds the wishes of one socket.
const packetMembersMax = 256

// FrameStats returns, and sets to 0, how many frames a packet socket was to get
// and how many of them it lost for want of room (Linux: PACKET_STATISTICS).
func (s *Socket) FrameStats() (seen, lost uint32, e syscall.Errno) {
	e = s.packet(func(_ *lane, s *packetSocket) syscall.Errno {
		seen, lost = s.seen, s.lost
		s.seen, s.lost = 0, 0
		return 0
	})
	return seen, lost, e
}

// IgnoreOutgoing keeps what this host sends away from a packet socket (Linux:
// PACKET_IGNORE_OUTGOING).
func (s *Socket) IgnoreOutgoing(on bool) syscall.Errno {
	return s.packet(func(_ *lane, s *packetSocket) syscall.Errno {
		s.noOut = on
		return 0
	})
}

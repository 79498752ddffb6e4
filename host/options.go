package host

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// icmpBadByte tells the sender of an IPv4 packet which byte of it makes no
// sense (RFC 792, parameter problem).
func icmpBadByte(at int) icmpCause {
	return icmpCause{type4: wire.ICMPv4ParamProblem, code4: wire.ICMPv4PointerProblem, rest: uint32(at) << 24}
}

// optionsIn looks at IPv4 options: the sender of malformed ones is told (RFC
// 1122 §3.2.2.5), source routes are refused in silence (RFC 7126 §4.3), others
// are carried. It reports whether p goes on.
func (ln *lane) optionsIn(a *link.Adapter, p *packet.Packet, ip wire.IPv4) bool {
	o := ip.Options()
	bad, ok := o.Valid()
	if ok {
		bad, ok = slotsOK(o)
	}
	if !ok {
		ln.icmpError(a, p, icmpBadByte(wire.IPv4Len+bad))
		ln.drop(p, packet.ReasonIPOptions)
		return false
	}
	for o = o.Skip(); len(o) > 0; o = o.Next() {
		if o.Type().IsSourceRoute() {
			ln.drop(p, packet.ReasonIPSourceRoute)
			return false
		}
	}
	return true
}

// slotsOK reports whether the record route and timestamp options of a list can
// be written to, or are full; bad is the byte that says otherwise.
func slotsOK(list wire.IPv4Options) (bad int, ok bool) {
	for o := list.Skip(); len(o) > 0; o = o.Next() {
		at := len(list) - len(o)
		switch o.Type() {
		case wire.IPv4OptRecordRoute:
			if free := o.Len() - o.Pointer() + 1; free > 0 && free < 4 {
				return at + 2, false
			}
		case wire.IPv4OptTimestamp:
			size := timestampSlot(o.TimestampFlag())
			free := o.Len() - o.Pointer() + 1
			switch {
			case size == 0, free <= 0 && o.TimestampOverflow() == 15:
				return at + 3, false
			case free > 0 && free < size:
				return at + 2, false
			}
		}
	}
	return 0, true
}

// timestampSlot is the size of a timestamp option's slots in bytes, 0 if there
// is no such kind.
func timestampSlot(flag uint8) int {
	switch flag {
	case 0:
		return 4
	case 1, 3:
		return 8
	}
	return 0
}

// record writes a host into the record route and timestamp options of a header
// that optionsIn has found good: by its address me, and the time of its day
// (RFC 791 §3.1, RFC 1812 §5.2.4.1).
func (ln *lane) record(list wire.IPv4Options, me netip.Addr) {
	for o := list.Skip(); len(o) > 0; o = o.Next() {
		switch o.Type() {
		case wire.IPv4OptRecordRoute:
			o.RecordAddr(me)
		case wire.IPv4OptTimestamp:
			ln.recordTime(o, me)
		}
	}
}

func (ln *lane) recordTime(o wire.IPv4Options, me netip.Addr) {
	flag, at := o.TimestampFlag(), o.Pointer()-1
	size := timestampSlot(flag)
	if at+size > o.Len() {
		o[3] += 1 << 4 // one more that found no room
		return
	}
	slot := o[at : at+size]
	if flag == 3 {
		if _, ours := ln.conf.addrs.Local(netip.AddrFrom4([4]byte(slot[:4]))); !ours {
			return
		}
	}
	if flag == 1 {
		b := me.As4()
		copy(slot, b[:])
	}
	// The upper bit: not counted from midnight, which this clock does not know.
	ms := uint32(ln.now/time.Millisecond)%(24*60*60*1000) | 1<<31
	binary.BigEndian.PutUint32(slot[size-4:], ms)
	o.SetPointer(at + size + 1)
}

// recordForward writes this router into the options of a packet that it sends
// on: with the address of the adapter it leaves by.
func (ln *lane) recordForward(p *packet.Packet, d *dst) {
	ip := wire.IPv4(p.From(p.Net))
	if ip.HeaderLen() == wire.IPv4Len {
		return
	}
	me, ok := ln.conf.addrs.Source(d.out.Index(), p.Dst, d.next)
	if !ok {
		return
	}
	ln.record(ip.Options(), me)
	ip.UpdateChecksum()
}

// echoOptions takes down the options of an echo request with which its answer
// goes back, this host written in (RFC 1122 §3.2.2.6).
func (ln *lane) echoOptions(p *packet.Packet, me netip.Addr, buf *[wire.IPv4LenMax - wire.IPv4Len]byte) []byte {
	ip := wire.IPv4(p.From(p.Net))
	if p.Src.Is6() || ip.HeaderLen() == wire.IPv4Len {
		return nil
	}
	o := wire.IPv4Options(buf[:copy(buf[:], ip.Options())])
	ln.record(o, me)
	return o
}

// options6 looks at the options of an IPv6 header that is at bytes into the
// packet. It reports whether the packet goes on, and if not whether its sender
// is told of what (RFC 8200 §4.2).
func options6(p *packet.Packet, at int) (c icmpCause, report, ok bool) {
	list := wire.ExtOptions(p.From(p.Net)[at:])
	if _, ok := list.Valid(); !ok {
		return c, false, false
	}
	for o := list.Skip(); len(o) > 0; o = o.Next() {
		if o.Type() == wire.IPv6OptRouterAlert || o.Type().Action() == wire.IPv6OptionSkip {
			continue
		}
		c = icmpCause{type6: wire.ICMPv6ParamProblem, code6: wire.ICMPv6UnknownOption, rest: uint32(at + 2 + len(list) - len(o))}
		action := o.Type().Action()
		return c, action == wire.IPv6OptionReport || action == wire.IPv6OptionReportUnicast && !p.Dst.IsMulticast(), false
	}
	return c, false, true
}

// hopByHopIn looks at the hop-by-hop options of a packet that has some. It
// reports whether p goes on.
func (ln *lane) hopByHopIn(p *packet.Packet) bool {
	c, report, ok := options6(p, wire.IPv6Len)
	if !ok {
		if report {
			ln.icmpError(nil, p, c)
		}
		ln.drop(p, packet.ReasonHopByHop)
	}
	return ok
}

// headersIn looks at what the extension headers of an IPv6 packet ask of its
// destination: options, and to send it on along a route, which is not done:
// there is no type of routing header that a host has to know, and type 0 must
// be treated as unknown (RFC 5095). It reports whether p goes on.
func (ln *lane) headersIn(a *link.Adapter, p *packet.Packet) bool {
	b := p.From(p.Net)[:p.Transport-p.Net]
	next := wire.IPv6(b).NextHeader()
	for at := wire.IPv6Len; at < len(b); {
		h := b[at:]
		n := 8 + int(h[1])*8
		switch next {
		case wire.ProtoDestOpts:
			if c, report, ok := options6(p, at); !ok {
				if report {
					ln.icmpError(a, p, c)
				}
				ln.drop(p, packet.ReasonDestOption)
				return false
			}
		case wire.ProtoRouting:
			if wire.IPv6Routing(h).SegmentsLeft() > 0 {
				ln.icmpError(a, p, icmpCause{type6: wire.ICMPv6ParamProblem, code6: wire.ICMPv6BadField, rest: uint32(at + 2)})
				ln.drop(p, packet.ReasonRoutingHeader)
				return false
			}
		case wire.ProtoFragment:
			n = wire.FragmentLen
		case wire.ProtoAH:
			n = 8 + int(h[1])*4
		}
		next, at = wire.Proto(h[0]), at+n
	}
	return true
}

package host

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A connEntry is one connection in the table: a live one with its socket, or
// one in TIME-WAIT. The flow's Src is the local end.
type connEntry struct {
	packet.Flow
	next   *connEntry
	hash   uint32
	shares bool // sockets that allow it may bind to the local port (Linux: SO_REUSEADDR)
	sock   *tcpSocket
	wait   *timeWait

	nextPort, prevPort *connEntry // others with its local port
}

// connTable finds connections by their four addresses: a hash table with
// chains through the entries, doubled when it is full.
type connTable struct {
	seed    uint64
	buckets []*connEntry
	n       int
	ports   map[uint16]*connEntry // by local port
}

func (t *connTable) hash(local, remote netip.Addr, lport, rport uint16) uint32 {
	l, r := local.As16(), remote.As16()
	h := t.seed ^ uint64(lport)<<16 ^ uint64(rport)
	h = mix(h^binary.LittleEndian.Uint64(l[8:]), binary.LittleEndian.Uint64(r[8:])^0x9e3779b97f4a7c15)
	if local.Is6() {
		h = mix(h^binary.LittleEndian.Uint64(l[:]), binary.LittleEndian.Uint64(r[:])^0xbf58476d1ce4e5b9)
	}
	return uint32(h ^ h>>32)
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// find returns the entry of a connection, nil if there is none.
func (t *connTable) find(local, remote netip.Addr, lport, rport uint16) *connEntry {
	if t.n == 0 {
		return nil
	}
	h := t.hash(local, remote, lport, rport)
	for e := t.buckets[h&uint32(len(t.buckets)-1)]; e != nil; e = e.next {
		if e.hash == h && e.Tuple.DstPort == rport && e.Tuple.SrcPort == lport && e.Tuple.Dst == remote && e.Tuple.Src == local {
			return e
		}
	}
	return nil
}

// insert adds an entry for a connection that is not in the table.
func (t *connTable) insert(e *connEntry, local, remote netip.Addr, lport, rport uint16) {
	if t.n >= len(t.buckets) {
		t.grow()
	}
	e.Tuple = packet.Tuple{Src: local, Dst: remote, SrcPort: lport, DstPort: rport, Proto: wire.ProtoTCP}
	e.hash = t.hash(local, remote, lport, rport)
	b := &t.buckets[e.hash&uint32(len(t.buckets)-1)]
	e.next, *b = *b, e
	t.n++
	if t.ports == nil {
		t.ports = make(map[uint16]*connEntry)
	}
	first := t.ports[lport]
	if e.prevPort, e.nextPort = nil, first; first != nil {
		first.prevPort = e
	}
	t.ports[lport] = e
}

// elsewhere reports whether a packet has come by another adapter than the one
// to which the connection keeps.
func (e *connEntry) elsewhere(p *packet.Packet) bool {
	return e.sock != nil && e.sock.device != 0 && e.sock.device != p.Ingress
}

func (t *connTable) grow() {
	old := t.buckets
	t.buckets = make([]*connEntry, max(16, 2*len(old)))
	for _, e := range old {
		for e != nil {
			next := e.next
			b := &t.buckets[e.hash&uint32(len(t.buckets)-1)]
			e.next, *b = *b, e
			e = next
		}
	}
}

// remove takes an entry out; it does nothing if it is not in.
func (t *connTable) remove(e *connEntry) {
	if len(t.buckets) == 0 {
		return
	}
	for p := &t.buckets[e.hash&uint32(len(t.buckets)-1)]; *p != nil; p = &(*p).next {
		if *p == e {
			*p = e.next
			e.next = nil
			t.n--
			t.removePort(e)
			return
		}
	}
}

func (t *connTable) removePort(e *connEntry) {
	next, prev := e.nextPort, e.prevPort
	if next != nil {
		next.prevPort = prev
	}
	switch {
	case prev != nil:
		prev.nextPort = next
	case next != nil:
		t.ports[e.Tuple.SrcPort] = next
	default:
		delete(t.ports, e.Tuple.SrcPort)
	}
	e.nextPort, e.prevPort = nil, nil
}

// all returns the sockets in the table.
func (t *connTable) all() []*tcpSocket {
	var all []*tcpSocket
	for _, e := range t.buckets {
		for ; e != nil; e = e.next {
			if e.sock != nil {
				all = append(all, e.sock)
			}
		}
	}
	return all
}

package host

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/socket"
	"github.com/towpath/towpath/wire"
)

// PingOptions shape an echo request. The zero value is a usual one.
type PingOptions struct {
	Size int   // payload bytes; 0 means 56
	TTL  uint8 // 0 means the host's
	Seq  uint16
	// ID is the identifier, by which the requests of one program are known to be
	// of one; see [Host.PingID]. 0 means one for this request alone.
	ID uint16
}

// A PingReply tells of an answered echo request.
type PingReply struct {
	From  netip.Addr
	RTT   time.Duration
	TTL   uint8 // of the reply as it arrived
	Bytes int   // of the ICMP message
}

// pingWait is an echo request that waits for its reply.
type pingWait struct {
	socket.Waiter
	to    netip.Addr
	seq   uint16
	next  *pingWait // with the same identifier
	sent  time.Duration
	done  bool
	reply PingReply
	err   error
}

func (w *pingWait) fail(ln *lane, err error) {
	if !w.done {
		w.done, w.err = true, err
		ln.wake(w.Wake())
	}
}

// Ping sends one echo request and waits for its reply, an error that concerns
// it, or ctx. Errors are *net.OpError around syscall.EHOSTUNREACH and the like,
// or around ctx's error.
func (h *Host) Ping(ctx context.Context, addr netip.Addr, o PingOptions) (PingReply, error) {
	addr = addr.Unmap()
	r, err := h.ping(ctx, addr, o)
	if err != nil {
		return r, &net.OpError{Op: "ping", Net: "ip", Addr: &net.IPAddr{IP: addr.AsSlice()}, Err: err}
	}
	return r, nil
}

func (h *Host) ping(ctx context.Context, addr netip.Addr, o PingOptions) (PingReply, error) {
	if !addr.IsValid() {
		return PingReply{}, syscall.EDESTADDRREQ
	}
	if o.Size == 0 {
		o.Size = 56
	}
	ln := &h.lane
	w := &pingWait{to: addr, seq: o.Seq}
	stop := context.AfterFunc(ctx, func() {
		ln.lock()
		w.fail(ln, contextError(ctx))
		ln.unlock(nil)
	})
	defer stop()
	ln.lock()
	defer ln.unlock(nil)
	id, err := ln.pingOut(w, addr, o)
	if err != nil {
		return PingReply{}, err
	}
	for !w.done { // it may have failed at once
		w.Prepare()
		ln.unlock(nil)
		w.Sleep()
		ln.lock()
	}
	ln.pingDone(id, w)
	return w.reply, w.err
}

// echoSeq returns the sequence number of an echo request that a ping socket is
// to send: its first eight bytes are an ICMP header, of which identifier and
// checksum are filled in later. It reports false for any other message.
func echoSeq(proto wire.Proto, b []byte) (seq uint16, ok bool) {
	want := uint8(wire.ICMPv4EchoRequest)
	if proto == wire.ProtoICMPv6 {
		want = uint8(wire.ICMPv6EchoRequest)
	}
	if len(b) < wire.ICMPLen || b[0] != want || b[1] != 0 {
		return 0, false
	}
	return wire.ICMPv4(b).Seq(), true
}

// pingOut sends w's echo request under a free identifier.
func (ln *lane) pingOut(w *pingWait, addr netip.Addr, o PingOptions) (id uint16, err error) {
	if ln.closed {
		return 0, errNetClosed
	}
	addr, scope, e := ln.unzone(addr)
	if e != 0 {
		return 0, e
	}
	w.to = addr
	var d dst
	if e := ln.routeFrom(&d, addr, scope, netip.Addr{}); e != 0 {
		return 0, e
	}
	hdr := wire.IPv4Len
	if addr.Is6() {
		hdr = wire.IPv6Len
	}
	if o.Size < 0 || hdr+wire.ICMPLen+o.Size > packet.SizeMax {
		return 0, syscall.EMSGSIZE
	}
	if ln.pings == nil {
		ln.pings = make(map[uint16]*pingWait)
	}
	if len(ln.pings) > 60000 {
		return 0, syscall.ENOBUFS
	}
	if id = o.ID; id == 0 {
		id = ln.freePingID()
	}
	w.next, ln.pings[id] = ln.pings[id], w
	p := ln.pool.Get()
	payload := make([]byte, o.Size)
	for i := range payload {
		payload[i] = byte(i)
	}
	p.AppendBytes(payload)
	t := uint8(wire.ICMPv4EchoRequest)
	p.Proto = wire.ProtoICMP
	if addr.Is6() {
		t, p.Proto = uint8(wire.ICMPv6EchoRequest), wire.ProtoICMPv6
	}
	wire.PutICMP(p.Push(wire.ICMPLen), t, 0, 0, wire.ICMPEcho(id, o.Seq))
	p.Src, p.Dst, p.TTL = d.src, addr, ln.ttl(&d, addr)
	if o.TTL != 0 {
		p.TTL = o.TTL
	}
	w.sent = ln.now
	ln.icmpOut(p, &d)
	return id, nil
}

// PingID returns an identifier for the echo requests of a program that sends
// many; nothing is using it now.
func (h *Host) PingID() uint16 {
	ln := &h.lane
	ln.lock()
	defer ln.unlock(nil)
	return ln.freePingID()
}

func (ln *lane) freePingID() uint16 {
	for {
		ln.pingID++
		id := ln.pingID
		if id != 0 && ln.pings[id] == nil && ln.ports.echoes[0][id] == nil && ln.ports.echoes[1][id] == nil {
			return id
		}
	}
}

// pingOf is the request that waits for an answer to id and seq.
func (ln *lane) pingOf(id, seq uint16, to netip.Addr) *pingWait {
	w := ln.pings[id]
	for w != nil && (w.done || w.seq != seq || w.to != to && !w.to.IsMulticast()) {
		w = w.next
	}
	return w
}

// pingDone forgets a request.
func (ln *lane) pingDone(id uint16, w *pingWait) {
	if ln.pings[id] == w {
		if ln.pings[id] = w.next; w.next == nil {
			delete(ln.pings, id)
		}
		return
	}
	for at := ln.pings[id]; at != nil; at = at.next {
		if at.next == w {
			at.next = w.next
			return
		}
	}
}

// echoReplyIn gives an echo reply to whoever asked.
func (ln *lane) echoReplyIn(p *packet.Packet, id, seq uint16) {
	w := ln.pingOf(id, seq, p.Src)
	if w == nil {
		if s := ln.ports.echo(p.Proto, p.Dst, p.Src, id, p.Ingress); s != nil {
			p.Data = p.Transport // the whole message is the payload
			s.deliver(ln, p)
			return
		}
	}
	if w == nil {
		ln.drop(p, packet.ReasonEchoUnasked)
		return
	}
	w.done = true
	w.reply = PingReply{From: p.Src, RTT: ln.now - w.sent, TTL: p.TTL, Bytes: p.Len()}
	ln.wake(w.Wake())
	ln.pool.Free(p)
}

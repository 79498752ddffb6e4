package host

import (
	"fmt"
	"net/netip"
	"syscall"

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A Transport is an IP protocol that is added to a host at run time (Linux:
// inet_add_protocol). Its methods are called under the host's lane lock: they
// must not block, nor call the host but through what they are given.
type Transport interface {
	// Receive takes a packet of the protocol that is for this host. p begins
	// with the transport header; p.Src, p.Dst, p.TTL and p.TOS are the IP
	// header's. How much of it is linear is for [packet.Packet.Linear] to say.
	Receive(x *TransportContext, p *packet.Packet)
	// Error tells of an ICMP error about a packet that was sent from src to
	// dst; quoted lends the first bytes of its transport header, at least 8.
	Error(x *TransportContext, src, dst netip.Addr, errno syscall.Errno, quoted []byte)
}

// A TransportContext is what a Transport may do while it is called.
type TransportContext struct {
	ln *lane
	b  *TransportBinding
	// In is the adapter that the packet came in by.
	In *link.Adapter
}

// Packet returns an empty packet.
func (x *TransportContext) Packet() *packet.Packet { return x.ln.pool.Get() }

// Free ends a packet that has served.
func (x *TransportContext) Free(p *packet.Packet) { x.ln.pool.Free(p) }

// Drop ends a packet for a reason, which is counted.
func (x *TransportContext) Drop(p *packet.Packet, r packet.Reason) { x.ln.drop(p, r) }

// Send sends p, which begins with its transport header, from src to dst; an
// invalid src lets the host choose. It takes p. Errors are those of routing,
// and EMSGSIZE.
func (x *TransportContext) Send(p *packet.Packet, src, dst netip.Addr) error {
	return x.b.send(x.ln, p, src, dst)
}

// A TransportBinding is a registered Transport's place on its host.
type TransportBinding struct {
	host  *Host
	proto wire.Proto
	t     Transport
}

// RegisterTransport makes a host know an IP protocol. The protocols that a host
// has of its own cannot be replaced.
func (h *Host) RegisterTransport(proto wire.Proto, t Transport) (*TransportBinding, error) {
	b := &TransportBinding{host: h, proto: proto, t: t}
	err := h.edit(func(c *config) error {
		switch {
		case proto == wire.ProtoTCP || proto == wire.ProtoUDP || proto == wire.ProtoICMP || proto == wire.ProtoICMPv6 || proto == wire.ProtoIGMP || proto.IsExtension():
			return fmt.Errorf("transport %v: the host %s has it of its own", proto, h.name)
		case c.transport(proto) != nil:
			return fmt.Errorf("transport %v: the host %s has one registered", proto, h.name)
		}
		c.transports = append(c.transports[:len(c.transports):len(c.transports)], b)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// transport finds a registered protocol; nil if there is none.
func (c *config) transport(proto wire.Proto) *TransportBinding {
	for _, b := range c.transports {
		if b.proto == proto {
			return b
		}
	}
	return nil
}

// Close takes the protocol off the host.
func (b *TransportBinding) Close() error {
	return b.host.edit(func(c *config) error {
		var rest []*TransportBinding
		for _, o := range c.transports {
			if o != b {
				rest = append(rest, o)
			}
		}
		c.transports = rest
		return nil
	})
}

// Send is [TransportContext.Send] for any time but a call of the Transport.
func (b *TransportBinding) Send(p *packet.Packet, src, dst netip.Addr) error {
	ln := &b.host.lane
	ln.lock()
	defer ln.unlock(nil)
	if ln.closed {
		ln.pool.Free(p)
		return errNetClosed
	}
	return b.send(ln, p, src, dst)
}

func (b *TransportBinding) send(ln *lane, p *packet.Packet, src, to netip.Addr) error {
	ip, scope, e := ln.unzone(to.Unmap())
	if e == 0 {
		var d dst
		if e = ln.routeFrom(&d, ip, scope, src); e == 0 {
			p.Proto, p.Src, p.Dst, p.Ingress = b.proto, d.src, ip, 0
			if p.TTL == 0 {
				p.TTL = ln.conf.set.TTL
			}
			if ipSize(ip, p.Len()) <= packet.SizeMax {
				ln.ipOut(p, &d)
				return nil
			}
			e = syscall.EMSGSIZE
		}
	}
	ln.pool.Free(p)
	return e
}

// ipSize is the length of an IP packet with size bytes of payload.
func ipSize(ip netip.Addr, size int) int {
	if ip.Is4() {
		return wire.IPv4Len + size
	}
	return wire.IPv6Len + size
}

package host_test

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

func echo4(b *wire.Builder) {
	b.Payload(make([]byte, 8)).PushICMPv4(wire.ICMPv4EchoRequest, 0, 1<<16|1)
}

func echo6(b *wire.Builder) {
	b.Payload(make([]byte, 8)).PushICMPv6(wire.ICMPv6EchoRequest, 0, 1<<16|1)
}

// TestOptions4: IPv4 options that are answered with an error, and where that
// points (RFC 1122 §3.2.2.5); and what an echo reply has of the request's.
func TestOptions4(t *testing.T) {
	for _, c := range []struct {
		name    string
		options []byte
		pointer int    // of the parameter problem; 0: there is none
		reply   []byte // options of the echo reply, times cleared
	}{
		{"no-op", []byte{1, 1, 1, 0}, 0, []byte{1, 1, 1, 0}},
		{"router alert", []byte{148, 4, 0, 0}, 0, []byte{148, 4, 0, 0}},
		{"unknown", []byte{94, 4, 7, 7}, 0, []byte{94, 4, 7, 7}},
		{"record route", []byte{7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, []byte{7, 11, 8, 10, 0, 0, 1, 0, 0, 0, 0, 0}},
		{"record route, full", []byte{7, 7, 8, 9, 9, 9, 9, 0}, 0, []byte{7, 7, 8, 9, 9, 9, 9, 0}},
		{"timestamps", []byte{68, 8, 5, 0, 0, 0, 0, 0}, 0, []byte{68, 8, 9, 0, 0, 0, 0, 0}},
		{"timestamps, full", []byte{68, 8, 9, 0x20, 0, 0, 0, 0}, 0, []byte{68, 8, 9, 0x30, 0, 0, 0, 0}},
		{"addresses and timestamps", []byte{68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0}, 0, []byte{68, 12, 13, 1, 10, 0, 0, 1, 0, 0, 0, 0}},
		{"timestamps by address", []byte{68, 12, 5, 3, 10, 0, 0, 1, 0, 0, 0, 0}, 0, []byte{68, 12, 13, 3, 10, 0, 0, 1, 0, 0, 0, 0}},
		{"timestamps by another's", []byte{68, 12, 5, 3, 10, 0, 0, 7, 0, 0, 0, 0}, 0, []byte{68, 12, 5, 3, 10, 0, 0, 7, 0, 0, 0, 0}},
		{"length beyond the header", []byte{7, 12, 4, 0}, 21, nil},
		{"length of one", []byte{94, 1, 0, 0}, 21, nil},
		{"pointer too small", []byte{7, 7, 3, 0, 0, 0, 0, 0}, 22, nil},
		{"pointer into a slot", []byte{1, 7, 7, 6, 0, 0, 0, 0}, 23, nil},
		{"timestamps' overflow full", []byte{68, 8, 9, 0xf0, 0, 0, 0, 0}, 23, nil},
		{"timestamps of no kind", []byte{68, 8, 5, 2, 0, 0, 0, 0}, 23, nil},
		{"router alert too long", []byte{148, 5, 0, 0, 0, 0, 0, 0}, 21, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rawHost(t, host.Config{})
			r.known()
			r.send(eth4(wire.IPv4Fields{Options: c.options}, echo4))
			frames := r.take()
			problems, replies := icmp4(frames, wire.ICMPv4ParamProblem), icmp4(frames, wire.ICMPv4EchoReply)
			if c.pointer != 0 {
				if len(problems) != 1 || len(replies) != 0 {
					t.Fatalf("%d errors and %d replies", len(problems), len(replies))
				}
				if m := wire.ICMPv4(problems[0].Payload()); m.Pointer() != c.pointer || m.Code() != 0 {
					t.Errorf("it points at %d, want %d", m.Pointer(), c.pointer)
				}
				return
			}
			if len(problems) != 0 || len(replies) != 1 {
				t.Fatalf("%d errors and %d replies", len(problems), len(replies))
			}
			ip := replies[0]
			got := bytes.Clone(ip.Options())
			if got[0] == 68 && got[2] > c.options[2] {
				clear(got[got[2]-5 : got[2]-1]) // the time
			}
			if !ip.ChecksumOK() || !bytes.Equal(got, c.reply) {
				t.Errorf("options of the reply %d, want %d", got, c.reply)
			}
		})
	}
}

// TestOptionsForward: a router writes itself into a record of the route, with
// the address of the adapter the packet leaves by.
func TestOptionsForward(t *testing.T) {
	r := rawHost(t, host.Config{Forward: true})
	narrow(t, r.host)
	r.known()
	must(t, r.host.AddRoute(route.Route{Dst: pfx("10.9.0.0/16"), Via: them4}))
	r.send(eth4(wire.IPv4Fields{Src: netip.MustParseAddr("10.5.0.9"), Dst: elsewhere4, Options: []byte{7, 7, 4, 0, 0, 0, 0, 0}}, udp(1, 2, "x")))
	frames := slices.DeleteFunc(r.take(), func(f []byte) bool { return wire.Ethernet(f).Type() != wire.EtherTypeIPv4 })
	if len(frames) == 0 {
		t.Fatal("not forwarded")
	}
	ip := wire.IPv4(frames[len(frames)-1][14:])
	if !bytes.Equal(ip.Options(), []byte{7, 7, 8, 10, 0, 0, 1, 0}) || !ip.ChecksumOK() || ip.TTL() != 63 {
		t.Errorf("options %d, ttl %d", ip.Options(), ip.TTL())
	}
}

// TestOptions6: options and routing headers that a node does not know (RFC 8200
// §4.2, §4.4, RFC 5095), whole and in fragments.
func TestOptions6(t *testing.T) {
	group := netip.MustParseAddr("ff02::1")
	hbh := func(o ...byte) func(*wire.Builder) {
		return func(b *wire.Builder) { echo6(b); b.PushHopByHop(o) }
	}
	dest := func(o ...byte) func(*wire.Builder) {
		return func(b *wire.Builder) { echo6(b); b.PushDestOpts(o) }
	}
	routing := func(typ, left byte) func(*wire.Builder) {
		return func(b *wire.Builder) {
			echo6(b)
			b.PushBytes([]byte{byte(wire.ProtoICMPv6), 0, typ, left, 0, 0, 0, 0}).SetProto(wire.ProtoRouting)
		}
	}
	const unknown, field = wire.ICMPv6UnknownOption, wire.ICMPv6BadField
	none := packet.NotDropped
	for _, c := range []struct {
		name   string
		dst    netip.Addr
		build  func(*wire.Builder)
		reason packet.Reason
		code   uint8
		at     uint32 // of the parameter problem; 0: none
	}{
		{"hop-by-hop: padding", us6, hbh(1, 2, 0, 0), none, 0, 0},
		{"hop-by-hop: router alert", us6, hbh(5, 2, 0, 0), none, 0, 0},
		{"hop-by-hop: skip", us6, hbh(0x1e, 1, 0), none, 0, 0},
		{"hop-by-hop: discard", us6, hbh(0x5e, 1, 0), packet.ReasonHopByHop, 0, 0},
		{"hop-by-hop: report", us6, hbh(0x9e, 1, 0), packet.ReasonHopByHop, unknown, 42},
		{"hop-by-hop: report behind another", us6, hbh(0x1e, 1, 0, 0x9e, 0), packet.ReasonHopByHop, unknown, 45},
		{"hop-by-hop: report to a group", group, hbh(0x9e, 1, 0), packet.ReasonHopByHop, unknown, 42},
		{"hop-by-hop: report unicast", us6, hbh(0xde, 1, 0), packet.ReasonHopByHop, unknown, 42},
		{"hop-by-hop: report unicast to a group", group, hbh(0xde, 1, 0), packet.ReasonHopByHop, 0, 0},
		{"hop-by-hop: jumbogram", us6, hbh(0xc2, 4, 0, 1, 0, 0), packet.ReasonHopByHop, unknown, 42},
		{"hop-by-hop: beyond its header", us6, hbh(0x1e, 200, 0), packet.ReasonHopByHop, 0, 0},
		{"destination: skip", us6, dest(0x1e, 1, 0), none, 0, 0},
		{"destination: discard", us6, dest(0x5e, 1, 0), packet.ReasonDestOption, 0, 0},
		{"destination: report", us6, dest(0x9e, 1, 0), packet.ReasonDestOption, unknown, 42},
		{"destination: report unicast to a group", group, dest(0xde, 1, 0), packet.ReasonDestOption, 0, 0},
		{"destination: beyond its header", us6, dest(0x1e, 200, 0), packet.ReasonDestOption, 0, 0},
		{"destination behind hop-by-hop", us6, func(b *wire.Builder) { dest(0x9e, 1, 0)(b); b.PushHopByHop(nil) }, packet.ReasonDestOption, unknown, 50},
		{"destination behind an atomic fragment", us6, func(b *wire.Builder) { dest(0x9e, 1, 0)(b); b.PushFragment(0, false, 7) }, packet.ReasonDestOption, unknown, 50},
		{"routing type 0, to go on", us6, routing(0, 1), packet.ReasonRoutingHeader, field, 42},
		{"routing type 0, at its end", us6, routing(0, 0), none, 0, 0},
		{"routing of no known type", us6, routing(99, 2), packet.ReasonRoutingHeader, field, 42},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rawHost(t, host.Config{})
				time.Sleep(3 * time.Second)
				r.known()
				f := eth6(wire.IPv6Fields{Dst: c.dst}, c.build)
				if c.dst.IsMulticast() {
					m := wire.MulticastMAC(c.dst)
					copy(f, m[:])
				}
				r.send(f)
				frames := r.take()
				problems := icmp6(frames, wire.ICMPv6ParamProblem)
				if c.reason == none {
					if len(problems) != 0 || len(icmp6(frames, wire.ICMPv6EchoReply)) != 1 {
						t.Fatalf("%d problems, %v", len(problems), frames)
					}
					return
				}
				if n := r.host.Drops()[c.reason]; n != 1 {
					t.Errorf("dropped %d times", n)
				}
				switch {
				case c.at == 0 && len(problems) != 0, c.at != 0 && len(problems) != 1:
					t.Fatalf("%d problems told", len(problems))
				case c.at != 0:
					if m := wire.ICMPv6(problems[0].Payload()); m.Code() != c.code || m.Rest() != c.at || problems[0].Src() != us6 && !c.dst.IsMulticast() {
						t.Errorf("code %d at %d from %v, want %d at %d", m.Code(), m.Rest(), problems[0].Src(), c.code, c.at)
					}
				}
			})
		})
	}
}

// TestUnknownProtocol: the errors about a protocol that is not known have
// nothing in the unused field, or point at the byte that names it.
func TestUnknownProtocol(t *testing.T) {
	r := rawHost(t, host.Config{})
	r.known()
	what := func(b *wire.Builder) { b.Payload(make([]byte, 8)).SetProto(99) }
	r.send(eth4(wire.IPv4Fields{Proto: 99}, what), eth6(wire.IPv6Fields{NextHeader: 99}, what),
		eth6(wire.IPv6Fields{}, func(b *wire.Builder) { what(b); b.PushDestOpts(nil) }))
	frames := r.take()
	four, six := icmp4(frames, wire.ICMPv4Unreachable), icmp6(frames, wire.ICMPv6ParamProblem)
	if len(four) != 1 || len(six) != 2 {
		t.Fatalf("%d and %d errors", len(four), len(six))
	}
	if rest := wire.ICMPv4(four[0].Payload()).Rest(); rest != 0 {
		t.Errorf("unused field %#x", rest)
	}
	for i, want := range []uint32{6, 40} {
		if m := wire.ICMPv6(six[i].Payload()); m.Rest() != want || m.Code() != wire.ICMPv6UnknownNextHeader {
			t.Errorf("code %d at %d, want 1 at %d", m.Code(), m.Rest(), want)
		}
	}
}

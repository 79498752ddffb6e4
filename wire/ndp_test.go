package wire

import (
	"net/netip"
	"testing"
)

var neighborSolicit = raw(`
	87 00               # neighbour solicitation
	7a 97               # checksum, from fe80::1 to ff02::1:ff00:2
	00 00 00 00         # reserved
	fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 02   # target fe80::2
	01 01               # source link-layer address, 8 bytes
	02 00 00 00 00 01`)

var neighborAdvert = raw(`
	88 00               # neighbour advertisement
	98 19               # checksum, from fe80::2 to fe80::1
	e0 00 00 00         # router, solicited, override
	fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 02   # target fe80::2
	02 01               # target link-layer address, 8 bytes
	02 00 00 00 00 02`)

var routerAdvert = raw(`
	86 00               # router advertisement
	00 00               # checksum
	40                  # hop limit 64
	c8                  # managed, other configuration, preference high
	07 08               # router lifetime 1800 s
	00 00 75 30         # reachable time 30 s
	00 00 03 e8         # retransmission timer 1 s
	01 01 02 00 00 00 00 01   # source link-layer address
	05 01 00 00 00 00 05 dc   # MTU 1500
	03 04 40 c0         # prefix information: /64, on-link, autonomous
	00 27 8d 00         #   valid 30 days
	00 09 3a 80         #   preferred 7 days
	00 00 00 00
	20 01 0d b8 00 01 00 00 00 00 00 00 00 00 00 00   # 2001:db8:1::
	19 03 00 00         # DNS servers
	00 00 02 58         #   lifetime 600 s
	20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 53   # 2001:db8::53
	18 02 30 08         # route information: /48, preference high
	00 00 07 08         #   lifetime 1800 s
	20 01 0d b8 00 02 00 00   # 2001:db8:2::
	0e 01 01 02 03 04 05 06   # nonce`)

func TestNeighborSolicit(t *testing.T) {
	h := NeighborSolicit(neighborSolicit)
	eq(t, "Valid", h.Valid(), true)
	eq(t, "Target", h.Target(), ip("fe80::2"))
	o := h.Options()
	eq(t, "Type", o.Type(), NDPSourceLinkAddr)
	m, ok := o.LinkAddr()
	eq(t, "LinkAddr", m, MAC{2, 0, 0, 0, 0, 1})
	eq(t, "LinkAddr ok", ok, true)
	_, ok = o.MTU()
	eq(t, "MTU ok", ok, false)
	eq(t, "behind it", len(o.Next()), 0)
	eq(t, "String", h.String(), "neighbor solicitation, who has fe80::2")
	eq(t, "checksum", Fold(Sum(h, PseudoSum(ip("fe80::1"), ip("ff02::1:ff00:2"), ProtoICMPv6, len(h)))), 0xffff)

	b := raw("ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff")
	PutNeighborSolicit(b, ip("fe80::2"))
	eq(t, "PutLinkAddrOption", PutLinkAddrOption(b[NeighborSolicitLen:], NDPSourceLinkAddr, m), 8)
	ICMPv6(b).SetChecksum(0x7a97)
	eqBytes(t, "written", b, h)

	eq(t, "an advertisement", NeighborSolicit(neighborAdvert).Valid(), false)
	eq(t, "cut in the target", h[:23].Valid(), false)
	eq(t, "without options", h[:24].Valid(), true)
	eq(t, "cut in an option", h[:31].Valid(), false)
	zero := append(NeighborSolicit(nil), h...)
	zero[25] = 0
	eq(t, "an option of length 0", zero.Valid(), false)
}

func TestNeighborAdvert(t *testing.T) {
	h := NeighborAdvert(neighborAdvert)
	eq(t, "Valid", h.Valid(), true)
	eq(t, "Target", h.Target(), ip("fe80::2"))
	eq(t, "Flags", h.Flags(), NDRouter|NDSolicited|NDOverride)
	eq(t, "Router, Solicited, Override", h.Router() && h.Solicited() && h.Override(), true)
	m, _ := h.Options().Find(NDPTargetLinkAddr).LinkAddr()
	eq(t, "LinkAddr", m, MAC{2, 0, 0, 0, 0, 2})
	eq(t, "Find of none", len(h.Options().Find(NDPMTU)), 0)
	eq(t, "String", h.String(), "neighbor advertisement, tgt is fe80::2, flags [router, solicited, override]")

	var b Builder
	b.Payload(neighborAdvert[NeighborAdvertLen:]).PushNeighborAdvert(h.Flags(), h.Target()).
		PushIPv6(IPv6Fields{HopLimit: 255, Src: ip("fe80::2"), Dst: ip("fe80::1")})
	eqBytes(t, "built", IPv6(b.Bytes()).Payload(), neighborAdvert)
}

func TestRouterAdvert(t *testing.T) {
	h := RouterAdvert(routerAdvert)
	eq(t, "Valid", h.Valid(), true)
	eq(t, "HopLimit", h.HopLimit(), 64)
	eq(t, "Managed", h.Managed(), true)
	eq(t, "OtherConfig", h.OtherConfig(), true)
	eq(t, "Preference", h.Preference(), 1)
	eq(t, "Lifetime", h.Lifetime(), 1800)
	eq(t, "ReachableTime", h.ReachableTime(), 30000)
	eq(t, "RetransTimer", h.RetransTimer(), 1000)
	eq(t, "String", h.String(), "router advertisement, router lifetime 1800s")

	o := h.Options()
	mtu, _ := o.Find(NDPMTU).MTU()
	eq(t, "MTU", mtu, 1500)
	prefix, ok := o.Find(NDPPrefixInfo).PrefixInfo()
	eq(t, "PrefixInfo", prefix, NDPPrefix{netip.MustParsePrefix("2001:db8:1::/64"), true, true, 2592000, 604800})
	eq(t, "PrefixInfo ok", ok, true)
	dns := o.Find(NDPRDNSS)
	life, n, _ := dns.RDNSS()
	eq(t, "RDNSS lifetime", life, 600)
	eq(t, "RDNSS servers", n, 1)
	eq(t, "Server", dns.Server(0), ip("2001:db8::53"))
	route, ok := o.Find(NDPRouteInfo).RouteInfo()
	eq(t, "RouteInfo", route, NDPRoute{netip.MustParsePrefix("2001:db8:2::/48"), 1, 1800})
	eq(t, "RouteInfo ok", ok, true)
	nonce, _ := o.Find(NDPNonce).Nonce()
	eqBytes(t, "Nonce", nonce, []byte{1, 2, 3, 4, 5, 6})

	b := make([]byte, len(routerAdvert))
	PutRouterAdvert(b, &RouterAdvertFields{64, true, true, 1, 1800, 30000, 1000})
	at := RouterAdvertLen
	at += PutLinkAddrOption(b[at:], NDPSourceLinkAddr, MAC{2, 0, 0, 0, 0, 1})
	at += PutMTUOption(b[at:], 1500)
	at += PutPrefixInfoOption(b[at:], prefix)
	at += PutRDNSSOption(b[at:], 600, ip("2001:db8::53"))
	at += PutRouteInfoOption(b[at:], route)
	at += PutNonceOption(b[at:], [6]byte(nonce))
	eq(t, "size", at, len(b))
	eqBytes(t, "written", b, routerAdvert)
}

func TestNDPOptionsRefuse(t *testing.T) {
	_, ok := NDPOptions(raw("18 01 40 00 00000708")).RouteInfo()
	eq(t, "route of 64 bits in no bytes", ok, false)
	_, ok = NDPOptions(raw("18 01 00 00 00000708")).RouteInfo()
	eq(t, "default route", ok, true)
	_, ok = NDPOptions(raw("18 01 00 10 00000708")).RouteInfo()
	eq(t, "reserved preference", ok, false)
	_, ok = NDPOptions(raw("18 01 81 00 00000708")).RouteInfo()
	eq(t, "route of 129 bits", ok, false)
	_, ok = NDPOptions(raw("03 01 40 c0 00000000")).PrefixInfo()
	eq(t, "short prefix information", ok, false)
	_, ok = NDPOptions(nil).LinkAddr()
	eq(t, "empty list", ok, false)
}

func TestRouterSolicitAndRedirect(t *testing.T) {
	b := make([]byte, RouterSolicitLen)
	PutRouterSolicit(b)
	eq(t, "RouterSolicit", RouterSolicit(b).Valid(), true)
	eq(t, "RouterSolicit.String", RouterSolicit(b).String(), "router solicitation")

	b = append(make([]byte, RedirectLen), raw("04 02 0000 00000000 60 00 00 00 00 00 3b 40")...)
	PutRedirect(b, ip("fe80::1"), ip("2001:db8::5"))
	h := Redirect(b)
	eq(t, "Redirect.Valid", h.Valid(), true)
	eq(t, "Target", h.Target(), ip("fe80::1"))
	eq(t, "Destination", h.Destination(), ip("2001:db8::5"))
	p, ok := h.Options().RedirectedPacket()
	eq(t, "RedirectedPacket", ok, true)
	eqBytes(t, "RedirectedPacket", p, raw("60 00 00 00 00 00 3b 40"))
	eq(t, "String", h.String(), "redirect, 2001:db8::5 to fe80::1")
}

func TestSolicitedNode(t *testing.T) {
	eq(t, "SolicitedNode", SolicitedNode(ip("2001:db8::12:3456")), ip("ff02::1:ff12:3456"))
}

func FuzzNDPRoundTrip(f *testing.F) {
	f.Add(neighborSolicit)
	f.Add(neighborAdvert)
	f.Add(routerAdvert)
	f.Fuzz(func(t *testing.T, b []byte) {
		if h := NeighborAdvert(b); h.Valid() {
			got := make(NeighborAdvert, NeighborAdvertLen)
			PutNeighborAdvert(got, h.Flags(), h.Target())
			eq(t, "Flags", got.Flags(), h.Flags())
			eq(t, "Target", got.Target(), h.Target())
		}
		h := RouterAdvert(b)
		if !h.Valid() {
			return
		}
		got := make(RouterAdvert, RouterAdvertLen)
		fields := RouterAdvertFields{h.HopLimit(), h.Managed(), h.OtherConfig(), h.Preference(), h.Lifetime(),
			h.ReachableTime(), h.RetransTimer()}
		PutRouterAdvert(got, &fields)
		eq(t, "fields", RouterAdvertFields{got.HopLimit(), got.Managed(), got.OtherConfig(), got.Preference(),
			got.Lifetime(), got.ReachableTime(), got.RetransTimer()}, fields)
		for o := h.Options(); len(o) > 0; o = o.Next() {
			buf := make(NDPOptions, 32)
			if p, ok := o.PrefixInfo(); ok {
				PutPrefixInfoOption(buf, p)
				back, _ := buf.PrefixInfo()
				eq(t, "prefix", back, p)
			}
			if r, ok := o.RouteInfo(); ok {
				PutRouteInfoOption(buf, r)
				back, _ := buf.RouteInfo()
				eq(t, "route", back, r)
			}
		}
	})
}

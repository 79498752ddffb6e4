package conntrack

import (
	"encoding/binary"
	"net/netip"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A key is what names one direction of a flow, as bytes that can be compared
// and hashed: source and destination address (IPv4 mapped to IPv6), source and
// destination port, protocol, version of IP, zone. Messages of ICMP have their
// identifier for a source port, and type and code for a destination port.
type key [40]byte

// Where the parts of a key begin.
const (
	keySrc     = 0
	keyDst     = 16
	keySrcPort = 32
	keyDstPort = 34
	keyProto   = 36
	keyVersion = 37
	keyZone    = 38
)

func (k *key) setAddrs(src, dst netip.Addr) {
	s, d := src.As16(), dst.As16()
	copy(k[keySrc:], s[:])
	copy(k[keyDst:], d[:])
	k[keyVersion] = 6
	if src.Is4() {
		k[keyVersion] = 4
	}
}

func (k *key) setPorts(src, dst uint16) {
	binary.BigEndian.PutUint16(k[keySrcPort:], src)
	binary.BigEndian.PutUint16(k[keyDstPort:], dst)
}

func (k *key) setZone(z uint16)  { binary.BigEndian.PutUint16(k[keyZone:], z) }
func (k *key) zone() uint16      { return binary.BigEndian.Uint16(k[keyZone:]) }
func (k *key) srcPort() uint16   { return binary.BigEndian.Uint16(k[keySrcPort:]) }
func (k *key) dstPort() uint16   { return binary.BigEndian.Uint16(k[keyDstPort:]) }
func (k *key) proto() wire.Proto { return wire.Proto(k[keyProto]) }
func (k *key) is4() bool         { return k[keyVersion] == 4 }
func (k *key) src() netip.Addr   { return k.addr(keySrc) }
func (k *key) dst() netip.Addr   { return k.addr(keyDst) }

func (k *key) addr(at int) netip.Addr {
	if k.is4() {
		return netip.AddrFrom4([4]byte(k[at+12 : at+16]))
	}
	return netip.AddrFrom16([16]byte(k[at : at+16]))
}

func (k *key) tuple() packet.Tuple {
	return packet.Tuple{Src: k.src(), Dst: k.dst(), SrcPort: k.srcPort(), DstPort: k.dstPort(), Proto: k.proto()}
}

func keyOf(t packet.Tuple, zone uint16) (k key) {
	k.setAddrs(t.Src, t.Dst)
	k.setPorts(t.SrcPort, t.DstPort)
	k[keyProto] = byte(t.Proto)
	k.setZone(zone)
	return k
}

// reverse is the key of the opposite direction. It reports false if there is
// none: a message of ICMP that nobody answers.
func (k *key) reverse() (r key, ok bool) {
	copy(r[keySrc:keyDst], k[keyDst:keySrcPort])
	copy(r[keyDst:keySrcPort], k[keySrc:keyDst])
	copy(r[keyProto:], k[keyProto:])
	switch k.proto() {
	case wire.ProtoICMP, wire.ProtoICMPv6:
		typ, ok := icmpOpposite(k.proto(), k[keyDstPort])
		if !ok {
			return r, false
		}
		r.setPorts(k.srcPort(), uint16(typ)<<8|uint16(k[keyDstPort+1]))
	default:
		r.setPorts(k.dstPort(), k.srcPort())
	}
	return r, true
}

// Node information queries (RFC 4620), which ask and answer as echo does.
const (
	icmp6NodeQuery = 139
	icmp6NodeReply = 140
)

// icmpOpposite is the type of the message that answers one of type t, or that
// it answers.
func icmpOpposite(p wire.Proto, t uint8) (o uint8, ok bool) {
	if p == wire.ProtoICMPv6 {
		switch t {
		case uint8(wire.ICMPv6EchoRequest), icmp6NodeQuery:
			return t + 1, true
		case uint8(wire.ICMPv6EchoReply), icmp6NodeReply:
			return t - 1, true
		}
		return 0, false
	}
	switch wire.ICMPv4Type(t) {
	case wire.ICMPv4EchoRequest:
		return uint8(wire.ICMPv4EchoReply), true
	case wire.ICMPv4EchoReply:
		return uint8(wire.ICMPv4EchoRequest), true
	case wire.ICMPv4TimestampRequest, wire.ICMPv4InfoRequest, wire.ICMPv4MaskRequest:
		return t + 1, true
	case wire.ICMPv4TimestampReply, wire.ICMPv4InfoReply, wire.ICMPv4MaskReply:
		return t - 1, true
	}
	return 0, false
}

// icmpAsks reports whether a message of type t may begin a flow.
func icmpAsks(p wire.Proto, t uint8) bool {
	if p == wire.ProtoICMPv6 {
		return t == uint8(wire.ICMPv6EchoRequest) || t == icmp6NodeQuery
	}
	switch wire.ICMPv4Type(t) {
	case wire.ICMPv4EchoRequest, wire.ICMPv4TimestampRequest, wire.ICMPv4InfoRequest, wire.ICMPv4MaskRequest:
		return true
	}
	return false
}

// setTransport fills in the ports from the first bytes of a transport header.
// It reports false if there are too few: of a quoted one there may be no more.
func (k *key) setTransport(proto wire.Proto, b []byte) bool {
	k[keyProto] = byte(proto)
	switch proto {
	case wire.ProtoTCP, wire.ProtoUDP, wire.ProtoUDPLite, wire.ProtoSCTP, wire.ProtoDCCP:
		if len(b) < 4 {
			return false
		}
		copy(k[keySrcPort:], b[:4])
	case wire.ProtoICMP, wire.ProtoICMPv6:
		if len(b) < 8 {
			return false
		}
		copy(k[keySrcPort:], b[4:6])
		copy(k[keyDstPort:], b[:2])
	case wire.ProtoGRE:
		if len(b) < 8 || b[1]&7 != 1 {
			break // only what tunnels PPP has a key of its own (RFC 2637)
		}
		copy(k[keyDstPort:], b[6:8])
	}
	return true
}

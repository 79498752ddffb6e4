package ifaddr

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/towpath/towpath/wire"
)

// Interface identifiers, the lower halves of addresses: made of the station
// address, which says who one is wherever one goes; of a secret and the prefix,
// so that they stay the same in one network and have nothing to do with those in
// another (RFC 7217); or of chance (RFC 8981).

// Identifiers says how identifiers are made, by Linux's numbers (addr_gen_mode).
type Identifiers int

const (
	EUI64        Identifiers = iota // of the station address (RFC 4291 appendix A)
	NoLinkLocal                     // likewise, but no link-local address is made
	StableOpaque                    // of Privacy.Secret (RFC 7217)
	RandomOpaque                    // of a secret that is made up when the adapter comes up
)

// A Privacy is what is wanted of an adapter's addresses. The zero value makes
// identifiers of the station address and no temporary addresses.
type Privacy struct {
	Identifiers Identifiers
	// Secret is what StableOpaque identifiers are made with, 16 bytes that
	// nobody else knows. Without one none are made.
	Secret netip.Addr

	// Temporary: 0 no temporary addresses, 1 some beside the others, 2 these are
	// preferred for new flows (use_tempaddr).
	Temporary int
	// How long a temporary address is valid, and preferred; the latter less a
	// random time of up to Desync, so that hosts do not change together (RFC
	// 8981 §3.8).
	Valid, Preferred, Desync time.Duration
	// RegenMin is the least time before an address is deprecated in which its
	// successor is made (regen_min_advance), RegenRetries how many addresses are
	// tried if each is somebody else's.
	RegenMin     time.Duration
	RegenRetries int
}

// Retries and delay of addresses that are somebody else's (RFC 7217 §7). The
// delay is that of any first probe.
const idgenRetries = 3

// eui64 is the modified EUI-64 identifier of an Ethernet address (RFC 4291
// appendix A).
func eui64(m wire.MAC) [8]byte {
	return [8]byte{m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]}
}

// stable is an identifier for a prefix that who does not know the secret cannot
// tell from chance: F of RFC 7217 §5 is SHA-256, Net_Iface the adapter's name. Of
// reserved ones the next is taken.
func stable(secret [16]byte, prefix netip.Prefix, name string, dadCounter int) (id [8]byte) {
	high := prefix.Masked().Addr().As16()
	for n := uint32(0); ; n++ {
		h := sha256.New()
		h.Write(secret[:])
		h.Write(high[:8])
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(dadCounter)))
		h.Write(binary.BigEndian.AppendUint32(nil, n))
		h.Write([]byte(name))
		if copy(id[:], h.Sum(nil)); !reserved(id) {
			return id
		}
	}
}

// reserved reports whether an identifier is one that no host may give itself
// (RFC 5453).
func reserved(id [8]byte) bool {
	n := binary.BigEndian.Uint64(id[:])
	return n == 0 || // the subnet's routers (RFC 4291 §2.6.1)
		n>>24 == 0x02005efffe || // IANA's Ethernet block (RFC 5342)
		n >= 0xfdffffffffffff80 && n <= 0xfdffffffffffffff // anycast (RFC 2526)
}

// form makes an address of a prefix of 64 bits and an identifier.
func form(p netip.Prefix, id [8]byte) netip.Prefix {
	b := p.Masked().Addr().As16()
	copy(b[8:], id[:])
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}

// address makes the link's address in a prefix of 64 bits, after as many others
// as turned out to be taken. It reports false if there is none to be had.
func (a *Auto) address(l *autoLink, p netip.Prefix, taken int) (netip.Prefix, bool) {
	want := a.do.Privacy(l.adapter)
	var secret [16]byte
	switch want.Identifiers {
	case EUI64, NoLinkLocal:
		local := p.Addr().IsLinkLocalUnicast()
		return form(p, l.id), taken == 0 && !(local && want.Identifiers == NoLinkLocal)
	case StableOpaque:
		if !want.Secret.Is6() {
			return p, false
		}
		secret = want.Secret.As16()
	default:
		for l.secret == ([16]byte{}) {
			binary.BigEndian.PutUint64(l.secret[:], a.rand.Uint64())
			binary.BigEndian.PutUint64(l.secret[8:], a.rand.Uint64())
		}
		secret = l.secret
	}
	return form(p, stable(secret, p, l.name, taken)), taken <= idgenRetries
}

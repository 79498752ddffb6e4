package host

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"syscall"
	"time"
)

// limit is a bucket of tokens, each of which lets one event pass. It fills by
// one every interval, up to burst of them. The zero limit is full.
type limit struct {
	have time.Duration // tokens, as the time in which they come
	at   time.Duration // of the last look
	used bool
}

func (l *limit) take(now, interval time.Duration, burst int) bool {
	most := interval * time.Duration(burst)
	if !l.used {
		l.have, l.at, l.used = most, now, true
	}
	l.have = min(l.have+min(now-l.at, most), most)
	l.at = now
	if l.have < interval {
		return false
	}
	l.have -= interval
	return true
}

const (
	icmpPeers     = 256 // destinations of ICMP errors that are told apart
	icmpPeerBurst = 6   // errors to one at once (Linux: XRLIM_BURST_FACTOR)

	// Redirects to one sender come at intervals that double from the first
	// to the last, for who does not heed them once may not at all. After the
	// silence it is tried anew (Linux: redirect_load, redirect_number,
	// redirect_silence).
	redirectInterval = 20 * time.Millisecond
	redirectsMax     = 9
	redirectSilence  = redirectInterval << (redirectsMax + 1)
)

// icmpLimits keep what a host tells others of its own accord from becoming a
// flood (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)).
type icmpLimits struct {
	all   limit
	peers *[icmpPeers]icmpPeer // by hash, the last one of each; nil while there is none
}

type icmpPeer struct {
	addr       netip.Addr
	errors     limit
	redirects  int           // sent without a silence
	redirectAt time.Duration // of the last
}

// peer finds what is remembered of a destination.
func (l *icmpLimits) peer(seed uint64, ip netip.Addr) *icmpPeer {
	if l.peers == nil {
		l.peers = new([icmpPeers]icmpPeer)
	}
	p := &l.peers[hashAddr(seed, ip)%icmpPeers]
	if p.addr != ip {
		*p = icmpPeer{addr: ip}
	}
	return p
}

// hashAddr mixes an address with a secret, so that nobody outside can choose
// addresses that fall together.
func hashAddr(seed uint64, ip netip.Addr) uint64 {
	b := ip.As16()
	hi, lo := bits.Mul64(binary.BigEndian.Uint64(b[:])^seed, 0x9e3779b97f4a7c15)
	hi2, lo2 := bits.Mul64(binary.BigEndian.Uint64(b[8:])^hi^lo, seed|1)
	return hi2 ^ lo2
}

// mayError reports whether an ICMP error may be sent to a destination now. What
// tells of a path's MTU is never held back, nor what stays on this host.
func (ln *lane) mayError(to netip.Addr, c *icmpCause, loopback bool) bool {
	set := &ln.conf.set
	every, limited := set.ICMPRateLimit, c.type4 <= 31 && set.ICMPRateMask>>c.type4&1 != 0
	if to.Is6() {
		every, limited = set.ICMP6RateLimit, true
	}
	if loopback || !limited || c.errno == syscall.EMSGSIZE {
		return true
	}
	if !ln.icmpLimits.all.take(ln.now, time.Second/time.Duration(set.ICMPRate), set.ICMPBurst) {
		return false
	}
	return every <= 0 || ln.icmpLimits.peer(ln.tcp.seed, to).errors.take(ln.now, time.Duration(every)*time.Millisecond, icmpPeerBurst)
}

// mayRedirect reports whether a sender may be told now of a better way.
func (ln *lane) mayRedirect(to netip.Addr) bool {
	p := ln.icmpLimits.peer(ln.tcp.seed, to)
	since := ln.now - p.redirectAt
	switch {
	case p.redirects == 0 || since > redirectSilence:
		p.redirects = 0
	case p.redirects >= redirectsMax || since < redirectInterval<<p.redirects:
		return false
	}
	p.redirects, p.redirectAt = p.redirects+1, ln.now
	return true
}

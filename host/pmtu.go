package host

import (
	"net/netip"
	"time"
)

// Least path MTUs that are believed, in bytes: Linux's min_pmtu, and the least
// that IPv6 allows a link (RFC 8201 §4).
const (
	pathMTUMin4 = 552
	pathMTUMin6 = 1280
)

// plateaus are the usual MTUs, for routers that do not tell theirs (RFC 1191
// §7.1).
var plateaus = []int{65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, pathMTUMin4}

// learnPMTU takes the path MTU of a believable ICMP error about a packet to ip
// and returns what is believed. known is what was believed before.
func (ln *lane) learnPMTU(ip netip.Addr, mtu, known int) int {
	if ip.Is6() {
		mtu = max(mtu, pathMTUMin6)
	} else {
		if mtu == 0 {
			for _, mtu = range plateaus {
				if mtu < known {
					break
				}
			}
		}
		mtu = max(mtu, pathMTUMin4)
	}
	if mtu >= known {
		return known
	}
	if ln.host.pmtu.Learn(ln.now, ip, mtu) {
		if ln.pmtuTimer.Fire == nil {
			ln.pmtuTimer.Fire = func(now time.Duration) {
				ln.host.pmtu.Timeout(now)
				ln.schedule(&ln.pmtuTimer, ln.host.pmtu.Deadline())
			}
		}
		ln.scheduleLazily(&ln.pmtuTimer, ln.host.pmtu.Deadline())
	}
	return mtu
}

package host

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/towpath/towpath/ip/ifaddr"
	"github.com/towpath/towpath/ip/neigh"
)

// ipSysctls are the settings of IP that belong to no adapter.
var ipSysctls = map[string]sysctl{
	"net.ipv4.icmp_ratelimit":              offAtZero(func(s *Settings) *int { return &s.ICMPRateLimit }),
	"net.ipv6.icmp.ratelimit":              offAtZero(func(s *Settings) *int { return &s.ICMP6RateLimit }),
	"net.ipv4.icmp_msgs_burst":             integer(func(s *Settings) *int { return &s.ICMPBurst }, 1, 1<<16),
	"net.ipv4.icmp_echo_ignore_broadcasts": inverse(func(s *Settings) *bool { return &s.ICMPEchoBroadcasts }),
	"net.ipv4.fib_multipath_hash_policy":   boolean(func(s *Settings) *bool { return &s.MultipathL4 }),
	"net.ipv6.fib_multipath_hash_policy":   boolean(func(s *Settings) *bool { return &s.MultipathL4 }),
	"net.ipv4.icmp_ratemask": {
		func(s *Settings) string { return strconv.FormatUint(uint64(s.ICMPRateMask), 10) },
		func(s *Settings, v string) bool {
			n, err := strconv.ParseUint(v, 10, 32)
			s.ICMPRateMask = uint32(n)
			return err == nil && n != 0
		},
	},
	"net.ipv4.igmp_max_memberships":          integer(func(s *Settings) *int { return &s.IGMPMaxMemberships }, 1, 1<<16),
	"net.ipv4.igmp_max_msf":                  integer(func(s *Settings) *int { return &s.IGMPMaxSources }, 1, 1<<16),
	"net.ipv6.mld_max_msf":                   integer(func(s *Settings) *int { return &s.MLDMaxSources }, 1, 1<<16),
	"net.ipv4.igmp_link_local_mcast_reports": inverse(func(s *Settings) *bool { return &s.IGMPLocalQuiet }),
	"net.ipv4.igmp_qrv":                      integer(func(s *Settings) *int { return &s.IGMPRobustness }, 1, 10),
	"net.ipv6.mld_qrv":                       integer(func(s *Settings) *int { return &s.MLDRobustness }, 1, 10),
	// Source routes are refused whatever anybody says (RFC 7126 §4.3).
	"net.ipv4.conf.all.accept_source_route":     fixed("0"),
	"net.ipv4.conf.default.accept_source_route": fixed("0"),
	"net.ipv6.conf.all.accept_source_route":     fixed("-1"),
	"net.ipv6.conf.default.accept_source_route": fixed("-1"),
}

// offAtZero is a number of which 0 means that there is no limit; the field says
// so by a negative one.
func offAtZero(field func(s *Settings) *int) sysctl {
	return sysctl{
		func(s *Settings) string { return strconv.Itoa(max(*field(s), 0)) },
		func(s *Settings, v string) bool {
			n, err := strconv.Atoi(v)
			if err != nil || n < 0 || n > 1<<30 {
				return false
			}
			if n == 0 {
				n = -1
			}
			*field(s) = n
			return true
		},
	}
}

// fixed is a setting that can be read, and set to what it is.
func fixed(is string) sysctl {
	return sysctl{func(*Settings) string { return is }, func(_ *Settings, v string) bool { return v == is }}
}

// findLinkSysctl finds a setting of an adapter by its name: in net.ipv4.conf and
// net.ipv6.conf, of "all", "default" or an adapter, whose name may have dots.
func findLinkSysctl(name string) (of string, s linkSysctl, ok bool) {
	table := linkSysctls4
	rest, found := strings.CutPrefix(name, "net.ipv4.conf.")
	if !found {
		table = linkSysctls6
		if rest, found = strings.CutPrefix(name, "net.ipv6.conf."); !found {
			return "", s, false
		}
	}
	dot := strings.LastIndexByte(rest, '.')
	if dot < 0 {
		return "", s, false
	}
	s, ok = table[rest[dot+1:]]
	return rest[:dot], s, ok
}

// settingsOf lends the settings that a name in net.ipv4.conf means, nil if
// there is no such adapter.
func (c *linkConf) settingsOf(of string, index int32) *LinkSettings {
	switch {
	case of == "all":
		return &c.all
	case of == "default":
		return &c.deflt
	case index > 0:
		return &c.own[index]
	}
	return nil
}

// A neighSysctl is a parameter of neighbours by name: in net.ipv4.neigh and
// net.ipv6.neigh, of "default" or an adapter.
type neighSysctl struct {
	get func(*neigh.Params) int
	set func(*neigh.Params, int)
	low int
}

var neighSysctls = map[string]neighSysctl{
	"base_reachable_time_ms": neighTime(func(p *neigh.Params) *time.Duration { return &p.Reachable }, time.Millisecond),
	"base_reachable_time":    neighTime(func(p *neigh.Params) *time.Duration { return &p.Reachable }, time.Second),
	"retrans_time_ms":        neighTime(func(p *neigh.Params) *time.Duration { return &p.Retrans }, time.Millisecond),
	"delay_first_probe_time": neighTime(func(p *neigh.Params) *time.Duration { return &p.Delay }, time.Second),
	"ucast_solicit":          neighCount(func(p *neigh.Params) *int { return &p.Unicast }, 0),
	"mcast_solicit":          neighCount(func(p *neigh.Params) *int { return &p.Multicast }, 1),
	"unres_qlen_bytes":       neighCount(func(p *neigh.Params) *int { return &p.QueueBytes }, 0),
}

func neighTime(field func(*neigh.Params) *time.Duration, unit time.Duration) neighSysctl {
	return neighSysctl{
		func(p *neigh.Params) int { return int(*field(p) / unit) },
		func(p *neigh.Params, n int) { *field(p) = time.Duration(n) * unit }, 1,
	}
}

func neighCount(field func(*neigh.Params) *int, low int) neighSysctl {
	return neighSysctl{
		func(p *neigh.Params) int { return *field(p) },
		func(p *neigh.Params, n int) { *field(p) = n }, low,
	}
}

// findNeighSysctl finds a parameter of neighbours by its name.
func findNeighSysctl(name string) (of string, v6 bool, s neighSysctl, ok bool) {
	rest, found := strings.CutPrefix(name, "net.ipv4.neigh.")
	if !found {
		if rest, v6 = strings.CutPrefix(name, "net.ipv6.neigh."); !v6 {
			return "", false, s, false
		}
	}
	dot := strings.LastIndexByte(rest, '.')
	if dot < 0 {
		return "", false, s, false
	}
	s, ok = neighSysctls[rest[dot+1:]]
	return rest[:dot], v6, s, ok
}

// neighSysctl reads a parameter of neighbours.
func (h *Host) neighSysctl(of string, v6 bool, s neighSysctl) (string, syscall.Errno) {
	index := h.conf.Load().indexOf(of)
	if index == 0 && of != "default" {
		return "", syscall.ENOENT
	}
	p := h.neigh.Params(index, v6)
	return strconv.Itoa(s.get(&p)), 0
}

// setNeighSysctl writes a parameter of neighbours.
func (h *Host) setNeighSysctl(of string, v6 bool, s neighSysctl, value string) syscall.Errno {
	n, err := strconv.Atoi(value)
	if err != nil || n < s.low || n > 1<<30 {
		return syscall.EINVAL
	}
	h.mu.Lock() // no other writer between the reading and the writing
	defer h.mu.Unlock()
	index := h.conf.Load().indexOf(of)
	if index == 0 && of != "default" {
		return syscall.ENOENT
	}
	p := h.neigh.Params(index, v6)
	s.set(&p, n)
	h.neigh.SetParams(index, v6, p)
	return 0
}

func (c *config) indexOf(name string) int32 {
	if a := c.byName(name); a != nil {
		return a.Index()
	}
	return 0
}

// linkSysctl reads a setting of an adapter.
func (h *Host) linkSysctl(of string, s linkSysctl) (string, syscall.Errno) {
	c := h.conf.Load()
	l := c.links.settingsOf(of, c.indexOf(of))
	if l == nil {
		return "", syscall.ENOENT
	}
	return strconv.Itoa(*s.field(l)), 0
}

// setLinkSysctl writes a setting of an adapter.
func (h *Host) setLinkSysctl(of string, s linkSysctl, value string) syscall.Errno {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > s.most {
		return syscall.EINVAL
	}
	err = h.edit(func(c *config) error {
		index := c.indexOf(of)
		if c.links.settingsOf(of, index) == nil {
			return syscall.ENOENT
		}
		c.links = c.links.edited(len(c.adapters), func(l *linkConf) { *s.field(l.settingsOf(of, index)) = n })
		return nil
	})
	if err != nil {
		return syscall.ENOENT
	}
	h.publishAuto() // which addresses are preferred may have changed
	return 0
}

// stableSecret tells whose secret a name means, if it is that of one.
func stableSecret(name string) (of string, ok bool) {
	of, ok = strings.CutPrefix(name, "net.ipv6.conf.")
	if ok {
		of, ok = strings.CutSuffix(of, ".stable_secret")
	}
	return of, ok
}

// stableSecret reads the secret that identifiers are made with. Like Linux it
// fails with EIO if there is none.
func (h *Host) stableSecret(of string) (string, syscall.Errno) {
	c := h.conf.Load()
	l := c.links.settingsOf(of, c.indexOf(of))
	switch {
	case l == nil:
		return "", syscall.ENOENT
	case !l.StableSecret.IsValid():
		return "", syscall.EIO
	}
	b := l.StableSecret.As16()
	var words []string
	for i := 0; i < len(b); i += 2 {
		words = append(words, fmt.Sprintf("%02x%02x", b[i], b[i+1]))
	}
	return strings.Join(words, ":"), 0
}

// setStableSecret writes it, which also has it used: by one adapter, or by
// default by all there are and will be.
func (h *Host) setStableSecret(of, value string) syscall.Errno {
	ip, err := netip.ParseAddr(value)
	if err != nil || !ip.Is6() || ip.Zone() != "" || of == "all" {
		return syscall.EIO
	}
	err = h.edit(func(c *config) error {
		index := c.indexOf(of)
		if c.links.settingsOf(of, index) == nil {
			return syscall.ENOENT
		}
		c.links = c.links.edited(len(c.adapters), func(l *linkConf) {
			own := l.settingsOf(of, index)
			own.StableSecret, own.AddrGenMode = ip, int(ifaddr.StableOpaque)
			if of == "default" {
				for i := range l.own {
					l.own[i].AddrGenMode = int(ifaddr.StableOpaque)
				}
			}
		})
		return nil
	})
	if err != nil {
		return syscall.ENOENT
	}
	return 0
}

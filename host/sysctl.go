package host

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/towpath/towpath/tcp"
	"github.com/towpath/towpath/tcp/cc"
)

// A sysctl is one of Linux's settings by name: how it is read from a host's
// settings and written to them. Values are numbers separated by white space,
// or words.
type sysctl struct {
	get func(s *Settings) string
	set func(s *Settings, v string) bool // reports whether v is a value for it
}

// sysctls are the settings that act, under the names of /proc/sys with dots.
var sysctls = map[string]sysctl{
	"net.ipv4.ip_forward":             boolean(func(s *Settings) *bool { return &s.Forward }),
	"net.ipv4.conf.all.forwarding":    boolean(func(s *Settings) *bool { return &s.Forward }),
	"net.ipv6.conf.all.forwarding":    boolean(func(s *Settings) *bool { return &s.Forward }),
	"net.ipv4.icmp_echo_ignore_all":   boolean(func(s *Settings) *bool { return &s.ICMPEchoIgnoreAll }),
	"net.ipv6.icmp.echo_ignore_all":   boolean(func(s *Settings) *bool { return &s.ICMPEchoIgnoreAll }),
	"net.ipv4.icmp_msgs_per_sec":      integer(func(s *Settings) *int { return &s.ICMPRate }, 0, 1<<20),
	"net.ipv4.tcp_timestamps":         inverse(func(s *Settings) *bool { return &s.TCPNoTimestamps }),
	"net.ipv4.tcp_window_scaling":     inverse(func(s *Settings) *bool { return &s.TCPNoWindowScaling }),
	"net.ipv4.tcp_sack":               inverse(func(s *Settings) *bool { return &s.TCPNoSACK }),
	"net.ipv4.tcp_max_syn_backlog":    integer(func(s *Settings) *int { return &s.SynBacklog }, 1, 1<<20),
	"net.ipv4.tcp_max_tw_buckets":     integer(func(s *Settings) *int { return &s.TimeWaitMax }, 0, 1<<24),
	"net.core.somaxconn":              integer(func(s *Settings) *int { return &s.Somaxconn }, 1, 1<<20),
	"net.core.rmem_default":           integer(func(s *Settings) *int { return &s.UDPRcvBuf }, 2304, 1<<30),
	"net.ipv4.tcp_syn_retries":        integer(func(s *Settings) *int { return &s.TCPSynRetries }, 1, 127),
	"net.ipv4.tcp_synack_retries":     integer(func(s *Settings) *int { return &s.TCPSynAckRetries }, 1, 127),
	"net.ipv4.tcp_retries2":           integer(func(s *Settings) *int { return &s.TCPRetries2 }, 1, 127),
	"net.ipv4.tcp_orphan_retries":     integer(func(s *Settings) *int { return &s.TCPOrphanRetries }, 1, 127),
	"net.ipv4.tcp_abort_on_overflow":  boolean(func(s *Settings) *bool { return &s.TCPAbortOnOverflow }),
	"net.ipv4.tcp_rfc1337":            boolean(func(s *Settings) *bool { return &s.TCPRFC1337 }),
	"net.ipv4.tcp_fin_timeout":        integer(func(s *Settings) *int { return &s.TCPFinTimeout }, 1, 3600),
	"net.ipv4.tcp_keepalive_time":     integer(func(s *Settings) *int { return &s.TCPKeepIdle }, 1, 32767),
	"net.ipv4.tcp_keepalive_intvl":    integer(func(s *Settings) *int { return &s.TCPKeepInterval }, 1, 32767),
	"net.ipv4.tcp_keepalive_probes":   integer(func(s *Settings) *int { return &s.TCPKeepProbes }, 1, 127),
	"net.ipv6.bindv6only":             boolean(func(s *Settings) *bool { return &s.BindV6Only }),
	"net.ipv4.tcp_fastopen":           {getFastOpen, setFastOpen},
	"net.ipv4.tcp_fastopen_key":       {getFastOpenKeys, setFastOpenKeys},
	"net.ipv4.tcp_rmem":               triple(func(s *Settings) (def, max *int) { return &s.TCPRcvBuf, &s.TCPRcvBufMax }),
	"net.ipv4.tcp_wmem":               triple(func(s *Settings) (def, max *int) { return &s.TCPSndBuf, &s.TCPSndBufMax }),
	"net.ipv4.ip_default_ttl":         {getTTL, setTTL},
	"net.ipv4.tcp_ecn":                {getECN, setECN},
	"net.ipv4.tcp_frto":               {getFRTO, setFRTO},
	"net.ipv4.tcp_syncookies":         inverse(func(s *Settings) *bool { return &s.NoSynCookies }),
	"net.ipv4.ip_local_port_range":    {getPorts, setPorts},
	"net.ipv4.tcp_congestion_control": {func(s *Settings) string { return s.TCPCongestion }, setCongestion},
	"net.ipv6.conf.all.accept_ra":     inverse(func(s *Settings) *bool { return &s.NoAcceptRA }),
	"net.ipv6.conf.default.accept_ra": inverse(func(s *Settings) *bool { return &s.NoAcceptRA }),
	"net.ipv4.tcp_available_congestion_control": {
		func(*Settings) string { return strings.Join(cc.Names(), " ") }, func(*Settings, string) bool { return false },
	},
	"net.ipv4.tcp_allowed_congestion_control": {func(s *Settings) string { return s.TCPCongestionAllowed }, setAllowed},
}

func boolean(field func(s *Settings) *bool) sysctl {
	return sysctl{
		func(s *Settings) string { return strconv.Itoa(boolNumber(*field(s))) },
		func(s *Settings, v string) bool {
			n, err := strconv.Atoi(v)
			*field(s) = n != 0
			return err == nil
		},
	}
}

// inverse is a setting that is on unless the field is set.
func inverse(field func(s *Settings) *bool) sysctl {
	return sysctl{
		func(s *Settings) string { return strconv.Itoa(boolNumber(!*field(s))) },
		func(s *Settings, v string) bool {
			n, err := strconv.Atoi(v)
			*field(s) = n == 0
			return err == nil
		},
	}
}

func boolNumber(b bool) int {
	if b {
		return 1
	}
	return 0
}

func integer(field func(s *Settings) *int, low, high int) sysctl {
	return sysctl{
		func(s *Settings) string { return strconv.Itoa(*field(s)) },
		func(s *Settings, v string) bool {
			n, err := strconv.Atoi(v)
			if err != nil || n < low || n > high {
				return false
			}
			*field(s) = n
			return true
		},
	}
}

// triple is minimum, default and maximum of a buffer; the minimum is fixed.
func triple(field func(s *Settings) (def, max *int)) sysctl {
	return sysctl{
		func(s *Settings) string {
			def, most := field(s)
			return "4096\t" + strconv.Itoa(*def) + "\t" + strconv.Itoa(*most)
		},
		func(s *Settings, v string) bool {
			words := strings.Fields(v)
			var n [3]int
			if len(words) != len(n) {
				return false
			}
			for i, w := range words {
				var err error
				if n[i], err = strconv.Atoi(w); err != nil || n[i] < 1 || n[i] > 1<<30 {
					return false
				}
			}
			def, most := field(s)
			*def, *most = n[1], max(n[1], n[2])
			return true
		},
	}
}

// ecnModes are the modes by Linux's numbers.
var ecnModes = []tcp.ECNMode{tcp.ECNOff, tcp.ECNOn, tcp.ECNAccept}

func getECN(s *Settings) string { return strconv.Itoa(slices.Index(ecnModes, s.TCPECN)) }

func setECN(s *Settings, v string) bool {
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n >= len(ecnModes) {
		return false
	}
	s.TCPECN = ecnModes[n]
	return true
}

// Linux's default is 2, which means the same as 1.
func getFRTO(s *Settings) string { return strconv.Itoa(2 * boolNumber(!s.TCPNoFRTO)) }

func setFRTO(s *Settings, v string) bool {
	n, err := strconv.Atoi(v)
	s.TCPNoFRTO = n == 0
	return err == nil && n >= 0 && n <= 2
}

func getTTL(s *Settings) string { return strconv.Itoa(int(s.TTL)) }

func setTTL(s *Settings, v string) bool {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > 255 {
		return false
	}
	s.TTL = uint8(n)
	return true
}

func getPorts(s *Settings) string {
	return strconv.Itoa(int(s.PortMin)) + "\t" + strconv.Itoa(int(s.PortMax))
}

func setPorts(s *Settings, v string) bool {
	words := strings.Fields(v)
	if len(words) != 2 {
		return false
	}
	low, err1 := strconv.ParseUint(words[0], 10, 16)
	high, err2 := strconv.ParseUint(words[1], 10, 16)
	if err1 != nil || err2 != nil || low == 0 || low > high {
		return false
	}
	s.PortMin, s.PortMax = uint16(low), uint16(high)
	return true
}

func setCongestion(s *Settings, v string) bool {
	s.TCPCongestion = v
	return cc.New(v) != nil
}

func setAllowed(s *Settings, v string) bool {
	s.TCPCongestionAllowed = strings.Join(strings.Fields(v), " ")
	return s.checkCongestion() == nil
}

// remembered are settings of Linux that can be written and read back, and with
// which nothing happens: buffers and fragments are bounded by other settings
// here, nothing is remembered of peers, there is no queue below a connection
// that would have to be kept short (tcp_limit_output_bytes, tcp_autocorking),
// and what is not there cannot be turned on. Their values are Linux's before
// anybody has written any.
var remembered = map[string]string{
	"net.ipv4.tcp_autocorking": "1", "net.ipv4.tcp_limit_output_bytes": "4194304",
	"net.ipv4.tcp_adv_win_scale": "1", "net.ipv4.tcp_no_metrics_save": "0", "net.ipv4.tcp_mem": "187380\t249843\t374760",
	"net.core.wmem_default": "212992",
	"net.ipv4.ipfrag_time":  "30", "net.ipv4.ipfrag_high_thresh": "4194304", "net.ipv6.ip6frag_time": "60",
	"net.ipv4.ip_no_pmtu_disc": "0", "net.ipv4.tcp_l3mdev_accept": "0",
}

func findSysctl(name string) (sysctl, bool) {
	if c, ok := ipSysctls[name]; ok {
		return c, true
	}
	if c, ok := tcpSysctls[name]; ok {
		return c, true
	}
	c, ok := sysctls[name]
	return c, ok
}

// Sysctl reads one of Linux's settings by its name, such as
// "net.ipv4.tcp_sack"; slashes may stand for the dots. It fails with ENOENT if
// there is no such setting.
func (h *Host) Sysctl(name string) (string, syscall.Errno) {
	name = strings.ReplaceAll(name, "/", ".")
	if c, ok := findSysctl(name); ok {
		s := h.Settings()
		return c.get(&s), 0
	}
	if of, s, ok := findLinkSysctl(name); ok {
		return h.linkSysctl(of, s)
	}
	if of, ok := stableSecret(name); ok {
		return h.stableSecret(of)
	}
	if of, v6, s, ok := findNeighSysctl(name); ok {
		return h.neighSysctl(of, v6, s)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if v, ok := h.remembered[name]; ok {
		return v, 0
	}
	if v, ok := remembered[name]; ok {
		return v, 0
	}
	return "", syscall.ENOENT
}

// SetSysctl writes one of Linux's settings. It fails with EINVAL if the value
// is none for it.
func (h *Host) SetSysctl(name, value string) syscall.Errno {
	name, value = strings.ReplaceAll(name, "/", "."), strings.TrimSpace(value)
	if of, s, ok := findLinkSysctl(name); ok {
		return h.setLinkSysctl(of, s, value)
	}
	if of, ok := stableSecret(name); ok {
		return h.setStableSecret(of, value)
	}
	if of, v6, s, ok := findNeighSysctl(name); ok {
		return h.setNeighSysctl(of, v6, s, value)
	}
	c, ok := findSysctl(name)
	if !ok {
		if _, ok := remembered[name]; !ok {
			return syscall.ENOENT
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.remembered == nil {
			h.remembered = make(map[string]string)
		}
		h.remembered[name] = value
		return 0
	}
	s := h.Settings()
	if !c.set(&s, value) {
		return syscall.EINVAL
	}
	if err := h.SetSettings(s); err != nil {
		return syscall.EINVAL
	}
	return 0
}

// SysctlNames are the names that [Host.Sysctl] knows now, in order.
func (h *Host) SysctlNames() []string {
	c := h.conf.Load()
	names := slices.Concat(slices.Collect(maps.Keys(sysctls)), slices.Collect(maps.Keys(ipSysctls)), slices.Collect(maps.Keys(remembered)))
	of := []string{"all", "default"}
	for _, a := range c.adapters[1:] {
		if a != nil {
			of = append(of, a.Name())
		}
	}
	for _, name := range of {
		for key := range linkSysctls4 {
			names = append(names, "net.ipv4.conf."+name+"."+key)
		}
		for key := range linkSysctls6 {
			names = append(names, "net.ipv6.conf."+name+"."+key)
		}
		for key := range neighSysctls {
			names = append(names, "net.ipv4.neigh."+name+"."+key, "net.ipv6.neigh."+name+"."+key)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return slices.DeleteFunc(names, func(name string) bool { // such as what has no "all"
		_, e := h.Sysctl(name)
		return e != 0
	})
}

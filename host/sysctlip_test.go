package host_test

import (
	"syscall"
	"testing"

	"github.com/towpath/towpath/host"
)

// TestSysctlIP reads and writes IP's settings by Linux's names.
func TestSysctlIP(t *testing.T) {
	r := rawHost(t, host.Config{})
	for _, c := range []struct {
		name, was, set string
		e              syscall.Errno
		is             string
	}{
		{"net.ipv4.conf.all.rp_filter", "0", "2", 0, "2"},
		{"net.ipv4.conf.eth0.rp_filter", "0", "3", syscall.EINVAL, "0"},
		{"net/ipv4/conf/eth0/rp_filter", "0", "1", 0, "1"},
		{"net.ipv4.conf.default.arp_ignore", "0", "2", 0, "2"},
		{"net.ipv4.conf.eth0.arp_ignore", "0", "x", syscall.EINVAL, "0"},
		{"net.ipv4.conf.eth0.send_redirects", "1", "0", 0, "0"},
		{"net.ipv6.conf.eth0.accept_redirects", "1", "0", 0, "0"},
		{"net.ipv4.conf.eth9.rp_filter", "", "1", syscall.ENOENT, ""},
		{"net.ipv4.conf.rp_filter", "", "1", syscall.ENOENT, ""},
		{"net.ipv4.conf.eth0.nothing", "", "1", syscall.ENOENT, ""},
		{"net.ipv4.conf.all.accept_source_route", "0", "1", syscall.EINVAL, "0"},
		{"net.ipv4.icmp_ratelimit", "1000", "0", 0, "0"},
		{"net.ipv6.icmp.ratelimit", "1000", "-1", syscall.EINVAL, "1000"},
		{"net.ipv4.icmp_ratemask", "6168", "8", 0, "8"},
		{"net.ipv4.icmp_msgs_burst", "50", "0", syscall.EINVAL, "50"},
		{"net.ipv4.icmp_echo_ignore_broadcasts", "1", "0", 0, "0"},
		{"net.ipv4.igmp_max_memberships", "20", "0", syscall.EINVAL, "20"},
		{"net.ipv4.igmp_max_msf", "10", "5", 0, "5"},
		{"net.ipv6.mld_max_msf", "64", "65", 0, "65"},
		{"net.ipv4.igmp_qrv", "2", "11", syscall.EINVAL, "2"},
		{"net.ipv6.mld_qrv", "2", "3", 0, "3"},
		{"net.ipv4.igmp_link_local_mcast_reports", "1", "0", 0, "0"},
		{"net.ipv4.conf.all.force_igmp_version", "0", "3", 0, "3"},
		{"net.ipv6.conf.eth0.force_mld_version", "0", "3", syscall.EINVAL, "0"},
		{"net.ipv4.conf.eth0.igmpv2_unsolicited_report_interval", "10000", "500", 0, "500"},
		{"net.ipv6.conf.eth0.mldv2_unsolicited_report_interval", "1000", "500", 0, "500"},
		{"net.ipv6.conf.eth0.addr_gen_mode", "0", "4", syscall.EINVAL, "0"},
		{"net.ipv6.conf.eth0.use_tempaddr", "0", "2", 0, "2"},
		{"net.ipv6.conf.eth0.temp_valid_lft", "604800", "3600", 0, "3600"},
		{"net.ipv6.conf.eth0.temp_prefered_lft", "86400", "1800", 0, "1800"},
		{"net.ipv6.conf.eth0.max_desync_factor", "600", "0", 0, "0"},
		{"net.ipv6.conf.eth0.regen_max_retry", "3", "1", 0, "1"},
		{"net.ipv6.conf.eth0.regen_min_advance", "2", "x", syscall.EINVAL, "2"},
		{"net.ipv6.conf.eth0.stable_secret", "", "none", syscall.EIO, ""},
	} {
		if v, _ := r.host.Sysctl(c.name); v != c.was {
			t.Errorf("%s = %q, want %q", c.name, v, c.was)
		}
		if e := r.host.SetSysctl(c.name, c.set); e != c.e {
			t.Errorf("%s = %s: %v, want %v", c.name, c.set, e, c.e)
		}
		if v, _ := r.host.Sysctl(c.name); v != c.is {
			t.Errorf("%s = %q after %q, want %q", c.name, v, c.set, c.is)
		}
	}
	narrow(t, r.host)
	if v, _ := r.host.Sysctl("net.ipv4.conf.eth1.arp_ignore"); v != "2" {
		t.Errorf("a new adapter has arp_ignore %s, want the default 2", v)
	}
}

package kernelrouter

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/internal/testenv"
)

// A Router is the network namespace that the test runs in, with the devices tun0
// and tun1. Network i is 10.0.i.0/24 and 2001:db8:i::/64; the router has the
// addresses 10.0.i.254 and 2001:db8:i::fe.
type Router struct {
	t  testing.TB
	fd [2]int
}

// New sets the router up with rules in nft's language. It skips the test if the
// kernel or the tools for it are not there.
func New(t testing.TB, rules string) *Router {
	testenv.NeedsTUN(t)
	testenv.NeedsTool(t, "ip", "nft")
	r := &Router{t: t}
	for i, name := range []string{"tun0", "tun1"} {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		req, err := unix.NewIfreq(name)
		if err != nil {
			t.Fatal(err)
		}
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
			t.Fatal(err)
		}
		r.fd[i] = fd
	}
	r.Sysctl("net/ipv4/ip_forward", "1")
	r.Sysctl("net/ipv6/conf/all/forwarding", "1")
	r.Sysctl("net/ipv4/conf/all/rp_filter", "0")
	// Errors are to be seen as often as they are made.
	r.Sysctl("net/ipv4/icmp_ratelimit", "0")
	r.run("ip", "link", "set", "lo", "up")
	for i, name := range []string{"tun0", "tun1"} {
		n := string(rune('0' + i))
		r.Sysctl("net/ipv6/conf/"+name+"/addr_gen_mode", "1") // no link-local chatter
		r.run("ip", "addr", "add", "10.0."+n+".254/24", "dev", name)
		r.run("ip", "addr", "add", "2001:db8:"+n+"::fe/64", "dev", name, "nodad")
		r.run("ip", "link", "set", name, "up")
	}
	r.Rules(rules)
	return r
}

func (r *Router) run(name string, args ...string) {
	r.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		r.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// Sysctl writes a setting below /proc/sys.
func (r *Router) Sysctl(name, value string) {
	r.t.Helper()
	if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
		r.t.Fatal(err)
	}
}

// Rules replaces the rules. It skips the test if the kernel has no nf_tables.
func (r *Router) Rules(rules string) {
	r.t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader("flush ruleset\n" + rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		if bytes.Contains(out, []byte("not supported")) || bytes.Contains(out, []byte("No such file")) {
			r.t.Skipf("the kernel's nf_tables: %s", out)
		}
		r.t.Fatalf("nft: %v\n%s", err, out)
	}
}

// Send writes an IP packet to a network.
func (r *Router) Send(network int, ip []byte) {
	r.t.Helper()
	if _, err := unix.Write(r.fd[network], ip); err != nil {
		r.t.Fatal(err)
	}
}

// Receive reads the next packet that comes out at a network, nil if none comes
// within wait. Neighbour discovery and group membership are not shown.
func (r *Router) Receive(network int, wait time.Duration) []byte {
	r.t.Helper()
	b := make([]byte, 65536)
	for end := time.Now().Add(wait); ; {
		n, err := unix.Read(r.fd[network], b)
		switch {
		case err == nil && !chatter(b[:n]):
			return b[:n]
		case err == nil || err == unix.EINTR:
			continue
		case err != unix.EAGAIN:
			r.t.Fatal(err)
		}
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		unix.Poll([]unix.PollFd{{Fd: int32(r.fd[network]), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
	}
}

// chatter reports whether a packet is one that the kernel sends by itself.
func chatter(ip []byte) bool {
	switch {
	case len(ip) >= 20 && ip[0]>>4 == 4:
		return ip[9] == unix.IPPROTO_IGMP
	case len(ip) > 48 && ip[0]>>4 == 6:
		t := ip[40]
		if ip[6] == 0 { // a hop-by-hop header, as MLD has
			t = ip[48]
		}
		return (ip[6] == unix.IPPROTO_ICMPV6 || ip[6] == 0) && (t >= 130 && t <= 137 || t == 143)
	}
	return false
}

// Pass sends a packet in at a network and returns what comes out at the other,
// nil if nothing does.
func (r *Router) Pass(network int, ip []byte) []byte {
	r.t.Helper()
	r.Send(network, ip)
	return r.Receive(1-network, time.Second)
}

// Flows returns the lines of the kernel's table of connections.
func (r *Router) Flows() []string {
	r.t.Helper()
	b, err := os.ReadFile("/proc/net/nf_conntrack")
	if err != nil {
		r.t.Skipf("the kernel does not list connections: %v", err)
	}
	if len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

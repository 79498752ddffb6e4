package expr

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/towpath/towpath/capture/bpf"
	"github.com/towpath/towpath/wire"
)

// row joins n primitives, of which the format gets the numbers i%wrap and i%256.
func row(format string, n, wrap int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(format, i%wrap, i%256))
	}
	return strings.Join(list, " or ")
}

// TestErrors says what is said about expressions that make no sense.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		link    wire.LinkType
		expr    string
		pos     int
		message string
	}{
		{EN10MB, "tcp prot 80", 4, `expected "and", "or" or the end, found "prot"; did you mean "port"?`},
		{EN10MB, "prot 80", 0, `did you mean "port"?`},
		{EN10MB, "foo", 0, `write "host foo"`},
		{EN10MB, "80", 0, `write "port 80"`},
		{EN10MB, "10.0.0.1", 0, `write "host 10.0.0.1"`},
		{EN10MB, "::1", 0, `write "host ::1"`},
		{EN10MB, "1:2:3:4:5:6", 0, `write "ether host 1:2:3:4:5:6"`},
		{EN10MB, "tcp and 80", 8, `"tcp" says too little about a value alone, found "80"`},
		{EN10MB, "(port 80) or 443", 13, `found "443"`},
		{EN10MB, "vlan 100 or 200", 12, `found "200"`},
		{EN10MB, "mpls 16 or 17", 11, `found "17"`},
		{EN10MB, "port", 4, `expected a value for "port", but the expression ends`},
		{EN10MB, "tcp port", 8, `expected a value for "tcp port"`},
		{EN10MB, "port 80 and", 11, `the expression ends`},
		{EN10MB, "port 80)", 7, `there is no "(" for it`},
		{EN10MB, "(port 80", 8, `expected ")"`},
		{EN10MB, "port 70000", 5, "at most 65535"},
		{EN10MB, "port 08", 5, "octal; write 8"},
		{EN10MB, "len = 4294967296", 6, "32 bits"},
		{EN10MB, "ip port 80", 8, `"ip" has no ports`},
		{EN10MB, "host 1.2.3.400", 5, "at most 255"},
		{EN10MB, "host 10.0.0.1/8", 13, `write "net 10.0.0.1"`},
		{EN10MB, "net 10.0.0.1/8", 4, "write 10.0.0.0/8"},
		{EN10MB, "net 10.0.0.0/33", 13, "at most 32"},
		{EN10MB, "net 10.0.0.0 mask 255.0.255.0x", 18, "expected a mask"},
		{EN10MB, "net 2001:db8::1/32", 16, "behind the first 32"},
		{EN10MB, "net ::/129", 7, "at most 128"},
		{EN10MB, "host ::1/64", 9, `write "net ::1"`},
		{EN10MB, "port ::1", 5, "no port"},
		{EN10MB, "net ::1 mask 1.2.3.4", 8, "masks are for IPv4"},
		{EN10MB, "host 1:2:3:4:5", 5, "no address"},
		{EN10MB, "host nosuchhost", 5, "not looked up in the DNS"},
		{EN10MB, "port nosuchservice", 5, "not known"},
		{EN10MB, "net nosuchnet", 4, "not known"},
		{EN10MB, `ip proto \nosuch`, 9, "not known"},
		{EN10MB, `ether proto \nosuch`, 12, "not known"},
		{EN10MB, "ether host nosuch", 11, "not known"},
		{EN10MB, "gateway nosuch", 8, "not known"},
		{EN10MB, "gateway 10.0.0.1", 8, "a gateway is a name"},
		{EN10MB, "host tcp", 5, `found "tcp"`},
		{EN10MB, "ip proto 256", 9, "at most 255"},
		{EN10MB, "ether host 10.0.0.1", 11, "needs a station address"},
		{EN10MB, "host 1:2:3:4:5:6", 5, `"ether host"`},
		{EN10MB, "ip6 host 10.0.0.1", 9, `"ip6" has no IPv4 addresses`},
		{EN10MB, "ip host ::1", 8, `"ip" has no IPv6 addresses`},
		{EN10MB, "tcp host 10.0.0.1", 9, `"tcp" has no IPv4 addresses`},
		{EN10MB, "host addr1", 5, `found "addr1"`},
		{EN10MB, "addr1 10.0.0.1", 6, "802.11 only"},
		{EN10MB, "src src 10.0.0.1", 4, `found "src"`},
		{EN10MB, "src or src 10.0.0.1", 4, `expected a value for "src"`},
		{EN10MB, "vlan 4096", 5, "at most 4095"},
		{EN10MB, "mpls 1048576", 5, "at most 1048575"},
		{EN10MB, "pppoes 65536", 7, "at most 65535"},
		{EN10MB, "geneve 16777216", 7, "at most 16777215"},
		{EN10MB, "vxlan 16777216", 6, "at most 16777215"},
		{EN10MB, "mpls and arp", 9, "only IPv4 and IPv6"},
		{EN10MB, "mpls and vlan", 9, "no VLAN is found behind MPLS"},
		{RAW, "vlan", 0, "no VLANs"},
		{RAW, "mpls", 0, "no MPLS"},
		{RAW, "ether host 1:2:3:4:5:6", 11, "on Ethernet"},
		{RAW, "broadcast", 0, "no broadcasts"},
		{RAW, "multicast", 0, "no multicast"},
		{RAW, "llc", 0, "no LLC"},
		{EN10MB, "llc foo", 4, "a kind of LLC frame"},
		{EN10MB, "tcp broadcast", 4, `only "ether broadcast"`},
		{EN10MB, "tcp multicast", 4, `only "ether multicast"`},
		{EN10MB, "inbound", 0, "which way"},
		{EN10MB, "ifindex 1", 8, "which interface"},
		{EN10MB, "ifname eth0", 0, "packet filter"},
		{PFLOG, "reason nosuch", 7, "expected a reason: match"},
		{PFLOG, "action nosuch", 7, "expected an action: accept"},
		{PFLOG, "ifname abcdefghijklmnop", 7, "at most 15 bytes"},
		{PFLOG, "ifname", 6, `a name behind "ifname"`},
		{PFLOG, "rnr x", 4, "a rule's number"},
		{EN10MB, "type mgt", 0, "802.11"},
		{IEEE802_11, "type foo", 5, "mgt, ctl, data"},
		{IEEE802_11, "type 1", 5, "mgt, ctl, data"},
		{IEEE802_11, "subtype foo", 8, "name of a subtype"},
		{IEEE802_11, "type ctl subtype beacon", 17, "subtype of this type"},
		{IEEE802_11, "dir sideways", 4, "nods, tods, fromds or dstods"},
		{IEEE802_11, "dir 4", 4, "nods, tods"},
		{EN10MB, "lane", 0, "about ATM"},
		{EN10MB, "vpi 1", 0, "about ATM"},
		{SUNATM, "vpi 256", 4, "at most 255"},
		{SUNATM, "vci 65536", 4, "at most 65535"},
		{SUNATM, "vpi (1 or x)", 10, "expected a number"},
		{EN10MB, "fisu", 0, "about SS7"},
		{EN10MB, "opc 1", 0, "about SS7"},
		{MTP2, "opc 16384", 4, "at most 16383"},
		{MTP2, "sls 16", 4, "at most 15"},
		{MTP2, "sio 256", 4, "at most 255"},
		{MTP2, "ip", 0, "only link[…], len"},
		{145, "tcp", 0, "only link[…], len"},
		{EN10MB, "ip[0", 4, `expected "]"`},
		{EN10MB, "ip[0:3] = 1", 5, "1, 2 or 4"},
		{EN10MB, "ip[0]", 5, "expected a comparison"},
		{EN10MB, "ip[0] = ", 8, "expected a number"},
		{EN10MB, "ip[] = 1", 3, "expected a number"},
		{EN10MB, "esp[0] = 1", 5, `"esp" cannot be indexed`},
		{EN10MB, "radio[0] = 1", 7, "no radio header"},
		{EN10MB, "ip[0] / 0 = 1", 6, "division by zero"},
		{EN10MB, "ip[0] % (2 - 2) = 1", 6, "division by zero"},
		{EN10MB, "ip[0] << 32 = 1", 6, "more than 31"},
		{EN10MB, "ip[0] >> 32 = 1", 6, "more than 31"},
		{EN10MB, "byte 1 + 2", 7, "= < > & |"},
		{EN10MB, "byte x", 5, "an offset"},
		{EN10MB, "less", 4, "a length"},
		{EN10MB, "ether", 5, `a primitive behind "link"`},
		{EN10MB, "decnet host 1", 12, "like 10.15"},
		{EN10MB, "decnet host 64.1", 12, "at most 63"},
		{EN10MB, "decnet host x", 12, "no names"},
		{EN10MB, "ether host $1f", 11, "on ARCnet only"},
		{EN10MB, "host $1f", 5, "ARCnet address needs"},
		{EN10MB, "host $zz", 5, "hexadecimal"},
		{EN10MB, `host \`, 5, "a name behind"},
		{EN10MB, "tcp protochain 6", 15, "only IPv4 and IPv6"},
		{EN10MB, "tcp proto 6", 10, "no protocols above"},
		{EN10MB, "src proto 6", 4, `found "proto"`},
		{EN10MB, "tcp ~ udp", 4, `"~" has no meaning`},
		{EN10MB, "not", 3, "the expression ends"},
		{EN10MB, "()", 1, "expected a primitive"},
		{EN10MB, "ip broadcast and", 16, "the expression ends"},
		{EN10MB, strings.Repeat("(", 600) + "ip" + strings.Repeat(")", 600), 500, "more than 500"},
		{EN10MB, strings.Repeat("not ", 600) + "ip", 2000, "more than 500"},
		{EN10MB, "ip[" + strings.Repeat("(", 600), 501, "more than 500"},
		{EN10MB, strings.Repeat("geneve and ", 9) + "ip", 33, "too many headers"},
		{EN10MB, row("ip[%d] = %d", 5000, 5000), 0, "4096"},
	} {
		_, err := Compile(c.expr, config(c.link, true))
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%.60q: error %v", c.expr, err)
			continue
		}
		if e.Pos != c.pos || !strings.Contains(e.Error(), c.message) {
			t.Errorf("%.60q: error at %d: %v; want at %d: …%s…", c.expr, e.Pos, e, c.pos, c.message)
		}
		if e.Pos > e.End || e.End > len(c.expr) || !strings.Contains(e.Show(), "^") {
			t.Errorf("%.60q: from %d to %d", c.expr, e.Pos, e.End)
		}
	}
	if _, err := Compile("ip broadcast", Config{Link: EN10MB}); err == nil || !strings.Contains(err.Error(), "netmask") {
		t.Errorf("without a netmask: %v", err)
	}
	if _, err := Compile("ip", Config{Link: 9999}); err == nil {
		t.Error("an unknown link type is accepted")
	}
	if _, err := Compile(strings.Repeat(" ", lengthMax+1), Config{}); err == nil {
		t.Error("a very long expression is accepted")
	}
}

// dictionary is a Names of a few names.
type dictionary struct{}

func (dictionary) Host(name string) []netip.Addr {
	if name == "gw" {
		return []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")}
	}
	return nil
}

func (dictionary) Ether(name string) (net.HardwareAddr, bool) {
	return hx(macB), name == "gw"
}

func (dictionary) Network(name string) (uint32, bool) { return 10, name == "ten" }

func (dictionary) Service(name, proto string) (uint16, bool) {
	switch name + "/" + proto {
	case "web/tcp":
		return 80, true
	case "dns/tcp", "dns/udp":
		return 53, true
	case "log/udp":
		return 514, true
	case "sig/sctp":
		return 2905, true
	}
	return 0, false
}

func (dictionary) Protocol(name string) (uint8, bool) { return 17, name == "tcp" } // on purpose

// TestNames compares expressions with names with the same without.
func TestNames(t *testing.T) {
	for _, c := range []struct{ named, same string }{
		{"host gw", "host 10.0.0.1 or host 2001:db8::1"},
		{"ip host gw", "ip host 10.0.0.1"},
		{"ip6 src gw", "ip6 src 2001:db8::1"},
		{"arp host gw", "arp host 10.0.0.1"},
		{"ether src gw", "ether src " + macB},
		{"gateway gw", "ether host " + macB + " and not (host 10.0.0.1 or host 2001:db8::1)"},
		{"ip gateway gw", "ether host " + macB + " and not ip host 10.0.0.1"},
		{"net ten", "host 10.0.0.0"},
		{"port web", "tcp port 80"},
		{"port dns", "port 53"},
		{"udp port dns", "udp port 53"},
		{"port log", "udp port 514"},
		{"dst port sig", "sctp dst port 2905"},
		{"portrange dns-80", "portrange 53-80"},
		{"portrange 20-web", "tcp portrange 20-80"},
		{"portrange dns", "portrange 53-53"},
		{`ip proto \tcp`, "ip proto 17"},
		{`ip protochain \tcp`, "ip protochain 17"},
		{`host \gw`, "host gw"},
	} {
		conf := Config{Link: EN10MB, Names: dictionary{}}
		a, err := Compile(c.named, conf)
		b, err2 := Compile(c.same, conf)
		if err != nil || err2 != nil || fmt.Sprint(a) != fmt.Sprint(b) {
			t.Errorf("%s: %v %v\n%v\n%v", c.named, err, err2, a, b)
		}
	}
	for _, e := range []string{"udp port web", "ip6 host nobody", "arp host nobody", "tcp gateway gw", "src gateway gw"} {
		if _, err := Compile(e, Config{Link: EN10MB, Names: dictionary{}}); err == nil {
			t.Errorf("%s is accepted", e)
		}
	}
}

// TestFiles reads files like a system's.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"hosts":     "127.0.0.1 localhost\n# 1.1.1.1 gw\n10.0.0.1 gw.example GW # the router\n2001:db8::1 gw\nnonsense gw\n\n10.0.0.2\n",
		"ethers":    "02:00:00:00:00:01 gw\n2:0:0:0:0:2 other\nxx gw2\n",
		"networks":  "loopback 127\nlink-local 169.254.0.0\nten 10 alias\n",
		"services":  "domain 53/tcp dns\ndomain 53/udp dns\nbad 99999/tcp\nweb x/tcp\n",
		"protocols": "mine 253 MINE\nbad 256\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := &Files{Dir: dir}
	if got := fmt.Sprint(f.Host("gw"), f.Host("localhost"), f.Host("x")); got != "[10.0.0.1 2001:db8::1] [127.0.0.1] []" {
		t.Error("hosts:", got)
	}
	m, ok := f.Ether("gw")
	_, no := f.Ether("gw2")
	if m.String() != "02:00:00:00:00:01" || !ok || no {
		t.Error("ethers:", m, ok, no)
	}
	for name, want := range map[string]string{"loopback": "127 true", "link-local": "2851995648 true", "alias": "10 true", "x": "0 false"} {
		if got := fmt.Sprintln(f.Network(name)); got != want+"\n" {
			t.Error("network", name, got)
		}
	}
	for name, want := range map[string]string{"domain": "53 true", "dns": "53 true", "bad": "0 false", "web": "0 false"} {
		if got := fmt.Sprintln(f.Service(name, "tcp")); got != want+"\n" {
			t.Error("service", name, got)
		}
	}
	for name, want := range map[string]string{"MINE": "253 true", "tcp": "6 true", "bad": "0 false"} {
		if got := fmt.Sprintln(f.Protocol(name)); got != want+"\n" {
			t.Error("protocol", name, got)
		}
	}
	empty := &Files{Dir: filepath.Join(dir, "none")}
	if empty.Host("gw") != nil {
		t.Error("a host of a file that does not exist")
	}
}

// run compiles both ways and runs; both verdicts must be the same.
func run(t *testing.T, expression string, c Config, p []byte, m meta) bool {
	t.Helper()
	return bothWays(t, expression, c)(t, p, m)
}

// bothWays compiles plainly and optimized.
func bothWays(t *testing.T, expression string, c Config) func(*testing.T, []byte, meta) bool {
	t.Helper()
	var progs [2]bpf.Program
	for i, optimize := range []bool{false, true} {
		var err error
		c.Optimize = optimize
		if progs[i], err = Compile(expression, c); err != nil {
			t.Fatalf("%s: %v", expression, err)
		}
		if why := valid(progs[i]); why != "" {
			t.Fatalf("%s: invalid program: %s", expression, why)
		}
	}
	return func(t *testing.T, p []byte, m meta) bool {
		t.Helper()
		plain, _ := interpret(progs[0], p, len(p), m)
		short, _ := interpret(progs[1], p, len(p), m)
		if plain != short {
			t.Errorf("%s: %d, optimized %d: %x", expression, plain, short, p)
		}
		return plain != 0
	}
}

// TestLive runs programs as on a packet socket of Linux, which has taken the
// outer tag out.
func TestLive(t *testing.T) {
	in := ipv4(6, 0, 0, ip10, ip192, ports(80, 1025, tcpRest))
	macs := hx(macA + macB)
	plain := cat(macs, be16(in.typ), in.b)
	tagged := cat(macs, hx("81000005"), be16(in.typ), in.b)
	double := cat(macs, hx("8100000581000006"), be16(in.typ), in.b)
	beside := meta{tagged: true, vlanTag: 0x2005}
	for _, c := range []struct {
		expr string
		p    []byte
		m    meta
		want bool
	}{
		{"vlan", plain, meta{}, false},
		{"vlan", plain, beside, true},
		{"vlan", tagged, meta{}, true},
		{"vlan 5", plain, beside, true},
		{"vlan 6", plain, beside, false},
		{"vlan 5", tagged, meta{}, true},
		{"vlan 6", tagged, meta{}, false},
		{"vlan and tcp port 80", plain, beside, true},
		{"vlan and tcp port 80", tagged, meta{}, true},
		{"vlan 5 and vlan 6", double, meta{}, true},
		{"vlan 5 and vlan 6", cat(macs, hx("81000006"), be16(in.typ), in.b), beside, true},
		{"vlan 5 and vlan 6 and host 10.0.0.1", cat(macs, hx("81000006"), be16(in.typ), in.b), beside, true},
		{"vlan 5 and vlan 7", double, meta{}, false},
		{"not vlan and tcp port 80", plain, meta{}, false}, // as libpcap: offsets are four larger behind "vlan"
		{"tcp port 80 and not vlan", plain, meta{}, true},
		{"vlan and arp", plain, beside, false},
		{"inbound", plain, meta{pktType: 0}, true},
		{"inbound", plain, meta{pktType: 4}, false},
		{"outbound and tcp", plain, meta{pktType: 4}, true},
		{"outbound", plain, meta{pktType: 1}, false},
		{"ifindex 3", plain, meta{ifindex: 3}, true},
		{"ifindex 4", plain, meta{ifindex: 3}, false},
	} {
		if got := run(t, c.expr, Config{Link: EN10MB, Live: true}, c.p, c.m); got != c.want {
			t.Errorf("%s, %+v: %v: %x", c.expr, c.m, got, c.p)
		}
	}
}

// TestVXLAN is about a keyword that libpcap has from 1.11 on.
func TestVXLAN(t *testing.T) {
	inner := ipv4(6, 0, 0, ip1234, ip10, ports(80, 1025, tcpRest))
	frame := cat(hx(macA+macB), be16(inner.typ), inner.b)
	udp := func(port int, flags, vni string) []byte {
		return cat(be16(5000), be16(port), hx("00500000"), hx(flags+"000000"+vni+"00"), frame)
	}
	wrap := func(b body) []byte { return cat(hx(macB+macA), be16(b.typ), b.b) }
	five := wrap(ipv4(17, 0, 0, ip10, ip192, udp(4789, "08", "000005")))
	six := wrap(ipv6(17, ip6a, ip6b, udp(4789, "08", "000005")))
	options := wrap(ipv4(17, 0, 3, ip10, ip192, udp(4789, "08", "000005")))
	for _, c := range []struct {
		expr string
		p    []byte
		want bool
	}{
		{"vxlan", five, true}, {"vxlan", six, true}, {"vxlan", options, true},
		{"vxlan", wrap(inner), false},
		{"vxlan", wrap(ipv4(17, 0, 0, ip10, ip192, udp(4790, "08", "000005"))), false},
		{"vxlan", wrap(ipv4(17, 0, 0, ip10, ip192, udp(4789, "00", "000005"))), false},
		{"vxlan", wrap(ipv4(17, 5, 0, ip10, ip192, udp(4789, "08", "000005"))), false},
		{"vxlan 5", five, true}, {"vxlan 6", five, false}, {"vxlan 5", six, true},
		{"vxlan and tcp", five, true}, {"vxlan and udp", five, false},
		{"udp and vxlan and tcp port 80", five, true}, {"vxlan 5 and tcp port 80", options, true},
		{"vxlan and host 1.2.3.4", six, true}, {"vxlan and host 10.0.0.1", six, true}, {"vxlan and src host 10.0.0.1", six, false},
		{"vxlan and ether src " + macB, five, true}, {"vxlan and ether src " + macA, five, false},
		{"vxlan and ip[9] = 6", five, true}, {"vxlan and link[12:2] = 0x800", options, true},
		{"not vxlan", five, false},
		{"vxlan or ip", wrap(inner), false}, // what is right of it is inside, and registers are cleared
	} {
		if got := run(t, c.expr, Config{Link: EN10MB}, c.p, meta{}); got != c.want {
			t.Errorf("%s: %v: %x", c.expr, got, c.p)
		}
	}
}

// TestChosen is about the odd behaviours of libpcap that are not copied.
func TestChosen(t *testing.T) {
	in := ipv4(6, 0, 0, ip10, ip192, ports(80, 1025, tcpRest))
	ether := cat(hx(macA+macB), be16(in.typ), in.b)
	chain := ipv4(51, 0, 0, ip10, ip192, hx("3304 0000 00000001 00000001 0000000000000000 00000000"+
		"0604 0000 00000001 00000001 0000000000000000 00000000 00500051"))
	for _, c := range []struct {
		link wire.LinkType
		expr string
		p    []byte
		want bool
	}{
		{SUNATM, "vpi != 5", hx("02060005"), true},
		{SUNATM, "vpi != 5", hx("02050005"), false},
		{SUNATM, "vci != 5", hx("02050005"), false},
		{MTP2, "sio != 5", hx("0000000500000000"), false},
		{MTP2, "sio != 5", hx("0000000600000000"), true},
		{SLIP, "tcp port 80", cat(make([]byte, 16), in.b), true},
		{SLIP_BSDOS, "tcp port 80", cat(make([]byte, 24), in.b), true},
		{NULL, "tcp", cat(hx("02000000"), in.b), true},
		{NULL, "tcp", cat(hx("00000002"), in.b), true},
		{NULL, "ip6", hx("1e000000"), true},
		{NULL, "ip6", hx("0000001c"), true},
		{PFLOG, "ip6", hx("3d18"), true},
		{EN10MB, "len % 4 + 1 = 3", ether[:58], true},
		{EN10MB, "len ^ 1 & 1 = 59", ether[:58], true},
		{EN10MB, "ip[8] & 0xffffffff != 0", ether, true},
		{EN10MB, "ip[0] & 0xff000000 = 0", ether, true},
		{EN10MB, "1 & tcp[13] = 0", ether, true},
		{EN10MB, "1 & udp[13] = 0", ether, false},
		{EN10MB, "ip and not ip", ether, false},
		{EN10MB, "geneve or ip", ether, false},
		{EN10MB, "tcp and not tcp[200] = 1", ether, false},
		{EN10MB, "tcp or tcp[200] = 1", ether, true},
		{EN10MB, "less 60 or ip or len >= ether[200:2]", ether, true}, // which must not be loaded before it is needed
		{RAW, "ip protochain 6", chain.b, true},                       // behind two authentication headers
	} {
		if got := run(t, c.expr, Config{Link: c.link}, c.p, meta{}); got != c.want {
			t.Errorf("%s: %v: %x", c.expr, got, c.p)
		}
	}
}

// TestSame asks the same about the same datagrams on other links.
func TestSame(t *testing.T) {
	all := bodies()
	wraps := []struct {
		link   wire.LinkType
		prefix func(b body) []byte
	}{
		{EN10MB, func(b body) []byte { return cat(hx(macA+macB), be16(b.typ)) }},
		{LINUX_SLL, func(b body) []byte { return cat(make([]byte, 14), be16(b.typ)) }},
		{LINUX_SLL2, func(b body) []byte { return cat(be16(b.typ), make([]byte, 18)) }},
		{NULL, func(b body) []byte { return []byte{map[int]byte{0x800: 2, 0x86dd: 24}[b.typ], 0, 0, 0} }},
		{NULL, func(b body) []byte { return []byte{0, 0, 0, map[int]byte{0x800: 2, 0x86dd: 28}[b.typ]} }},
		{LOOP, func(b body) []byte { return []byte{0, 0, 0, map[int]byte{0x800: 2, 0x86dd: 30}[b.typ]} }},
		{SLIP, func(b body) []byte { return make([]byte, 16) }},
		{PPP, func(b body) []byte { return map[int][]byte{0x800: hx("ff030021"), 0x86dd: hx("ff030057")}[b.typ] }},
		{FDDI, func(b body) []byte { return cat(make([]byte, 13), hx("aaaa03000000"), be16(b.typ)) }},
		{IEEE802_11, func(b body) []byte { return cat(hx("0800"), make([]byte, 22), hx("aaaa03000000"), be16(b.typ)) }},
	}
	for _, e := range []string{"tcp", "udp", "ip6", "port 80", "src port 53", "host 10.0.0.1", "net 2001:db8::/33", "icmp6",
		"tcp[13] & 2 != 0", "ip[8] = 64", "ip6 proto 44", "ip multicast", "protochain 6", "not tcp", "geneve", "vxlan and tcp"} {
		compiled := func(l wire.LinkType) bpf.Program {
			prog, err := Compile(e, Config{Link: l, Optimize: true})
			if err != nil {
				t.Fatal(err)
			}
			return prog
		}
		raw := compiled(RAW)
		for _, w := range wraps {
			prog := compiled(w.link)
			for _, b := range all {
				if b.typ != 0x800 && b.typ != 0x86dd {
					continue
				}
				want, _ := interpret(raw, b.b, len(b.b), meta{})
				p := cat(w.prefix(b), b.b)
				if got, _ := interpret(prog, p, len(p), meta{}); got != want {
					t.Errorf("%s: %s says %d, RAW %d: %x", e, linkName(w.link), got, want, p)
				}
			}
		}
	}
}

// TestLong is about jumps that are too long for eight bits.
func TestLong(t *testing.T) {
	e := "ip and (" + row("ip[%d] = %d", 600, 47) + ") and not tcp[2] = 9"
	var progs []bpf.Program
	for _, optimize := range []bool{false, true} {
		prog, err := Compile(e, Config{Link: EN10MB, Optimize: optimize})
		if err != nil {
			t.Fatal(err)
		}
		if why := valid(prog); why != "" {
			t.Error(why)
		}
		progs = append(progs, prog)
		far := 0
		for _, in := range prog {
			if in.Op == bpf.ClassJMP|bpf.JmpA {
				far++
			}
		}
		if far == 0 {
			t.Error("no long jumps in", len(prog), "instructions")
		}
	}
	if err := verdicts(EN10MB, progs[0], progs[1], true); err != nil {
		t.Error(err)
	}
}

func TestSnaplen(t *testing.T) {
	for snaplen, want := range map[uint32]uint32{0: 262144, 96: 96} {
		prog, err := Compile("", Config{Link: EN10MB, Snaplen: snaplen})
		if err != nil || len(prog) != 1 {
			t.Fatal(prog, err)
		}
		if v, _ := interpret(prog, nil, 0, meta{}); v != want {
			t.Errorf("snapshot length %d: %d", snaplen, v)
		}
	}
}

// A grammar makes expressions.
type grammar struct {
	r *rand.Rand
	// both says that only what libpcap means too may be made.
	both bool
}

func (g grammar) pick(list ...string) string { return list[g.r.IntN(len(list))] }

func (g grammar) expr(depth int) string {
	switch n := g.r.IntN(10); {
	case depth <= 0 || n < 3:
		return g.primitive(depth)
	case n < 5:
		return g.expr(depth-1) + g.pick(" and ", " && ") + g.expr(depth-1)
	case n < 7:
		return g.expr(depth-1) + g.pick(" or ", " || ") + g.expr(depth-1)
	case n < 8:
		return g.pick("not ", "!") + g.expr(depth-1)
	}
	return "(" + g.expr(depth-1) + ")"
}

func (g grammar) primitive(depth int) string {
	dir := g.pick("", "", "src ", "dst ", "src or dst ", "src and dst ")
	switch g.r.IntN(14) {
	case 0, 1:
		return g.pick("ip", "ip6", "arp", "tcp", "udp", "sctp", "icmp", "icmp6", "rarp", "esp", "igmp", "stp", "iso", "isis", "ipx", "l1")
	case 2, 3:
		return g.pick("", "tcp ", "udp ") + dir + "port " + g.pick("80", "53", "443", "1025", "(80 or 53)", "80 or 22")
	case 4:
		return dir + "portrange " + g.pick("10-100", "1-65535", "80", "53-53")
	case 5, 6:
		return g.pick("", "ip ", "arp ") + dir + "host " + g.pick("10.0.0.1", "1.2.3.4", "192.168.1.5 or 10.0.0.1")
	case 7:
		return dir + "net " + g.pick("10.0.0.0/8", "192.168.1", "2001:db8::/33", "0.0.0.0/0", "::/0")
	case 8:
		return g.pick("ether ", "ether src ", "ether dst ") + "host 01:02:03:04:05:06"[map[bool]int{true: 0, false: 5}[g.r.IntN(2) == 0]:]
	case 9:
		return g.pick("ip", "ip6", "") + " " + g.pick("proto 6", "proto 17", "proto 44", "protochain 6", "protochain 17")
	case 10:
		if g.both {
			return g.pick("vlan", "vlan 5", "mpls", "mpls 5", "pppoes", "pppoes 5", "less 60", "greater 60", "broadcast", "multicast", "llc", "llc u")
		}
		return g.pick("vlan", "vlan 5", "mpls", "pppoes", "geneve", "vxlan", "less 60", "greater 60", "broadcast", "multicast", "llc")
	}
	return g.arith(depth) + g.pick(" = ", " != ", " < ", " > ", " <= ", " >= ") + g.arith(depth)
}

func (g grammar) arith(depth int) string {
	if g.both && depth > 0 && g.r.IntN(2) == 0 {
		return "(" + g.arith(depth-1) + g.pick(" + ", " - ", " * ", " / ", " & ", " | ", " << ", " >> ") + g.pick("1", "2", "3", "0x1f") + ")"
	}
	if !g.both && depth > 0 && g.r.IntN(2) == 0 {
		return "(" + g.arith(depth-1) + g.pick(" + ", " - ", " * ", " / ", " % ", " & ", " | ", " ^ ", " << ", " >> ") + g.arith(depth-1) + ")"
	}
	switch g.r.IntN(4) {
	case 0:
		if depth < 2 || !g.both { // libpcap does not compute what is constant
			return g.pick("0", "1", "2", "6", "64", "80", "0x0f", "0xff00", "0xffffffff", "0x800")
		}
	case 1:
		return g.pick("len", "len", "-len")
	}
	at := g.pick("0", "1", "2", "6", "9", "12", "13", "len", "0xfffffff0")
	if !g.both && depth > 0 && g.r.IntN(4) == 0 {
		at = g.arith(depth - 1)
	}
	return g.pick("ip", "ip6", "tcp", "udp", "icmp", "ether", "arp", "icmp6") + "[" + at + g.pick("", ":1", ":2", ":4") + "]"
}

// TestRandomLibpcap compares what a grammar makes with libpcap.
func TestRandomLibpcap(t *testing.T) {
	o := newOracle(t)
	seed := rand.Uint64()
	count := 400
	if *full {
		count = 20000
	}
	t.Logf("seed %d", seed)
	g := grammar{r: rand.New(rand.NewPCG(seed, 0)), both: true}
	for range count {
		// Not with headers of variable length: libpcap uses the words of scratch
		// memory that have their lengths for arithmetic too.
		k := task{[]wire.LinkType{EN10MB, EN10MB, RAW, LINUX_SLL, FDDI, SUNATM, PPP}[g.r.IntN(7)], g.expr(3)}
		theirs, _, terr := o.compile(k.link, k.expr, false)
		ours, err := Compile(k.expr, config(k.link, false))
		if (err == nil) != (terr == nil) {
			t.Errorf("%v: we say %v, libpcap %v", k, err, terr)
			continue
		}
		if err != nil {
			continue
		}
		if err := verdicts(k.link, theirs, ours, false); err != nil {
			t.Errorf("%v: libpcap and we differ: %v", k, err)
		}
	}
}

// TestRandom compares what a grammar makes with what the optimizer makes of it.
func TestRandom(t *testing.T) {
	seed := rand.Uint64()
	count := 400
	if *full {
		count = 20000
	}
	t.Logf("seed %d", seed)
	g := grammar{r: rand.New(rand.NewPCG(seed, 0))}
	for range count {
		e := g.expr(3)
		l := []wire.LinkType{EN10MB, EN10MB, RAW, LINUX_SLL, IEEE802_11_RADIO, NULL, FDDI}[g.r.IntN(7)]
		plain, err := Compile(e, config(l, false))
		if err != nil {
			continue
		}
		short, err := Compile(e, config(l, true))
		if err != nil {
			t.Errorf("%s: %s: %v", linkName(l), e, err)
			continue
		}
		if a, b := valid(plain), valid(short); a+b != "" {
			t.Errorf("%s: %s: invalid programs: %s, %s", linkName(l), e, a, b)
			continue
		}
		if err := verdicts(l, plain, short, true); err != nil {
			t.Errorf("%s: %s: the optimized program differs: %v", linkName(l), e, err)
		}
	}
}

// FuzzCompile compiles anything for any link type.
func FuzzCompile(f *testing.F) {
	for i, k := range tasks(f, "testdata/expressions.txt") {
		if i%40 == 0 {
			f.Add(k.expr, uint16(k.link), uint8(i))
		}
	}
	f.Add("iso proto 0", uint16(132), uint8(0)) // whose network layer is nowhere
	f.Add("((((", uint16(1), uint8(0))
	f.Add("ip[ip[ip[ip[0]]]] = -1", uint16(127), uint8(3))
	packets := []frame{nil, {1}, frames(EN10MB)[0], frames(IEEE802_11_RADIO)[20]}
	f.Fuzz(func(t *testing.T, e string, l uint16, flags uint8) {
		if len(e) > 2000 {
			return
		}
		c := config(wire.LinkType(l%(linkMax+2)), flags&1 != 0)
		c.Live, c.Modern, c.Names = flags&2 != 0, flags&4 != 0, dictionary{}
		prog, err := Compile(e, c)
		var ee *Error
		if errors.As(err, &ee) && (ee.Pos < 0 || ee.Pos > ee.End || ee.End > len(e) || ee.Error() == "" || ee.Show() == "") {
			t.Fatalf("error from %d to %d", ee.Pos, ee.End)
		}
		if err != nil {
			return
		}
		if why := valid(prog); why != "" {
			t.Fatalf("invalid program: %s: %v", why, prog)
		}
		for _, p := range packets {
			v, how := interpret(prog, p, len(p), meta{})
			if how > divided || v != 0 && v != 262144 {
				t.Fatalf("%x: %d (%d)", []byte(p), v, how)
			}
			if _, err := Explain(e, c, p, len(p)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// BenchmarkCompile is the time for expressions that people use.
func BenchmarkCompile(b *testing.B) {
	for _, e := range []string{"ip", "tcp port 80", "tcp and (port 80 or port 443 or port 8080) and not host 10.0.0.1",
		"tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)"} {
		b.Run(e, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Compile(e, Config{Link: EN10MB, Optimize: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func ExampleCompile() {
	prog, err := Compile("tcp port 80 and not host 10.0.0.1", Config{Link: EN10MB, Optimize: true})
	fmt.Println(len(prog), err)
	_, err = Compile("tcp prot 80", Config{Link: EN10MB})
	fmt.Println(err)
	// Output:
	// 24 <nil>
	// column 5: expected "and", "or" or the end, found "prot"; did you mean "port"?
}

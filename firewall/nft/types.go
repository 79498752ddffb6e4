package nft

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// A Type is what the values of an expression are: how many bits they have, and
// how they are written.
type Type struct {
	Name    string
	Bits    int // 0: as many as the expression has
	form    form
	bitmask bool // several symbols make one value
	symbols []symbol
}

// A form is how values are written that have no symbol.
type form uint8

const (
	decimal form = iota
	hexa         // 0x1f
	hexFull      // 0x0000001f
	ip4
	ip6
	mac
	text    // "eth0"
	seconds // 1h30m; the value is in seconds
	millis  // 1h30m; the value is in milliseconds
	class   // 1:2
	clock   // "10:00"
	date    // "2022-07-01 11:00:00"
)

type symbol struct {
	name  string
	value uint64
}

func symbols(s string) (all []symbol) {
	for f := range strings.FieldsSeq(s) {
		name, v, _ := strings.Cut(f, "=")
		n, err := strconv.ParseUint(v, 0, 64)
		if err != nil {
			panic(err)
		}
		all = append(all, symbol{name, n})
	}
	return all
}

// types are those that a set can be of, by name (nft(8), DATA TYPES).
var types = func() map[string]*Type {
	all := map[string]*Type{}
	for _, t := range []Type{
		{Name: "integer"},
		{Name: "nf_proto", Bits: 8, symbols: symbols("ipv4=2 ipv6=10")},
		{Name: "ipv4_addr", Bits: 32, form: ip4},
		{Name: "ipv6_addr", Bits: 128, form: ip6},
		{Name: "ether_addr", Bits: 48, form: mac},
		{Name: "ether_type", Bits: 16, form: hex4, symbols: symbols("ip=0x800 arp=0x806 ip6=0x86dd 8021q=0x8100 8021ad=0x88a8 vlan=0x8100")},
		{Name: "inet_proto", Bits: 8, symbols: symbols("icmp=1 igmp=2 ggp=3 ipencap=4 st=5 tcp=6 egp=8 igp=9 pup=12 udp=17 hmp=20 xns-idp=22 rdp=27 iso-tp4=29 dccp=33 xtp=36 ddp=37 idpr-cmtp=38 ipv6=41 ipv6-route=43 ipv6-frag=44 idrp=45 rsvp=46 gre=47 esp=50 ah=51 skip=57 ipv6-icmp=58 ipv6-nonxt=59 ipv6-opts=60 rspf=73 vmtp=81 eigrp=88 ospf=89 ax.25=93 ipip=94 etherip=97 encap=98 pim=103 ipcomp=108 vrrp=112 l2tp=115 isis=124 sctp=132 fc=133 mobility-header=135 udplite=136 mpls-in-ip=137 manet=138 hip=139 shim6=140 wesp=141 rohc=142 ethernet=143 icmpv6=58 comp=108 mh=135")},
		{Name: "inet_service", Bits: 16, symbols: services},
		{Name: "mark", Bits: 32, form: hexFull},
		{Name: "iface_index", Bits: 32, form: text},
		{Name: "ifname", Bits: 128, form: text},
		{Name: "string", form: text},
		{Name: "iface_type", Bits: 16, symbols: symbols("ether=1 ppp=512 ipip=768 ipip6=769 loopback=772 sit=776 ipgre=778")},
		{Name: "boolean", Bits: 1, symbols: symbols("exists=1 missing=0")},
		{Name: "tcp_flag", Bits: 8, form: hexa, bitmask: true, symbols: symbols("fin=1 syn=2 rst=4 psh=8 ack=16 urg=32 ecn=64 cwr=128")},
		{Name: "icmp_type", Bits: 8, symbols: symbols("echo-reply=0 destination-unreachable=3 source-quench=4 redirect=5 echo-request=8 router-advertisement=9 router-solicitation=10 time-exceeded=11 parameter-problem=12 timestamp-request=13 timestamp-reply=14 info-request=15 info-reply=16 address-mask-request=17 address-mask-reply=18")},
		{Name: "icmpv6_type", Bits: 8, symbols: symbols("destination-unreachable=1 packet-too-big=2 time-exceeded=3 parameter-problem=4 echo-request=128 echo-reply=129 mld-listener-query=130 mld-listener-report=131 mld-listener-done=132 mld-listener-reduction=132 nd-router-solicit=133 nd-router-advert=134 nd-neighbor-solicit=135 nd-neighbor-advert=136 nd-redirect=137 router-renumbering=138 ind-neighbor-solicit=141 ind-neighbor-advert=142 mld2-listener-report=143")},
		{Name: "icmp_code", Bits: 8, symbols: symbols("net-unreachable=0 host-unreachable=1 prot-unreachable=2 port-unreachable=3 net-prohibited=9 host-prohibited=10 admin-prohibited=13 frag-needed=4")},
		{Name: "icmpv6_code", Bits: 8, symbols: symbols("no-route=0 admin-prohibited=1 addr-unreachable=3 port-unreachable=4 policy-fail=5 reject-route=6")},
		{Name: "icmpx_code", Bits: 8, symbols: symbols("port-unreachable=1 admin-prohibited=3 no-route=0 host-unreachable=2")},
		{Name: "igmp_type", Bits: 8, symbols: symbols("membership-query=17 membership-report-v1=18 membership-report-v2=22 membership-report-v3=34 leave-group=23")},
		{Name: "arp_op", Bits: 16, symbols: symbols("request=1 reply=2 rrequest=3 rreply=4 inrequest=8 inreply=9 nak=10")},
		{Name: "dscp", Bits: 6, form: hex2, symbols: symbols("cs0=0 cs1=8 cs2=16 cs3=24 cs4=32 cs5=40 cs6=48 cs7=56 df=0 be=0 lephb=1 af11=10 af12=12 af13=14 af21=18 af22=20 af23=22 af31=26 af32=28 af33=30 af41=34 af42=36 af43=38 va=44 ef=46")},
		{Name: "ecn", Bits: 2, symbols: symbols("not-ect=0 ect1=1 ect0=2 ce=3")},
		{Name: "ct_state", Bits: 32, form: hexa, bitmask: true, symbols: symbols("invalid=1 established=2 related=4 new=8 untracked=64")},
		{Name: "ct_dir", Bits: 8, symbols: symbols("original=0 reply=1")},
		{Name: "ct_status", Bits: 32, form: hexa, bitmask: true, symbols: symbols("expected=1 seen-reply=2 assured=4 confirmed=8 snat=16 dnat=32 dying=512")},
		{Name: "ct_event", Bits: 32, form: hexa, bitmask: true, symbols: symbols("new=1 related=2 destroy=4 reply=8 assured=16 protoinfo=32 helper=64 mark=128 seqadj=256 secmark=512 label=1024")},
		{Name: "ct_label", Bits: 128},
		{Name: "pkt_type", Bits: 8, symbols: symbols("host=0 unicast=0 broadcast=1 multicast=2 other=3")},
		{Name: "fib_addrtype", Bits: 32, symbols: symbols("unspec=0 unicast=1 local=2 broadcast=3 anycast=4 multicast=5 blackhole=6 unreachable=7 prohibit=8")},
		{Name: "mh_type", Bits: 8, symbols: symbols("binding-refresh-request=0 home-test-init=1 careof-test-init=2 home-test=3 careof-test=4 binding-update=5 binding-acknowledgement=6 binding-error=7 fast-binding-update=8 fast-binding-acknowledgement=9 fast-binding-advertisement=10 experimental-mobility-header=11 home-agent-switch-message=12")},
		{Name: "dccp_pkttype", Bits: 4, symbols: symbols("request=0 response=1 data=2 ack=3 dataack=4 closereq=5 close=6 reset=7 sync=8 syncack=9")},
		{Name: "uid", Bits: 32, symbols: symbols("root=0")},
		{Name: "gid", Bits: 32, symbols: symbols("root=0")},
		{Name: "classid", Bits: 32, form: class},
		{Name: "realm", Bits: 32},
		{Name: "devgroup", Bits: 32, symbols: symbols("default=0")},
		{Name: "time", Bits: 64, form: millis},
		{Name: "hour", Bits: 32, form: clock},
		{Name: "day", Bits: 8, symbols: symbols("Sunday=0 Monday=1 Tuesday=2 Wednesday=3 Thursday=4 Friday=5 Saturday=6")},
		{Name: "date", Bits: 64, form: date},
		{Name: "verdict"},
		{Name: "raw", form: hexa},
	} {
		all[t.Name] = &t
	}
	// Names that sets and rules use too.
	all["counter"], all["quota"], all["limit"] = &Type{Name: "counter", form: text}, &Type{Name: "quota", form: text}, &Type{Name: "limit", form: text}
	return all
}()

// services are names of ports (IANA), for reading; ports are printed as numbers.
var services = symbols("tcpmux=1 echo=7 discard=9 daytime=13 chargen=19 ftp-data=20 ftp=21 ssh=22 telnet=23 smtp=25 time=37 domain=53 bootps=67 bootpc=68 tftp=69 gopher=70 finger=79 http=80 kerberos=88 pop3=110 sunrpc=111 auth=113 nntp=119 ntp=123 netbios-ns=137 netbios-dgm=138 netbios-ssn=139 imap2=143 snmp=161 snmp-trap=162 bgp=179 irc=194 imap3=220 ldap=389 https=443 microsoft-ds=445 submissions=465 isakmp=500 syslog=514 submission=587 ldaps=636 domain-s=853 rsync=873 ftps-data=989 ftps=990 imaps=993 pop3s=995 socks=1080 openvpn=1194 ms-sql-s=1433 l2tp=1701 radius=1812 radius-acct=1813 nfs=2049 mysql=3306 ipsec-nat-t=4500 sip=5060 sip-tls=5061 xmpp-client=5222 xmpp-server=5269 mdns=5353 postgresql=5432 amqp=5672 http-alt=8080")

// name returns the symbol of a value.
func (t *Type) name(v uint64) (string, bool) {
	switch t.Name {
	case "inet_service", "uid", "gid":
		return "", false
	}
	for _, s := range t.symbols {
		if s.value == v {
			return s.name, true
		}
	}
	return "", false
}

func (t *Type) names() (all []string) {
	for _, s := range t.symbols {
		all = append(all, s.name)
	}
	return all
}

// size is the number of bytes that hold n bits.
func size(n int) int { return (n + 7) / 8 }

// number is the value as a number; only the low 64 bits of longer ones.
func number(b []byte) (v uint64) {
	for _, x := range b {
		v = v<<8 | uint64(x)
	}
	return v
}

// big returns n as a value of some bits, big end first, and reports whether it
// fits.
func bigEndian(n uint64, width int) ([]byte, bool) {
	b := make([]byte, max(8, size(width)))
	binary.BigEndian.PutUint64(b[len(b)-8:], n)
	return b[len(b)-size(width):], bits.Len64(n) <= width
}

// text is a value as nft prints it. List says that several bits of a bitmask
// are written behind commas.
func (v *Value) text(list bool, o *Options) string {
	t := v.Type
	switch t.form {
	case text:
		s := string(trimZeros(v.Data))
		if v.Wild {
			s += "*"
		}
		return strconv.Quote(s)
	case ip4, ip6:
		a, _ := netip.AddrFromSlice(v.Data)
		return a.String()
	case mac:
		return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", v.Data[0], v.Data[1], v.Data[2], v.Data[3], v.Data[4], v.Data[5])
	}
	n := number(v.Data)
	if t.Bits > 64 && number(v.Data[:len(v.Data)-8]) != 0 {
		return fmt.Sprintf("0x%x", trimLeft(v.Data))
	}
	if !o.Numeric || t.form == millis {
		if s, ok := t.name(n); ok {
			if t.Name == "devgroup" || t.Name == "day" {
				s = strconv.Quote(s)
			}
			return s
		}
		if t.bitmask && n != 0 {
			return v.flags(n, list)
		}
	}
	switch t.form {
	case hexa:
		if len(v.Data) > 8 {
			return fmt.Sprintf("0x%x", trimLeft(v.Data))
		}
		return fmt.Sprintf("0x%x", n)
	case hex2:
		return fmt.Sprintf("0x%02x", n)
	case hex4:
		return fmt.Sprintf("0x%04x", n)
	case hexFull:
		return fmt.Sprintf("0x%08x", n)
	case seconds:
		return duration(time.Duration(n) * time.Second)
	case millis:
		return duration(time.Duration(n) * time.Millisecond)
	case class:
		return classText(uint32(n))
	case clock:
		s := fmt.Sprintf("%02d:%02d", n/3600%24, n/60%60)
		if n%60 != 0 {
			s += fmt.Sprintf(":%02d", n%60)
		}
		return strconv.Quote(s)
	case date:
		return strconv.Quote(time.Unix(0, int64(n)).UTC().Format("2006-01-02 15:04:05"))
	}
	return strconv.FormatUint(n, 10)
}

const (
	hex2 form = iota + 64
	hex4
)

func (v *Value) flags(n uint64, list bool) string {
	var parts []string
	for bit := uint64(1); bit != 0 && n >= bit; bit <<= 1 {
		if n&bit == 0 {
			continue
		}
		s, ok := v.Type.name(bit)
		if !ok {
			s = fmt.Sprintf("0x%x", bit)
		}
		parts = append(parts, s)
	}
	if list {
		return strings.Join(parts, ",")
	}
	return strings.Join(parts, " | ")
}

func trimZeros(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return b
}

func trimLeft(b []byte) []byte {
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	return b
}

func classText(n uint32) string {
	switch n {
	case 0:
		return "none"
	case 1<<32 - 1:
		return "root"
	}
	return fmt.Sprintf("%x:%x", n>>16, n&0xffff)
}

// duration is a time as nft writes it: 1d2h3m4s5ms.
func duration(d time.Duration) string {
	if d < time.Millisecond {
		return "0s"
	}
	var s strings.Builder
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if n := d / u.unit; n > 0 {
			fmt.Fprintf(&s, "%d%s", n, u.name)
			d -= n * u.unit
		}
	}
	return s.String()
}

// parseDuration reads what duration writes, or a number of seconds.
func parseDuration(s string) (time.Duration, bool) {
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		return time.Duration(n) * time.Second, true
	}
	var d time.Duration
	for s != "" {
		i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
		if i <= 0 {
			return 0, false
		}
		n, err := strconv.ParseUint(s[:i], 10, 32)
		if err != nil {
			return 0, false
		}
		s = s[i:]
		switch {
		case strings.HasPrefix(s, "ms"):
			d, s = d+time.Duration(n)*time.Millisecond, s[2:]
		case s[0] == 'w':
			d, s = d+time.Duration(n)*7*24*time.Hour, s[1:]
		case s[0] == 'd':
			d, s = d+time.Duration(n)*24*time.Hour, s[1:]
		case s[0] == 'h':
			d, s = d+time.Duration(n)*time.Hour, s[1:]
		case s[0] == 'm':
			d, s = d+time.Duration(n)*time.Minute, s[1:]
		case s[0] == 's':
			d, s = d+time.Duration(n)*time.Second, s[1:]
		default:
			return 0, false
		}
		if d < 0 || d > 1<<53 {
			return 0, false
		}
	}
	return d, true
}

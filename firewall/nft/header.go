package nft

import (
	"strconv"
	"strings"

	"github.com/towpath/towpath/firewall/classify"
)

// A Header is a protocol's header, whose fields rules look at.
type Header struct {
	Name   string
	Base   classify.Base
	Proto  uint64 // the number under which the header below has it
	fields []*Field
}

// A Field is a part of a header.
type Field struct {
	Name   string
	Type   *Type
	Offset int // bits, from the header's first
	Bits   int
}

func (h *Header) field(name string) *Field {
	for _, f := range h.fields {
		if f.Name == name {
			return f
		}
	}
	return nil
}

func (h *Header) names() (all []string) {
	for _, f := range h.fields {
		all = append(all, f.Name)
	}
	return all
}

// headerText is a line a header: name, base, number, and its fields as
// name:type:offset:bits.
const headerText = `
ether   l 0     daddr:ether_addr:0:48 saddr:ether_addr:48:48 type:ether_type:96:16
vlan    l 0x8100 pcp:integer:112:3 dei:integer:115:1 cfi:integer:115:1 id:integer:116:12 type:ether_type:128:16
arp     n 0x806 htype:integer:0:16 ptype:ether_type:16:16 hlen:integer:32:8 plen:integer:40:8 operation:arp_op:48:16 saddr_ether:ether_addr:64:48 saddr_ip:ipv4_addr:112:32 daddr_ether:ether_addr:144:48 daddr_ip:ipv4_addr:192:32
ip      n 0x800 version:integer:0:4 hdrlength:integer:4:4 dscp:dscp:8:6 ecn:ecn:14:2 length:integer:16:16 id:integer:32:16 frag-off:integer:48:16 ttl:integer:64:8 protocol:inet_proto:72:8 checksum:integer:80:16 saddr:ipv4_addr:96:32 daddr:ipv4_addr:128:32
ip6     n 0x86dd version:integer:0:4 dscp:dscp:4:6 ecn:ecn:10:2 flowlabel:integer:12:20 length:integer:32:16 nexthdr:inet_proto:48:8 hoplimit:integer:56:8 saddr:ipv6_addr:64:128 daddr:ipv6_addr:192:128
icmp    t 1     type:icmp_type:0:8 code:icmp_code:8:8 checksum:integer:16:16 id:integer:32:16 sequence:integer:48:16 gateway:integer:32:32 mtu:integer:48:16
igmp    t 2     type:igmp_type:0:8 mrt:integer:8:8 checksum:integer:16:16 group:ipv4_addr:32:32
icmpv6  t 58    type:icmpv6_type:0:8 code:icmpv6_code:8:8 checksum:integer:16:16 parameter-problem:integer:32:32 packet-too-big:integer:32:32 mtu:integer:32:32 id:integer:32:16 sequence:integer:48:16 max-delay:integer:32:16
ah      t 51    nexthdr:inet_proto:0:8 hdrlength:integer:8:8 reserved:integer:16:16 spi:integer:32:32 sequence:integer:64:32
esp     t 50    spi:integer:0:32 sequence:integer:32:32
comp    t 108   nexthdr:inet_proto:0:8 flags:raw:8:8 cpi:integer:16:16
udp     t 17    sport:inet_service:0:16 dport:inet_service:16:16 length:integer:32:16 checksum:integer:48:16
udplite t 136   sport:inet_service:0:16 dport:inet_service:16:16 csumcov:integer:32:16 checksum:integer:48:16
tcp     t 6     sport:inet_service:0:16 dport:inet_service:16:16 sequence:integer:32:32 ackseq:integer:64:32 doff:integer:96:4 reserved:integer:100:4 flags:tcp_flag:104:8 window:integer:112:16 checksum:integer:128:16 urgptr:integer:144:16
dccp    t 33    sport:inet_service:0:16 dport:inet_service:16:16 type:dccp_pkttype:67:4
sctp    t 132   sport:inet_service:0:16 dport:inet_service:16:16 vtag:integer:32:32 checksum:integer:64:32
th      t 0     sport:inet_service:0:16 dport:inet_service:16:16
`

var headers = readHeaders(headerText)

// extText is the same of IPv6 extension headers, by the number of next header.
const extText = `
hbh  n 0  nexthdr:inet_proto:0:8 hdrlength:integer:8:8
rt   n 43 nexthdr:inet_proto:0:8 hdrlength:integer:8:8 type:integer:16:8 seg-left:integer:24:8
frag n 44 nexthdr:inet_proto:0:8 reserved:integer:8:8 frag-off:integer:16:13 reserved2:integer:29:2 more-fragments:integer:31:1 id:integer:32:32
dst  n 60 nexthdr:inet_proto:0:8 hdrlength:integer:8:8
mh   n 135 nexthdr:inet_proto:0:8 hdrlength:integer:8:8 type:mh_type:16:8 reserved:integer:24:8 checksum:integer:32:16
`

var extHeaders = readHeaders(extText)

// optText is the same of TCP's options, by kind.
const optText = `
eol       t 0  kind:integer:0:8
nop       t 1  kind:integer:0:8
maxseg    t 2  kind:integer:0:8 length:integer:8:8 size:integer:16:16
window    t 3  kind:integer:0:8 length:integer:8:8 count:integer:16:8
sack-perm t 4  kind:integer:0:8 length:integer:8:8
sack      t 5  kind:integer:0:8 length:integer:8:8 left:integer:16:32 right:integer:48:32
timestamp t 8  kind:integer:0:8 length:integer:8:8 tsval:integer:16:32 tsecr:integer:48:32
md5sig    t 19 kind:integer:0:8 length:integer:8:8
mptcp     t 30 kind:integer:0:8 length:integer:8:8 subtype:integer:16:4
fastopen  t 34 kind:integer:0:8 length:integer:8:8
`

var tcpOptions = readHeaders(optText)

// ipOptText is the same of IPv4's options.
const ipOptText = `
lsrr n 131 type:integer:0:8 length:integer:8:8 ptr:integer:16:8 addr:ipv4_addr:24:32
ssrr n 137 type:integer:0:8 length:integer:8:8 ptr:integer:16:8 addr:ipv4_addr:24:32
rr   n 7   type:integer:0:8 length:integer:8:8 ptr:integer:16:8 addr:ipv4_addr:24:32
ra   n 148 type:integer:0:8 length:integer:8:8 value:integer:16:16
`

var ipOptions = readHeaders(ipOptText)

func readHeaders(s string) map[string]*Header {
	all := map[string]*Header{}
	for line := range strings.Lines(strings.TrimSpace(s)) {
		f := strings.Fields(line)
		h := &Header{Name: f[0], Base: map[string]classify.Base{"l": classify.Link, "n": classify.Network, "t": classify.Transport}[f[1]]}
		h.Proto, _ = strconv.ParseUint(f[2], 0, 16)
		for _, spec := range f[3:] {
			p := strings.Split(spec, ":")
			x := &Field{Name: strings.ReplaceAll(p[0], "_", " "), Type: types[p[1]]}
			x.Offset, _ = strconv.Atoi(p[2])
			x.Bits, _ = strconv.Atoi(p[3])
			h.fields = append(h.fields, x)
		}
		all[h.Name] = h
	}
	return all
}

// A key names something known about a packet, for meta, ct and others.
type key struct {
	name  string
	typ   *Type
	bits  int
	set   bool // a rule can set it
	only  bool // a rule can only set it
	brief bool // printed without the word meta
}

var metaKeys = keys(`length:integer:32 protocol:ether_type:16 nfproto:nf_proto:8 l4proto:inet_proto:8 priority:classid:32:set
mark:mark:32:set iif:iface_index:32:brief iifname:ifname:128:brief iiftype:iface_type:16 oif:iface_index:32:brief
oifname:ifname:128:brief oiftype:iface_type:16 skuid:uid:32 skgid:gid:32 nftrace:integer:1:set rtclassid:realm:32
pkttype:pkt_type:8:set cpu:integer:32 iifgroup:devgroup:32:brief oifgroup:devgroup:32:brief cgroup:integer:32 random:integer:32
ipsec:boolean:1 iifkind:ifname:128 oifkind:ifname:128 ibrname:ifname:128 obrname:ifname:128 ibrpvid:integer:16 ibrvproto:ether_type:16
sdif:iface_index:32 sdifname:ifname:128 time:date:64 day:day:8 hour:hour:32 secmark:integer:32:set`)

var ctKeys = keys(`state:ct_state:32 direction:ct_dir:8 status:ct_status:32 mark:mark:32:set expiration:time:32 helper:string:128
l3proto:nf_proto:8 protocol:inet_proto:8 saddr:integer:0 daddr:integer:0 proto-src:inet_service:16 proto-dst:inet_service:16
label:ct_label:128:set event:ct_event:32:set:only bytes:integer:64 packets:integer:64 avgpkt:integer:64 zone:integer:16:set
id:integer:32 secmark:integer:32:set count:integer:32`)

func keys(s string) map[string]*key {
	all := map[string]*key{}
	for f := range strings.FieldsSeq(s) {
		p := strings.Split(f, ":")
		k := &key{name: p[0], typ: types[p[1]]}
		k.bits, _ = strconv.Atoi(p[2])
		for _, w := range p[3:] {
			switch w {
			case "set":
				k.set = true
			case "only":
				k.only = true
			case "brief":
				k.brief = true
			}
		}
		all[k.name] = k
	}
	return all
}

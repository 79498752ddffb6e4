package nat

import (
	"bytes"
	"fmt"
	"net/netip"
	"os/exec"
	"testing"
	"time"

	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/internal/testenv/kernelrouter"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

const (
	syn = wire.TCPSyn
	ack = wire.TCPAck
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// TestKernel has the same packets pass through the kernel's NAT and ours, and
// compares what comes out byte for byte.
func TestKernel(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		testenv.NeedsTool(t, "conntrack")
		r := kernelrouter.New(t, "")
		vip, vip6 := ip("10.0.0.200"), ip("2001:db8::200")
		for _, c := range []struct {
			name, rules string
			ours        []natRule
			packets     func(pass func(network int, p *packet.Packet) []byte)
		}{
			{"snat", "chain s { type nat hook postrouting priority srcnat; ip saddr 10.0.0.0/24 snat to 10.0.1.100; ip6 saddr 2001:db8::/64 snat to 2001:db8:1::100; }",
				[]natRule{
					{hook.Postrouting, from(client, 24), Range{Min: ip("10.0.1.100")}},
					{hook.Postrouting, from(cli6, 64), Range{Min: ip("2001:db8:1::100")}},
				}, func(pass func(int, *packet.Packet) []byte) { talk(pass, ip("10.0.1.100"), ip("2001:db8:1::100")) }},
			{"masquerade", "chain s { type nat hook postrouting priority srcnat; oifname tun1 masquerade; }",
				[]natRule{
					{hook.Postrouting, from(client, 24), Range{Masquerade: true}},
					{hook.Postrouting, from(cli6, 64), Range{Masquerade: true}},
				}, func(pass func(int, *packet.Packet) []byte) { talk(pass, outside, out6) }},
			{"snat to a port", "chain s { type nat hook postrouting priority srcnat; ip saddr 10.0.0.0/24 meta l4proto { tcp, udp } snat to 10.0.1.100:7777; }",
				[]natRule{{hook.Postrouting, from(client, 24), Range{Min: ip("10.0.1.100"), PortMin: 7777}}},
				func(pass func(int, *packet.Packet) []byte) {
					pass(0, udp(client, server, 1000, 53, "one"))
					pass(1, udp(server, ip("10.0.1.100"), 53, 7777, "answer"))
					pass(0, tcp(client, server, 1000, 80, syn, 99, 0, ""))
					pass(1, tcp(server, ip("10.0.1.100"), 80, 7777, syn|ack, 499, 100, ""))
				}},
			{"dnat", "chain d { type nat hook prerouting priority dstnat; ip daddr 10.0.0.200 tcp dport 8080 dnat to 10.0.1.2:80; ip daddr 10.0.0.200 udp dport 53 dnat to 10.0.1.2; ip daddr 10.0.0.200 icmp type echo-request dnat to 10.0.1.2; ip6 daddr 2001:db8::200 dnat to 2001:db8:1::2; }",
				[]natRule{
					{hook.Prerouting, func(p *packet.Packet) bool { return p.Dst == vip && p.Proto == wire.ProtoTCP }, Range{Min: server, PortMin: 80}},
					{hook.Prerouting, func(p *packet.Packet) bool { return p.Dst == vip }, Range{Min: server}},
					{hook.Prerouting, func(p *packet.Packet) bool { return p.Dst == vip6 }, Range{Min: srv6}},
				}, func(pass func(int, *packet.Packet) []byte) {
					pass(0, tcp(client, vip, 1000, 8080, syn, 99, 0, ""))
					out := pass(1, tcp(server, client, 80, 1000, syn|ack, 499, 100, ""))
					pass(0, tcp(client, vip, 1000, 8080, ack, 100, 500, "hello"))
					pass(0, udp(client, vip, 1000, 53, "q"))
					pass(1, udp(server, client, 53, 1000, "answer"))
					quote := udp(client, server, 1000, 53, "q").Bytes()
					pass(1, icmp(server, client, 3, 3, 0, quote))
					pass(1, icmp(ip("10.0.1.9"), client, 3, 1, 0, quote)) // a router behind
					pass(0, icmp(client, vip, 3, 3, 0, udp(vip, client, 53, 1000, "answer").Bytes()))
					pass(0, icmp(client, vip, 3, 3, 0, out))
					pass(0, icmp(client, vip, 8, 0, wire.ICMPEcho(77, 1), []byte("ping")))
					pass(1, icmp(server, client, 0, 0, wire.ICMPEcho(77, 1), []byte("ping")))
					pass(0, udp(cli6, vip6, 1000, 53, "q"))
					pass(1, udp(srv6, cli6, 53, 1000, "answer"))
					pass(1, icmp(srv6, cli6, 1, 4, 0, udp(cli6, srv6, 1000, 53, "q").Bytes()))
				}},
			{"netmap", "chain s { type nat hook postrouting priority srcnat; snat ip prefix to ip saddr map { 10.0.0.0/24 : 10.9.9.0/24 }; }",
				[]natRule{{hook.Postrouting, from(client, 24), Range{Prefix: netip.MustParsePrefix("10.9.9.0/24")}}},
				func(pass func(int, *packet.Packet) []byte) {
					pass(0, udp(ip("10.0.0.77"), server, 1000, 53, "q"))
					pass(1, udp(server, ip("10.9.9.77"), 53, 1000, "answer"))
				}},
			{"both", "chain d { type nat hook prerouting priority dstnat; ip daddr 10.0.0.200 dnat to 10.0.1.2; }\nchain s { type nat hook postrouting priority srcnat; ip daddr 10.0.1.2 snat to 10.0.1.100; }",
				[]natRule{
					{hook.Prerouting, func(p *packet.Packet) bool { return p.Dst == vip }, Range{Min: server}},
					{hook.Postrouting, func(p *packet.Packet) bool { return p.Dst == server }, Range{Min: ip("10.0.1.100")}},
				}, func(pass func(int, *packet.Packet) []byte) {
					out := pass(0, udp(client, vip, 1000, 53, "q"))
					pass(1, udp(server, ip("10.0.1.100"), 53, 1000, "answer"))
					pass(1, icmp(server, ip("10.0.1.100"), 3, 3, 0, out))
					pass(1, icmp(ip("10.0.1.9"), ip("10.0.1.100"), 11, 0, 0, out))
				}},
		} {
			t.Run(c.name, func(t *testing.T) {
				exec.Command("conntrack", "-F").Run()
				r.Rules("table inet n {\n" + c.rules + "\nchain f { type filter hook forward priority filter; ct state invalid counter; }\n}")
				us := newRouter(t, conntrack.Settings{}, c.ours...)
				start, n, through := time.Now(), 0, 0
				c.packets(func(network int, p *packet.Packet) []byte {
					n++
					us.now = time.Since(start)
					in := p.Bytes()
					want := r.Pass(network, in)
					var got []byte
					if q := us.forward(p); q != nil {
						got = q.Bytes()
						packet.Free(q)
					}
					if !bytes.Equal(got, want) {
						t.Errorf("packet %d: %v\nours   %s\n%x\nkernel %s\n%x", n, wire.Format(in, wire.LinkRaw), text(got), got, text(want), want)
					}
					if want != nil && !bytes.Equal(want[12:], in[12:]) {
						through++
					}
					return want
				})
				t.Logf("%d packets, %d of them translated", n, through)
				if through == 0 || through < n-4 {
					t.Errorf("%d of %d packets were translated", through, n)
				}
			})
		}
	})
}

func text(b []byte) string {
	if b == nil {
		return "nothing"
	}
	return wire.Format(b, wire.LinkRaw)
}

// talk is what clients and servers say through a translation of the source.
func talk(pass func(int, *packet.Packet) []byte, out4, out6 netip.Addr) {
	pass(0, udp(client, server, 1000, 53, "question"))
	pass(1, udp(server, out4, 53, 1000, "answer"))
	none := udp(client, server, 1001, 53, "no checksum")
	wire.UDP(none.From(none.Transport)).SetChecksum(0)
	pass(0, none)
	quote := udp(out4, server, 1000, 53, "question").Bytes()
	pass(1, icmp(server, out4, 3, 3, 0, quote))
	pass(1, icmp(ip("10.0.1.9"), out4, 11, 0, 0, quote[:28]))
	pass(1, icmp(ip("10.0.1.9"), out4, 3, 4, 1400, quote))
	pass(0, icmp(client, server, 3, 3, 0, udp(server, client, 53, 1000, "answer").Bytes()))
	pass(0, icmp(client, server, 8, 0, wire.ICMPEcho(77, 1), []byte("ping")))
	pass(1, icmp(server, out4, 0, 0, wire.ICMPEcho(77, 1), []byte("ping")))
	pass(1, icmp(ip("10.0.1.9"), out4, 11, 0, 0, icmp(out4, server, 8, 0, wire.ICMPEcho(77, 1), []byte("ping")).Bytes()))
	pass(0, tcp(client, server, 2000, 80, syn, 99, 0, ""))
	pass(1, tcp(server, out4, 80, 2000, syn|ack, 499, 100, ""))
	pass(0, tcp(client, server, 2000, 80, ack, 100, 500, "GET /"))
	quoted := tcp(out4, server, 2000, 80, ack, 100, 500, "GET /").Bytes()
	pass(1, icmp(ip("10.0.1.9"), out4, 3, 1, 0, quoted))
	pass(1, icmp(ip("10.0.1.9"), out4, 3, 1, 0, quoted[:28]))
	pass(1, tcp(server, out4, 80, 2000, wire.TCPRst|ack, 500, 105, ""))
	pass(0, ipPacket(client, server, wire.ProtoGRE, []byte{0, 0, 8, 0, 1, 2, 3, 4}))
	pass(0, ipPacket(client, server, wire.ProtoESP, make([]byte, 24)))
	pass(0, udp(cli6, srv6, 1000, 53, "question"))
	pass(1, udp(srv6, out6, 53, 1000, "answer"))
	pass(1, icmp(srv6, out6, 1, 4, 0, udp(out6, srv6, 1000, 53, "question").Bytes()))
	pass(0, icmp(cli6, srv6, 128, 0, wire.ICMPEcho(77, 1), []byte("ping")))
	pass(1, icmp(srv6, out6, 129, 0, wire.ICMPEcho(77, 1), []byte("ping")))
	pass(0, tcp(cli6, srv6, 2000, 80, syn, 99, 0, ""))
	pass(1, tcp(srv6, out6, 80, 2000, syn|ack, 499, 100, ""))
}

// TestKernelFTP compares what becomes of FTP's lines, the sequence numbers
// behind them, and the connections that they announce.
func TestKernelFTP(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		testenv.NeedsTool(t, "conntrack")
		out := ip("10.0.1.100")
		r := kernelrouter.New(t, `
table inet n {
	ct helper ftp { type "ftp" protocol tcp; }
	chain h { type filter hook prerouting priority filter; tcp dport 21 ct helper set "ftp"; }
	chain s { type nat hook postrouting priority srcnat; ip saddr 10.0.0.0/24 snat to 10.0.1.100; }
}`)
		us := newRouter(t, conntrack.Settings{Helper: true}, natRule{hook.Postrouting, from(client, 24), Range{Min: out}})
		start, n := time.Now(), 0
		pass := func(network int, p *packet.Packet) {
			n++
			us.now = time.Since(start)
			in := p.Bytes()
			want := r.Pass(network, in)
			var got []byte
			if q := us.forward(p); q != nil {
				got = q.Bytes()
				packet.Free(q)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("packet %d: %v\nours   %s\n%q\nkernel %s\n%q", n, wire.Format(in, wire.LinkRaw), text(got), got, text(want), want)
			}
		}
		for i, line := range []string{"PORT 10,0,0,1,8,1\r\n", "EPRT |1|10.0.0.1|2049|\r\n"} {
			port := uint16(3000 + i)
			translated := []string{"PORT 10,0,1,100,8,1\r\n", "EPRT |1|10.0.1.100|2049|\r\n"}[i]
			seq := uint32(106 + len(line))
			theirs := uint32(106 + len(translated))
			pass(0, tcp(client, server, port, 21, syn, 99, 0, ""))
			pass(1, tcp(server, out, 21, port, syn|ack, 499, 100, ""))
			pass(0, tcp(client, server, port, 21, ack, 100, 500, ""))
			pass(1, tcp(server, out, 21, port, ack, 500, 100, "220 hello\r\n"))
			pass(0, tcp(client, server, port, 21, ack, 100, 511, "NOOP\r\n"))
			pass(0, tcp(client, server, port, 21, ack, 106, 511, line))
			pass(1, tcp(server, out, 21, port, ack, 511, theirs, "200 OK\r\n"))
			pass(0, tcp(client, server, port, 21, ack, seq, 519, "RETR x\r\n"))
			pass(1, tcp(server, out, 21, port, ack, 519, theirs+8, ""))
			pass(1, tcp(server, out, 20, 2049, syn, 7000, 0, ""))
			pass(0, tcp(client, server, 2049, 20, syn|ack, 8000, 7001, ""))
			pass(1, tcp(server, out, 20, 2049, ack, 7001, 8001, fmt.Sprint("data of ", i)))
			exec.Command("conntrack", "-F").Run()
			us.flows.Flush(us.now, nil)
		}
	})
}

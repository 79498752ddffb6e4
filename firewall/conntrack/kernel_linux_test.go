package conntrack

import (
	"fmt"
	"math/rand"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/internal/testenv/kernelrouter"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// stateRules have the kernel write what it has found a packet to be into its
// traffic class.
const stateRules = `
table inet states {
	chain f {
		type filter hook forward priority mangle
		meta nfproto ipv4 ct state new ip dscp set 1
		meta nfproto ipv4 ct state established ip dscp set 2
		meta nfproto ipv4 ct state related ip dscp set 3
		meta nfproto ipv4 ct state invalid ip dscp set 4
		meta nfproto ipv4 ct state untracked ip dscp set 5
		meta nfproto ipv6 ct state new ip6 dscp set 1
		meta nfproto ipv6 ct state established ip6 dscp set 2
		meta nfproto ipv6 ct state related ip6 dscp set 3
		meta nfproto ipv6 ct state invalid ip6 dscp set 4
		meta nfproto ipv6 ct state untracked ip6 dscp set 5
	}
}`

func dscp(ip []byte) packet.TrackState {
	if ip[0]>>4 == 4 {
		return packet.TrackState(ip[1] >> 2)
	}
	return packet.TrackState((ip[0]<<4 | ip[1]>>4) >> 2)
}

// A kernelFlow is what the kernel tells of a flow.
type kernelFlow struct {
	state              string
	timeout            int
	assured, unreplied bool
}

func (f kernelFlow) String() string {
	return fmt.Sprintf("%s timeout %d assured %v unreplied %v", f.state, f.timeout, f.assured, f.unreplied)
}

// kernelFlowOf finds the flow that begins with tuple.
func kernelFlowOf(t testing.TB, lines []string, src, dst, ports string) (f kernelFlow, ok bool) {
	for _, l := range lines {
		w := strings.Fields(l)
		i := 5
		if strings.HasPrefix(w[i], "timeout=") { // of GRE
			i += 2
		}
		if !strings.Contains(w[i], "=") {
			f.state = w[i]
			i++
		} else {
			f.state = ""
		}
		if w[i] != "src="+src || w[i+1] != "dst="+dst || !strings.HasPrefix(strings.Join(w[i+2:], " "), ports) {
			continue
		}
		var err error
		if f.timeout, err = strconv.Atoi(w[4]); err != nil {
			t.Fatalf("%q", l)
		}
		f.assured, f.unreplied = strings.Contains(l, "[ASSURED]"), strings.Contains(l, "[UNREPLIED]")
		return f, true
	}
	return kernelFlow{}, false
}

// A twin compares the kernel's table with ours.
type twin struct {
	t     *testing.T
	r     *kernelrouter.Router
	ct    *Table
	start time.Time
	steps int
}

// pass has a packet go through both and compares what they find it to be, and
// what the flow that src and dst begin has become. It reports whether all is
// the same.
func (w *twin) pass(network int, p *packet.Packet, name, src, dst, ports string) bool {
	w.steps++
	b := p.Bytes()
	out := w.r.Pass(network, b)
	now := time.Since(w.start)
	got, _ := w.ct.pass(p, now)
	want := packet.TrackNone
	if out != nil {
		want = dscp(out)
	}
	if got != want {
		w.t.Errorf("step %d: %s: state %d, the kernel says %d", w.steps, name, got, want)
		return false
	}
	wantFlow, wantOK := kernelFlowOf(w.t, w.r.Flows(), src, dst, ports)
	var have kernelFlow
	haveOK := false
	for _, f := range w.ct.List(now) {
		if f.Original.Src.StringExpanded() == src && f.Original.Dst.StringExpanded() == dst && strings.HasPrefix(portText(&f), ports) {
			have, haveOK = kernelFlow{f.State, f.Timeout, f.Assured, f.Unreplied}, true
		}
	}
	same := have
	if d := have.timeout - wantFlow.timeout; d >= -2 && d <= 2 {
		same.timeout = wantFlow.timeout // real time passes
	}
	if same != wantFlow || haveOK != wantOK {
		w.t.Errorf("step %d: %s: flow %v %v, the kernel's %v %v", w.steps, name, haveOK, have, wantOK, wantFlow)
		return false
	}
	return true
}

func portText(f *Flow) string {
	var b strings.Builder
	f.Acct = false
	f.direction(&b, &f.Original)
	_, after, _ := strings.Cut(b.String(), " dst=")
	_, after, _ = strings.Cut(after, " ")
	return after
}

// TestKernelTCP has random dialogues of TCP, most of them plausible, pass
// through the kernel's connection tracking and ours.
func TestKernelTCP(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		r := kernelrouter.New(t, stateRules)
		port := uint16(10000)
		for _, c := range []struct {
			name, sysctl string
			set          Settings
		}{
			{"default", "", Settings{}},
			{"liberal", "nf_conntrack_tcp_be_liberal", Settings{TCPBeLiberal: true}},
			{"strict", "nf_conntrack_tcp_loose", Settings{TCPStrict: true}},
			{"ignore_invalid_rst", "nf_conntrack_tcp_ignore_invalid_rst", Settings{TCPIgnoreInvalidRST: true}},
		} {
			t.Run(c.name, func(t *testing.T) {
				if c.sysctl != "" {
					v, back := "1", "0"
					if c.name == "strict" {
						v, back = back, v
					}
					r.Sysctl("net/netfilter/"+c.sysctl, v)
					defer r.Sysctl("net/netfilter/"+c.sysctl, back)
				}
				w := &twin{t: t, r: r, ct: NewTable(c.set), start: time.Now()}
				rnd := rand.New(rand.NewSource(int64(len(c.name))))
				for range dialogues() {
					if port++; !w.dialogue(rnd, port) {
						return
					}
				}
			})
		}
	})
}

func dialogues() int {
	if testing.Short() || testenv.Race {
		return 10
	}
	return 40
}

// dialogue is one connection's random life: both ends keep plausible numbers,
// and sometimes send what they should not.
func (w *twin) dialogue(rnd *rand.Rand, port uint16) bool {
	type end struct {
		next, got uint32
		win       uint16
	}
	ends := [2]end{{rnd.Uint32(), 0, uint16(1 + rnd.Intn(3000))}, {rnd.Uint32(), 0, uint16(1 + rnd.Intn(3000))}}
	options := [][]byte{nil, wscale, sackOK, {2, 4, 5, 180}}[rnd.Intn(4)]
	script := []wire.TCPFlags{syn, syn | ack, ack}
	who := []int{0, 1, 0}
	if rnd.Intn(6) == 0 {
		script, who = nil, nil // picked up
	}
	ports := fmt.Sprintf("sport=%d dport=80", port)
	for i := range 8 + rnd.Intn(20) {
		side, flags := rnd.Intn(2), []wire.TCPFlags{ack, ack, ack, ack | wire.TCPPsh, fin, rst, rst | ack, syn, syn | ack, ack | wire.TCPUrg, 0, syn | fin}[rnd.Intn(12)]
		if rnd.Intn(3) != 0 && flags != fin && flags != rst {
			flags = ack
		}
		if i < len(script) && rnd.Intn(12) != 0 {
			side, flags = who[i], script[i]
		}
		from, to := &ends[side], &ends[1-side]
		f := tcpFields{flags: flags, seq: from.next, win: from.win}
		if flags&ack != 0 {
			f.ack = to.next
		}
		if flags&(syn|rst) == 0 {
			f.payload = strings.Repeat("x", rnd.Intn(3)*rnd.Intn(700))
		}
		if flags&syn != 0 {
			f.options = options
		}
		switch rnd.Intn(14) {
		case 0:
			f.seq += uint32(rnd.Intn(10000)) - 5000
		case 1:
			f.ack += uint32(rnd.Intn(10000)) - 5000
		case 2:
			f.win = 0
		case 3:
			f.seq = rnd.Uint32()
		case 4:
			f.ack = 0
		case 5:
			f.seq = 0
		case 6:
			right := to.next + uint32(rnd.Intn(4000))
			left := right - uint32(rnd.Intn(1000))
			f.options = []byte{1, 1, 5, 10, byte(left >> 24), byte(left >> 16), byte(left >> 8), byte(left),
				byte(right >> 24), byte(right >> 16), byte(right >> 8), byte(right)}
		case 7, 8: // repeat: the sender does not move on
			defer func(n uint32) { from.next = n }(from.next)
		}
		if f.seq == from.next {
			from.next += uint32(len(f.payload))
			if flags&(syn|wire.TCPFin) != 0 {
				from.next++
			}
		}
		name := fmt.Sprintf("port %d: from %d %v seq %d ack %d win %d len %d", port, side, flags, f.seq, f.ack, f.win, len(f.payload))
		var p *packet.Packet
		if side == 0 {
			p = tcp(client, server, port, 80, f)
		} else {
			p = tcp(server, client, 80, port, f)
		}
		if !w.pass(side, p, name, client.String(), server.String(), ports) {
			return false
		}
	}
	return true
}

// TestKernelDatagrams compares UDP, ICMP, errors and protocols without states.
func TestKernelDatagrams(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		r := kernelrouter.New(t, stateRules)
		w := &twin{t: t, r: r, ct: NewTable(Settings{}), start: time.Now()}
		c, s, c6, s6 := client.String(), server.String(), "2001:0db8:0000:0000:0000:0000:0000:0001", "2001:0db8:0001:0000:0000:0000:0000:0002"
		w.pass(0, udp(client, server, 1000, 53, "q"), "udp", c, s, "sport=1000 dport=53")
		quote := udp(client, server, 1000, 53, "q").Bytes()
		w.pass(1, icmp(server, client, 3, 3, 0, quote), "port unreachable", c, s, "sport=1000 dport=53")
		w.pass(1, icmp(server, client.Next(), 3, 3, 0, quote), "error to another", c, s, "sport=1000 dport=53")
		w.pass(1, icmp(server, client, 11, 0, 0, quote[:27]), "short quote", c, s, "sport=1000 dport=53")
		w.pass(1, icmp(server, client, 12, 0, 0, quote[:28]), "quote of 8 bytes", c, s, "sport=1000 dport=53")
		w.pass(1, udp(server, client, 53, 1000, "a"), "answer", c, s, "sport=1000 dport=53")
		w.pass(0, udp(client, server, 1000, 53, "q"), "udp again", c, s, "sport=1000 dport=53")
		w.pass(0, icmp(client, server, 8, 0, wire.ICMPEcho(7, 1), nil), "echo", c, s, "type=8 code=0 id=7")
		w.pass(1, icmp(server, client, 0, 0, wire.ICMPEcho(7, 1), nil), "echo reply", c, s, "type=8 code=0 id=7")
		w.pass(1, icmp(server, client, 0, 0, wire.ICMPEcho(9, 1), nil), "echo reply unasked", c, s, "type=8 code=0 id=9")
		for _, typ := range []uint8{1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 30, 40, 200} {
			name := fmt.Sprintf("icmp type %d", typ)
			w.pass(0, icmp(client, server, typ, 0, wire.ICMPEcho(uint16(typ), 1), make([]byte, 12)), name, c, s, fmt.Sprintf("type=%d", typ))
		}
		w.pass(0, ipPacket(client, server, wire.ProtoGRE, []byte{0, 0, 8, 0}), "gre", c, s, "srckey")
		w.pass(1, ipPacket(server, client, wire.ProtoGRE, []byte{0, 0, 8, 0}), "gre answer", c, s, "srckey")
		w.pass(0, ipPacket(client, server, wire.ProtoGRE, []byte{0, 0, 8, 0}), "gre again", c, s, "srckey")
		bad := udp(client, server, 5, 6, "bad checksum")
		bad.From(bad.Transport)[10]++
		w.pass(0, bad, "bad checksum", c, s, "sport=5")
		none := udp(client, server, 5, 6, "no checksum")
		wire.UDP(none.From(none.Transport)).SetChecksum(0)
		w.pass(0, none, "no checksum", c, s, "sport=5 dport=6")
		w.pass(0, udp(cli6, srv6, 1000, 53, "q"), "udp6", c6, s6, "sport=1000 dport=53")
		w.pass(1, udp(srv6, cli6, 53, 1000, "q"), "udp6 answer", c6, s6, "sport=1000 dport=53")
		quote = udp(srv6, cli6, 53, 1000, "q").Bytes()
		w.pass(0, icmp(cli6, srv6, 1, 4, 0, quote), "unreachable6", c6, s6, "sport=1000 dport=53")
		w.pass(0, icmp(cli6, srv6, 128, 0, wire.ICMPEcho(7, 1), nil), "echo6", c6, s6, "type=128 code=0 id=7")
		w.pass(1, icmp(srv6, cli6, 129, 0, wire.ICMPEcho(7, 1), nil), "echo6 reply", c6, s6, "type=128 code=0 id=7")
		for _, typ := range []uint8{0, 1, 2, 3, 4, 100, 127, 129, 130, 131, 132, 139, 140, 141, 143, 144, 200} {
			if typ >= 130 && typ <= 137 || typ == 143 {
				continue // not forwarded, or not shown
			}
			name := fmt.Sprintf("icmpv6 type %d", typ)
			w.pass(0, icmp(cli6, srv6, typ, 0, wire.ICMPEcho(uint16(typ), 1), make([]byte, 12)), name, c6, s6, fmt.Sprintf("type=%d", typ))
		}
	})
}

// TestKernelFTP compares expectations, where the conntrack tool lists them.
func TestKernelFTP(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		testenv.NeedsTool(t, "conntrack")
		r := kernelrouter.New(t, stateRules+`
table ip helpers {
	ct helper ftp { type "ftp" protocol tcp; }
	ct helper tftp { type "tftp" protocol udp; }
	chain p {
		type filter hook prerouting priority filter
		tcp dport 21 ct helper set "ftp"
		udp dport 69 ct helper set "tftp"
	}
}`)
		w := &twin{t: t, r: r, ct: NewTable(Settings{Helper: true}), start: time.Now()}
		for i, line := range ftpLines {
			port := uint16(2000 + i)
			ports := fmt.Sprintf("sport=%d dport=21", port)
			talk := func(side int, f tcpFields) bool {
				p := tcp(client, server, port, 21, f)
				if side == 1 {
					p = tcp(server, client, 21, port, f)
				}
				return w.pass(side, p, line.text, client.String(), server.String(), ports)
			}
			ok := talk(0, tcpFields{flags: syn, seq: 99, win: 9000}) &&
				talk(1, tcpFields{flags: syn | ack, seq: 499, ack: 100, win: 9000}) &&
				talk(0, tcpFields{flags: ack, seq: 100, ack: 500, win: 9000}) &&
				talk(1, tcpFields{flags: ack, seq: 500, ack: 100, win: 9000, payload: "220 hello\r\n"}) &&
				talk(0, tcpFields{flags: ack, seq: 100, ack: 511, win: 9000, payload: "NOOP\r\n"})
			if !ok {
				return
			}
			if line.server {
				ok = talk(1, tcpFields{flags: ack, seq: 511, ack: 106, win: 9000, payload: line.text})
			} else {
				ok = talk(0, tcpFields{flags: ack, seq: 106, ack: 511, win: 9000, payload: line.text})
			}
			if !ok {
				return
			}
			out, err := exec.Command("conntrack", "-L", "expect").Output()
			if err != nil {
				t.Fatal(err)
			}
			var want, have []string
			for _, l := range strings.Split(string(out), "\n") {
				if strings.Contains(l, "sport=0") && strings.Contains(l, "helper=ftp") {
					k := strings.Fields(l)
					for _, word := range k[2:] {
						if strings.HasPrefix(word, "dport=") || strings.HasPrefix(word, "dst=") || strings.HasPrefix(word, "src=") {
							want = append(want, word)
						}
						if len(want) == 3 {
							break
						}
					}
				}
			}
			for _, x := range w.ct.Expectations(time.Since(w.start)) {
				have = append(have, "src="+x.Src.String(), "dst="+x.Dst.String(), fmt.Sprintf("dport=%d", x.DstPort))
			}
			if fmt.Sprint(have) != fmt.Sprint(want) {
				t.Errorf("%q: %v, the kernel's %v", line.text, have, want)
			}
			if len(have) > 0 {
				x := w.ct.Expectations(time.Since(w.start))[0]
				data := tcp(x.Src, x.Dst, 20, x.DstPort, tcpFields{flags: syn, win: 10})
				side := 0
				if x.Src == server {
					side = 1
				}
				w.pass(side, data, "data connection", x.Src.String(), x.Dst.String(), fmt.Sprintf("sport=20 dport=%d", x.DstPort))
			}
			exec.Command("conntrack", "-F", "expect").Run()
			exec.Command("conntrack", "-F").Run()
			w.ct.Flush(time.Since(w.start), nil)
		}
	})
}

// Lines in which the kernel lets numbers overflow are in TestFTPLines.
//
// ftpLines announce data connections, or do not.
var ftpLines = []struct {
	text   string
	server bool
	want   uint16
}{
	{"PORT 10,0,0,1,8,1\r\n", false, 2049},
	{"port 10,0,0,1,8,1\r\n", false, 2049},
	{"PORT 10,0,0,9,8,1\r\n", false, 0}, // of another
	{"PORT 10,0,0,1,8\r\n", false, 0},
	{"EPRT |1|10.0.0.1|5282|\r\n", false, 5282},
	{"EPRT |2|10.0.0.1|5282|\r\n", false, 0},
	{"EPRT !1!10.0.0.1!5282!\r\n", false, 5282},
	{"227 Entering Passive Mode (10,0,1,2,200,1).\r\n", true, 51201},
	{"227 Entering Passive Mode (10,0,1,3,200,1).\r\n", true, 0},
	{"227 =10,0,1,2,200,1\r\n", true, 51201},
	{"229 Entering Extended Passive Mode (|||6446|)\r\n", true, 6446},
	{"229 Entering Extended Passive Mode |||6446|\r\n", true, 0},
	{"PORT 10,0,1,2,8,1\r\n", true, 0},
	{"227 Entering Passive Mode (10,0,0,1,200,1).\r\n", false, 0},
}

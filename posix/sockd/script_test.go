//go:build linux

package sockd

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/wire"
)

// TestScripts plays the conversations in testdata/*.txt: calls on one side,
// packets on the other, on a clock that only the script moves. A file holds
// scripts, each below a line "-- name: clause it shows", and each is played over
// IPv4 and IPv6, unless the name ends in [4] or [6]. A script's lines are
//
//	[+SECONDS] < FLAGS SEQ[:END] [ack N] [win N] [urg N] [mss N] ["TEXT"] [from PORT] [to PORT]
//	[+SECONDS] > FLAGS SEQ[:END] ...     the next packet to leave is so, at exactly this time
//	[+SECONDS] < udp "TEXT" [from PORT] [to PORT] [ttl N] [tos N]
//	[+SECONDS] > udp "TEXT" ...
//	[+SECONDS] < icmp KIND [N] [of BACK]  about the last packet that left, or one before it
//	[+SECONDS] > icmp KIND
//	[+SECONDS] CALL [ARGUMENTS] [= RESULT]
//	[+SECONDS] nothing
//	& CALL [ARGUMENTS]                   on another connection: it may wait
//	done = RESULT                        its result
//
// A time first lets the clock run that far, timers included; a packet that
// leaves meanwhile must have been expected. The other side is port 4000, ours
// 80, or what has been learned of a connection that a call began. Sequence
// numbers count from 0 at each side's SYN; bytes are the letters from a on, by
// their sequence numbers from 1. A result is a number, the name of an error, or
// text; without one the call must not fail. Lines that begin with # are
// comments.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	count := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split("\n"+string(text), "\n-- ")[1:] {
			head, body, _ := strings.Cut(part, "\n")
			name, clause, ok := strings.Cut(head, ": ")
			if !ok {
				t.Fatalf("%s: a script cites its clause: -- name: clause, not %q", file, head)
			}
			for _, v6 := range []bool{false, true} {
				only, fam := "[6]", "IPv4"
				if v6 {
					only, fam = "[4]", "IPv6"
				}
				if strings.HasSuffix(name, only) {
					continue
				}
				count++
				t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+name+"/"+fam, func(t *testing.T) {
					s := &script{suite: start(t, Config{Virtual: true}), v6: v6, peers: make(map[uint16]*peer), packets: make(chan []byte, 1000)}
					s.run(file, clause, strings.Split(body, "\n"))
				})
			}
		}
	}
	t.Logf("%d scripts", count)
	if count < 100 {
		t.Errorf("only %d scripts", count)
	}
}

// A peer is what is known of a connection.
type peer struct {
	port  uint16 // ours
	isn   uint32 // ours
	known bool   // isn is
}

type script struct {
	*suite
	v6      bool
	peers   map[uint16]*peer // by the other side's port
	left    [][]byte         // packets that have left, the newest last
	packets chan []byte
	ahead   time.Duration // how much later it is than the script has it
	waiting chan string   // the reply of a call that waits
}

func (s *script) run(file, clause string, lines []string) {
	go func() {
		for {
			b := make([]byte, 3000)
			n, err := s.link.Read(b)
			if err != nil {
				return
			}
			s.packets <- b[:n]
		}
	}()
	s.link.SetReadDeadline(time.Time{})
	var done []string
	for _, line := range append(lines, "nothing") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := s.line(line); err != nil {
			s.t.Errorf("%s: %s\n%s\n=> %s\n%v", file, clause, strings.Join(done, "\n"), line, err)
			return
		}
		done = append(done, "   "+line)
	}
}

const scriptTolerance = time.Millisecond

func (s *script) line(line string) error {
	f := words(line)
	wait := time.Duration(0)
	if strings.HasPrefix(f[0], "+") {
		sec, err := strconv.ParseFloat(f[0][1:], 64)
		if err != nil {
			return err
		}
		wait, f = time.Duration(sec*float64(time.Second)), f[1:]
	}
	if wait > 0 {
		wait, s.ahead = wait-s.ahead, 0
	}
	if f[0] == ">" {
		if wait > scriptTolerance {
			s.sleep(wait - scriptTolerance)
			if err := s.quiet(); err != nil {
				return err
			}
			wait, s.ahead = 2*scriptTolerance, scriptTolerance
		}
		s.sleep(wait)
		return s.expect(f[1:])
	}
	s.sleep(wait)
	if err := s.quiet(); err != nil && f[0] != "&" && f[0] != "done" {
		return err
	}
	switch f[0] {
	case "<":
		return s.inject(f[1:])
	case "nothing":
		return nil
	case "&":
		return s.begin(f[1:])
	}
	want, has := "", false
	if i := slices.Index(f, "="); i >= 0 {
		want, has, f = strings.Join(f[i+1:], " "), true, f[:i]
	}
	var got string
	var err error
	if f[0] == "done" {
		select {
		case line := <-s.waiting:
			var r map[string]any
			json.Unmarshal([]byte(line), &r)
			got, err = result(r, want), nil
		case <-time.After(5 * time.Second):
			return fmt.Errorf("it still waits")
		}
	} else {
		got, err = s.call(f[0], f[1:], want)
	}
	switch {
	case err != nil:
		return err
	case has && got != want:
		return fmt.Errorf("it says %s", got)
	case !has && strings.HasPrefix(got, "E"):
		return fmt.Errorf("it fails with %s", got)
	}
	return nil
}

// words splits a line; quoted text stays one word, with its first quote.
func words(line string) (f []string) {
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if line[0] == '"' {
			text, rest, _ := strings.Cut(line[1:], `"`)
			f, line = append(f, `"`+text), rest
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		f, line = append(f, word), rest
	}
	return f
}

func (s *script) sleep(d time.Duration) {
	if d > 0 {
		s.want(fmt.Sprintf(`{"op":"sleep","a":[%d]}`, d/time.Microsecond), ok(0))
	}
}

// next takes the next packet that has left. Calls have been answered after it
// has been written, but the reader may be late.
func (s *script) next(patience time.Duration) []byte {
	select {
	case b := <-s.packets:
		s.left = append(s.left, b)
		return b
	case <-time.After(patience):
		return nil
	}
}

func (s *script) quiet() error {
	s.line0() // answered behind what has been sent until now
	if b := s.next(300 * time.Microsecond); b != nil {
		return fmt.Errorf("a packet that nobody expected:\n   > %s", s.format(b))
	}
	return nil
}

func (s *script) line0() { s.suite.line(`{"op":"now"}`) }

func (s *script) addrs() (us, them netip.Addr) {
	if s.v6 {
		return netip.MustParseAddr("fd3d:0a0b:17d6::1"), netip.MustParseAddr("2001:db8::1")
	}
	return netip.MustParseAddr("192.168.0.1"), netip.MustParseAddr("192.0.2.1")
}

// A view is a packet taken apart.
type view struct {
	src, dst netip.Addr
	proto    wire.Proto
	ttl, tos uint8
	payload  []byte
}

func look(b []byte) view {
	if b[0]>>4 == 4 {
		ip := wire.IPv4(b)
		return view{ip.Src(), ip.Dst(), ip.Proto(), ip.TTL(), ip.TOS(), ip.Payload()}
	}
	ip := wire.IPv6(b)
	return view{ip.Src(), ip.Dst(), ip.NextHeader(), ip.HopLimit(), ip.TrafficClass(), b[wire.IPv6Len:]}
}

// peerOf is what is known of the connection with a port of the other side.
func (s *script) peerOf(port uint16) *peer {
	p := s.peers[port]
	if p == nil {
		p = &peer{port: 80}
		s.peers[port] = p
	}
	return p
}

// fields are the words behind a segment's flags and numbers, by name.
type fields struct {
	num  map[string]int
	text string
	has  bool // text
}

func parse(f []string) (x fields, err error) {
	x.num = make(map[string]int)
	for i := 0; i < len(f); i++ {
		if f[i][0] == '"' {
			x.text, x.has = f[i][1:], true
			continue
		}
		if i+1 == len(f) {
			return x, fmt.Errorf("%s has no value", f[i])
		}
		n, err := strconv.Atoi(f[i+1])
		if err != nil {
			return x, err
		}
		x.num[f[i]] = n
		i++
	}
	return x, nil
}

func (x *fields) get(name string, otherwise int) int {
	if n, ok := x.num[name]; ok {
		return n
	}
	return otherwise
}

func parseFlags(s string) (f wire.TCPFlags) {
	for _, c := range s {
		f |= map[rune]wire.TCPFlags{'S': wire.TCPSyn, 'F': wire.TCPFin, 'R': wire.TCPRst, 'P': wire.TCPPsh, '.': wire.TCPAck, 'U': wire.TCPUrg, 'E': wire.TCPEce, 'W': wire.TCPCwr}[c]
	}
	return f
}

// numbers reads SEQ or SEQ:END.
func numbers(s string) (seq, end int, err error) {
	a, b, two := strings.Cut(s, ":")
	if seq, err = strconv.Atoi(a); err == nil && two {
		end, err = strconv.Atoi(b)
		return seq, end, err
	}
	return seq, seq, err
}

// letters are the bytes with sequence numbers from seq to end.
func letters(seq, end int) []byte {
	b := make([]byte, max(end-seq, 0))
	for i := range b {
		b[i] = 'a' + byte((seq+i-1)%26)
	}
	return b
}

// inject sends a packet to the host.
func (s *script) inject(f []string) error {
	us, them := s.addrs()
	b := new(wire.Builder)
	ip := wire.IPv4Fields{TTL: 64, Src: them, Dst: us}
	switch f[0] {
	case "udp":
		x, err := parse(f[1:])
		if err != nil {
			return err
		}
		ip.TTL, ip.TOS = uint8(x.get("ttl", 64)), uint8(x.get("tos", 0))
		b.Payload([]byte(x.text)).PushUDP(uint16(x.get("from", 4000)), uint16(x.get("to", 80)))
	case "icmp":
		if err := s.icmp(b, f[1:]); err != nil {
			return err
		}
	default:
		if len(f) < 2 {
			return fmt.Errorf("a segment has flags and a number")
		}
		seq, end, err := numbers(f[1])
		if err != nil {
			return err
		}
		x, err := parse(f[2:])
		if err != nil {
			return err
		}
		p := s.peerOf(uint16(x.get("from", 4000)))
		seg := wire.TCPFields{
			SrcPort: uint16(x.get("from", 4000)), DstPort: uint16(x.get("to", int(p.port))), Flags: parseFlags(f[0]),
			Seq: uint32(seq), Window: uint16(x.get("win", 10000)), Urgent: uint16(x.get("urg", 0)),
		}
		if n, ok := x.num["ack"]; ok {
			seg.Ack = p.isn + uint32(n)
		}
		var o wire.TCPOptions
		if n, ok := x.num["mss"]; ok {
			o.HasMSS, o.MSS = true, uint16(n)
		}
		data := letters(seq, end)
		if x.has {
			data = []byte(x.text)
		}
		b.Payload(data).PushTCP(seg, &o)
	}
	if s.v6 {
		b.PushIPv6(wire.IPv6Fields{HopLimit: ip.TTL, TrafficClass: ip.TOS, Src: them, Dst: us})
	} else {
		b.PushIPv4(ip)
	}
	_, err := s.link.Write(b.Bytes())
	return err
}

// icmpKinds are ICMP errors by name, in both families' numbers.
var icmpKinds = map[string]struct{ type4, code4, type6, code6 uint8 }{
	"net": {3, 0, 1, 0}, "host": {3, 1, 1, 3}, "port": {3, 3, 1, 4}, "proto": {3, 2, 4, 1}, "admin": {3, 13, 1, 1}, "toobig": {3, 4, 2, 0}, "ttl": {11, 0, 3, 0},
}

func (s *script) icmp(b *wire.Builder, f []string) error {
	k, known := icmpKinds[f[0]]
	if !known {
		return fmt.Errorf("no such error: %s", f[0])
	}
	rest, back := uint32(0), 0
	if len(f) > 1 && f[1] != "of" {
		n, err := strconv.Atoi(f[1])
		if err != nil {
			return err
		}
		rest, f = uint32(n), f[1:]
	}
	if len(f) == 3 && f[1] == "of" {
		back, _ = strconv.Atoi(f[2])
	}
	if len(s.left) <= back {
		return fmt.Errorf("no packet has left that the error could be about")
	}
	quote := s.left[len(s.left)-1-back]
	b.Payload(quote[:min(len(quote), 500)])
	if s.v6 {
		b.PushICMPv6(wire.ICMPv6Type(k.type6), k.code6, rest)
	} else {
		b.PushICMPv4(wire.ICMPv4Type(k.type4), k.code4, rest)
	}
	return nil
}

// format writes a packet as a line of a script.
func (s *script) format(b []byte) string {
	v := look(b)
	switch v.proto {
	case wire.ProtoTCP:
		seg := wire.TCP(v.payload)
		p := s.peerOf(seg.DstPort())
		flags := ""
		for _, c := range "SFRPUEW." {
			if seg.Flags()&parseFlags(string(c)) != 0 {
				flags += string(c)
			}
		}
		text := fmt.Sprintf("%s %d", flags, seg.Seq()-p.isn)
		if n := len(seg.Payload()); n > 0 {
			text += fmt.Sprintf(":%d", seg.Seq()-p.isn+uint32(n))
		}
		if seg.Flags()&wire.TCPAck != 0 {
			text += fmt.Sprintf(" ack %d", seg.Ack())
		}
		return text + fmt.Sprintf(" win %d (from %d to %d)", seg.Window(), seg.SrcPort(), seg.DstPort())
	case wire.ProtoUDP:
		u := wire.UDP(v.payload)
		return fmt.Sprintf("udp %q (from %d to %d)", u.Payload(), u.SrcPort(), u.DstPort())
	case wire.ProtoICMP, wire.ProtoICMPv6:
		for name, k := range icmpKinds {
			t, c := k.type4, k.code4
			if s.v6 {
				t, c = k.type6, k.code6
			}
			if v.payload[0] == t && v.payload[1] == c {
				return "icmp " + name
			}
		}
	}
	return fmt.Sprintf("%v % x", v.proto, v.payload[:min(len(v.payload), 20)])
}

// expect compares the next packet that leaves.
func (s *script) expect(f []string) error {
	b := s.next(time.Second)
	if b == nil {
		return fmt.Errorf("no packet leaves")
	}
	v := look(b)
	wrong := func(what string, got any) error {
		return fmt.Errorf("%s is %v:\n   > %s", what, got, s.format(b))
	}
	number := func(x *fields, name string, got int) error {
		if want, ok := x.num[name]; ok && want != got {
			return wrong(name, got)
		}
		return nil
	}
	switch {
	case f[0] == "icmp":
		if got := s.format(b); got != "icmp "+f[1] {
			return wrong("it", "another")
		}
		return nil
	case f[0] == "udp" && v.proto == wire.ProtoUDP:
		x, err := parse(f[1:])
		u := wire.UDP(v.payload)
		if err == nil && x.text != string(u.Payload()) {
			err = wrong("the text", string(u.Payload()))
		}
		for _, c := range []struct {
			name string
			got  int
		}{{"from", int(u.SrcPort())}, {"to", int(u.DstPort())}, {"ttl", int(v.ttl)}, {"tos", int(v.tos)}} {
			if err == nil {
				err = number(&x, c.name, c.got)
			}
		}
		if s.peerOf(u.DstPort()).port == 80 {
			s.peerOf(u.DstPort()).port = u.SrcPort()
		}
		return err
	case v.proto != wire.ProtoTCP || f[0] == "udp":
		return wrong("it", "another")
	}
	seg := wire.TCP(v.payload)
	p := s.peerOf(seg.DstPort())
	if seg.Flags()&wire.TCPSyn != 0 && (!p.known || p.port != seg.SrcPort()) {
		p.isn, p.known, p.port = seg.Seq(), true, seg.SrcPort()
	}
	seq, end, err := numbers(f[1])
	if err != nil {
		return err
	}
	x, err := parse(f[2:])
	if err != nil {
		return err
	}
	switch {
	case seg.Flags() != parseFlags(f[0]):
		return wrong("flags", seg.Flags())
	case seg.Seq()-p.isn != uint32(seq) && !(seg.Flags() == wire.TCPRst && seg.Seq() == uint32(seq)):
		return wrong("the number", seg.Seq()-p.isn)
	case len(seg.Payload()) != end-seq:
		return wrong("the length", len(seg.Payload()))
	case x.has && x.text != string(seg.Payload()):
		return wrong("the text", string(seg.Payload()))
	}
	var o wire.TCPOptions
	o.Parse(seg.Options())
	for _, c := range []struct {
		name string
		got  int
	}{{"ack", int(seg.Ack())}, {"win", int(seg.Window())}, {"urg", int(seg.Urgent())}, {"mss", int(o.MSS)}, {"from", int(seg.SrcPort())}, {"to", int(seg.DstPort())}, {"ttl", int(v.ttl)}, {"tos", int(v.tos)}} {
		if err := number(&x, c.name, c.got); err != nil {
			return err
		}
	}
	return nil
}

// begin makes a call on another connection.
func (s *script) begin(f []string) error {
	text, err := s.request(f[0], f[1:])
	if err != nil {
		return err
	}
	c := s.dial()
	s.t.Cleanup(func() { c.Close() })
	s.waiting = make(chan string, 1)
	fmt.Fprintln(c, text)
	go func(reply chan string, c net.Conn) {
		line, _ := bufio.NewReader(c).ReadString('\n')
		reply <- line
	}(s.waiting, c)
	time.Sleep(5 * time.Millisecond) // until it waits
	return nil
}

var scriptOptions = map[string][2]int{
	"SO_ERROR": {1, 4}, "SO_REUSEADDR": {1, 2}, "SO_LINGER": {1, 13}, "SO_KEEPALIVE": {1, 9}, "SO_OOBINLINE": {1, 10}, "SO_RCVLOWAT": {1, 18},
	"SO_RCVBUF": {1, 8}, "SO_SNDBUF": {1, 7}, "TCP_NODELAY": {6, 1}, "TCP_CORK": {6, 3}, "TCP_KEEPIDLE": {6, 4}, "TCP_KEEPINTVL": {6, 5}, "TCP_KEEPCNT": {6, 6},
	"TCP_SYNCNT": {6, 7}, "TCP_LINGER2": {6, 8}, "TCP_USER_TIMEOUT": {6, 18}, "TCP_QUICKACK": {6, 12}, "TCP_MAXSEG": {6, 2}, "TCP_INFO": {6, 11},
	"IP_TTL": {0, 2}, "IP_PKTINFO": {0, 8}, "IP_RECVTTL": {0, 12}, "IP_RECVTOS": {0, 13}, "IP_RECVERR": {0, 11}, "IP_TOS": {0, 1},
	"IPV6_V6ONLY": {41, 26}, "IPV6_RECVPKTINFO": {41, 49}, "IPV6_RECVHOPLIMIT": {41, 51}, "IPV6_RECVTCLASS": {41, 66}, "IPV6_RECVERR": {41, 25}, "IPV6_UNICAST_HOPS": {41, 16},
	"UDP_SEGMENT": {17, 103}, "UDP_GRO": {17, 104}, "IP_MTU_DISCOVER": {0, 10}, "IPV6_MTU_DISCOVER": {41, 23},
}

// twins are options by IPv4's names whose IPv6 twins the other family takes.
var twins = map[string]string{
	"IP_TTL": "IPV6_UNICAST_HOPS", "IP_PKTINFO": "IPV6_RECVPKTINFO", "IP_RECVTTL": "IPV6_RECVHOPLIMIT", "IP_RECVTOS": "IPV6_RECVTCLASS",
	"IP_RECVERR": "IPV6_RECVERR", "IP_MTU_DISCOVER": "IPV6_MTU_DISCOVER",
}

var pollBits = map[string]int{"in": 1, "pri": 2, "out": 4, "err": 8, "hup": 16, "nval": 32, "rdhup": 0x2000, "et": -1 << 31, "oneshot": 1 << 30}

var recvFlags = map[string]int{"oob": 1, "peek": 2, "trunc": 0x20, "dontwait": 0x40, "waitall": 0x100, "errqueue": 0x2000, "more": 0x8000}

// bits reads names with commas between.
func bits(text string, names map[string]int) (n int, err error) {
	for _, name := range strings.Split(text, ",") {
		v, known := names[name]
		if !known {
			return 0, fmt.Errorf("no such word: %s", name)
		}
		n |= v
	}
	return n, nil
}

// request writes a call as JSON.
func (s *script) request(name string, f []string) (string, error) {
	q := map[string]any{"op": name}
	fam, addr := unix.AF_INET, func(port string) error {
		n, err := strconv.Atoi(port)
		_, them := s.addrs()
		q["ip"], q["port"] = them.String(), n
		return err
	}
	if s.v6 {
		fam = unix.AF_INET6
	}
	arg := func(i int) string {
		if i < len(f) {
			return f[i]
		}
		return "0"
	}
	fd, err := strconv.Atoi(arg(0))
	q["fd"] = fd
	if name == "sysctl" {
		return fmt.Sprintf(`{"op":"sysctl","fd":-1,"name":%q,"value":%q}`, f[0], f[1]), nil
	}
	if err != nil {
		return "", err
	}
	ints := func(n ...int) { q["a"] = n }
	number := func(i int) int { n, _ := strconv.Atoi(arg(i)); return n }
	switch name {
	case "socket":
		typ := map[string]int{"stream": 1, "dgram": 2, "raw": 3}[arg(1)] | unix.SOCK_NONBLOCK
		if arg(2) == "block" {
			typ &^= unix.SOCK_NONBLOCK
		}
		ints(fam, typ, 0)
	case "bind":
		us, _ := s.addrs()
		q["fam"], q["ip"], q["port"] = fam, us.String(), number(1)
		if arg(2) == "any" {
			q["ip"] = ""
		}
	case "bind4": // of an IPv6 socket, the IPv4 address mapped
		q["op"], q["fam"], q["ip"], q["port"] = "bind", unix.AF_INET6, "::ffff:192.168.0.1", number(1)
	case "connect":
		q["fam"] = fam
		err = addr(arg(1))
	case "disconnect":
		q["op"], q["fam"] = "connect", 0
	case "listen", "shutdown":
		ints(number(1))
	case "accept":
		ints(number(1), unix.SOCK_NONBLOCK)
		if arg(2) == "block" {
			ints(number(1), 0)
		}
	case "recv", "send":
		flags := 0
		i := 2
		if i < len(f) && f[i] != "to" && f[i] != "segment" {
			flags, err = bits(f[i], recvFlags)
			i++
		}
		if i+1 < len(f) && f[i] == "to" {
			q["fam"] = fam
			err = addr(f[i+1])
			i += 2
		}
		if i+1 < len(f) && f[i] == "segment" {
			q["cmsg"] = []map[string]any{{"level": 17, "type": 103, "data": hex.EncodeToString(binary.LittleEndian.AppendUint16(nil, uint16(number(i+1))))}}
		}
		if n := number(1); strings.HasPrefix(arg(1), `"`) {
			ints(len(f[1])-1, flags)
			q["data"] = hex.EncodeToString([]byte(f[1][1:]))
		} else {
			ints(n, flags)
		}
	case "set", "get":
		o, known := arg(1), true
		if twin, has := twins[o]; has && s.v6 {
			o = twin
		}
		n, known := scriptOptions[o]
		if !known {
			return "", fmt.Errorf("no such option: %s", o)
		}
		if q["op"] = name + "sockopt"; name == "get" {
			ints(n[0], n[1], 4)
			break
		}
		ints(n[0], n[1])
		var data []byte
		for _, v := range strings.Split(arg(2), ",") {
			i, _ := strconv.Atoi(v)
			data = binary.LittleEndian.AppendUint32(data, uint32(i))
		}
		q["data"] = hex.EncodeToString(data)
	case "poll", "pollwait":
		ev, e := bits(arg(1), pollBits)
		err = e
		q["op"], q["fd"], q["t"] = "poll", -1, 0
		ints(fd, ev)
		if name == "pollwait" {
			q["t"] = number(2)
		}
	case "epoll_create", "close", "getsockname", "getpeername":
	case "epoll_add", "epoll_mod", "epoll_del":
		ev := 0
		if name != "epoll_del" {
			ev, err = bits(arg(2), pollBits)
		}
		q["op"] = "epoll_ctl"
		q["a"] = []int64{map[string]int64{"epoll_add": 1, "epoll_del": 2, "epoll_mod": 3}[name], int64(number(1)), int64(uint32(ev)), int64(number(1))}
	case "epoll_wait":
		ints(8, number(1))
	case "ioctl":
		ints(map[string]int{"INQ": 0x541b, "OUTQ": 0x5411, "OUTQNSD": 0x894b, "ATMARK": 0x8905}[arg(1)])
	default:
		return "", fmt.Errorf("no such call: %s", name)
	}
	b, _ := json.Marshal(q)
	return string(b), err
}

// call makes a call and returns its result as a script writes it.
func (s *script) call(name string, f []string, want string) (string, error) {
	text, err := s.request(name, f)
	if err != nil {
		return "", err
	}
	r := s.suite.line(text)
	if why, bad := r["error"]; bad {
		return "", fmt.Errorf("%v", why)
	}
	switch got := result(r, want); {
	case strings.HasPrefix(got, "E"):
		return got, nil
	case name == "poll" || name == "pollwait":
		return events(int(r["rev"].([]any)[0].(float64)) &^ 0x140), nil
	case name == "epoll_wait":
		ev, _ := r["ev"].([]any)
		if len(ev) == 0 {
			return "none", nil
		}
		return events(int(ev[0].(float64)) &^ 0x140), nil
	case name == "get":
		b, _ := hex.DecodeString(r["data"].(string))
		if n := int32(binary.LittleEndian.Uint32(b)); f[1] == "SO_ERROR" && n != 0 {
			return unix.ErrnoName(syscall.Errno(n)), nil
		} else {
			return strconv.Itoa(int(n)), nil
		}
	case name == "ioctl":
		return strconv.Itoa(int(r["val"].(float64))), nil
	case name == "getsockname" || name == "getpeername":
		return fmt.Sprintf("%v %v", r["ip"], r["port"]), nil
	default:
		return got, nil
	}
}

func events(n int) string {
	var names []string
	for _, name := range []string{"in", "pri", "out", "err", "hup", "rdhup", "nval"} {
		if n&pollBits[name] != 0 {
			names = append(names, name)
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ",")
}

// result is a reply as a script writes it: an error, the text if text is wanted,
// with the kinds of control messages behind it, or the number.
func result(r map[string]any, want string) string {
	ret, _ := r["ret"].(float64)
	if ret < 0 {
		n, _ := r["errno"].(float64)
		return unix.ErrnoName(syscall.Errno(n))
	}
	data, has := r["data"].(string)
	if !has || !strings.HasPrefix(want, `"`) {
		return strconv.Itoa(int(ret))
	}
	b, _ := hex.DecodeString(data)
	text := `"` + string(b)
	cmsgs, _ := r["cmsg"].([]any)
	for _, c := range cmsgs {
		m := c.(map[string]any)
		text += fmt.Sprintf(" cmsg %v.%v", m["level"], m["type"])
	}
	return text
}

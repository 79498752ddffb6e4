package dissect

import (
	"net/netip"
	"strings"

	"github.com/towpath/towpath/wire"
)

// connKey names a connection by its ends, the lower one first.
type connKey struct{ lo, hi netip.AddrPort }

// connSeq is what sequence numbers of a connection are relative to.
type connSeq struct{ lo, hi uint32 } // of the lower end's bytes, of the higher's

// connsMax bounds the connections that are remembered.
const connsMax = 1 << 16

// relative makes sequence and acknowledgment number relative to the first that
// were seen of the connection. fwd and rev are what of them is relative to.
func (t *text) relative(sp, dp uint16, flags uint8, seq, ack uint32) (fwd, rev uint32) {
	if t.p.AbsoluteSeq || flags&tcpAck == 0 {
		return 0, 0
	}
	k := connKey{netip.AddrPortFrom(t.src, sp), netip.AddrPortFrom(t.dst, dp)}
	swap := k.hi.Compare(k.lo) < 0
	if swap {
		k.lo, k.hi = k.hi, k.lo
	}
	c := t.p.conns[k]
	if c == nil {
		if t.p.conns == nil {
			t.p.conns = make(map[connKey]*connSeq)
		}
		if len(t.p.conns) >= connsMax {
			clear(t.p.conns)
		}
		c = new(connSeq)
		t.p.conns[k] = c
		flags |= tcpSyn
	}
	if flags&tcpSyn != 0 {
		c.lo, c.hi = seq, ack-1
		if swap {
			c.lo, c.hi = c.hi, c.lo
		}
		return 0, 0
	}
	if swap {
		return c.hi, c.lo
	}
	return c.lo, c.hi
}

const (
	tcpFin = 1 << iota
	tcpSyn
	tcpRst
	tcpPsh
	tcpAck
	tcpUrg
)

var tcpFlags = []name{{1, "F"}, {2, "S"}, {4, "R"}, {8, "P"}, {16, "."}, {32, "U"}, {64, "E"}, {128, "W"}}

func (t *text) tcp(b []byte, n int, fragment bool) {
	t.proto = "tcp"
	if len(b) < 4 {
		t.addresses(":")
		t.trunc()
		return
	}
	sp, dp := t.u16(b, 0), t.u16(b, 2)
	t.ports(wire.ProtoTCP, sp, dp)
	seq, ack := t.be32(b, 4), t.be32(b, 8)
	head := int(t.u8(b, 12)>>4) * 4
	if !t.has(b, wire.TCPLen) {
		return
	}
	if head < wire.TCPLen {
		t.str(" tcp ").num(n - head).str(" [bad hdr length ").num(head).str(" - too short, < 20]")
		return
	}
	flags, win, urg := b[13], t.u16(b, 14), t.u16(b, 18)
	if t.p.Quiet {
		t.str("tcp ").num(n - head)
		if head > n {
			t.str(" [bad hdr length ").num(head).str(" - too long, > ").num(n).str("]")
		}
		return
	}
	t.str("Flags [").flags(tcpFlags, int(flags), "", "none").str("]")
	fwd, rev := t.relative(sp, dp, flags, seq, ack)
	if head > n {
		t.str(" [bad hdr length ").num(head).str(" - too long, > ").num(n).str("]")
		return
	}
	if t.p.Verbose > 0 && !t.p.NoChecksums && !fragment && len(b) >= n {
		sum := wire.Fold(wire.Sum(b[:n], wire.PseudoSum(t.src, t.dst, wire.ProtoTCP, n)))
		was := t.u16(b, 16)
		t.str(", cksum 0x").hexN(uint64(was), 4)
		if sum != 0xffff {
			t.str(" (incorrect -> 0x").hexN(uint64(right(was, sum)), 4).str(")")
		} else {
			t.str(" (correct)")
		}
	}
	size := n - head
	if t.p.Verbose > 1 || size > 0 || flags&(tcpSyn|tcpFin|tcpRst) != 0 {
		t.str(", seq ").u32(seq - fwd)
		if size > 0 {
			t.str(":").u32(seq - fwd + uint32(size))
		}
	}
	if flags&tcpAck != 0 {
		t.str(", ack ").u32(ack - rev)
	}
	t.str(", win ").num(int(win))
	if flags&tcpUrg != 0 {
		t.str(", urg ").num(int(urg))
	}
	if head > wire.TCPLen {
		t.str(", options [")
		t.tcpOptions(skip(b, wire.TCPLen), head-wire.TCPLen, rev)
		t.str("]")
	}
	t.str(", length ").num(size)
	if size <= 0 || t.cut {
		return
	}
	b = skip(b, head)
	if flags&tcpRst != 0 && t.p.Verbose > 0 {
		t.resetData(b, size)
		return
	}
	t.tcpPayload(b, size, sp, dp)
}

// resetData prints the text in a reset that says why (RFC 1122 §4.2.2.12).
func (t *text) resetData(b []byte, n int) {
	const most = 30
	t.str(" [")
	if len(b) < n {
		t.byte('!')
	}
	t.str("RST")
	if n > most {
		t.byte('+')
	}
	t.byte(' ')
	for _, c := range limit(limit(b, n), most) {
		t.safe(c)
	}
	t.byte(']')
}

// A lineProtocol is one whose messages begin with a line of text.
type lineProtocol struct {
	name  string
	short string // for [|short]
	// methods are what requests begin with; nil: everything is printed.
	methods map[string]bool
}

var (
	lineHTTP = lineProtocol{"HTTP", "http", methods("GET PUT COPY HEAD LOCK MOVE POLL POST BCOPY BMOVE MKCOL TRACE LABEL MERGE DELETE SEARCH " +
		"UNLOCK REPORT UPDATE NOTIFY BDELETE CONNECT OPTIONS CHECKIN PROPFIND CHECKOUT CCM_POST SUBSCRIBE PROPPATCH BPROPFIND BPROPPATCH " +
		"UNCHECKOUT MKACTIVITY MKWORKSPACE UNSUBSCRIBE RPC_CONNECT VERSION-CONTROL BASELINE-CONTROL")}
	lineRTSP = lineProtocol{"RTSP", "rtsp", methods("OPTIONS DESCRIBE ANNOUNCE SETUP PLAY PAUSE TEARDOWN GET_PARAMETER SET_PARAMETER REDIRECT RECORD")}
	lineSMTP = lineProtocol{"SMTP", "smtp", nil}
	lineFTP  = lineProtocol{"FTP", "ftp", nil}
)

func methods(list string) map[string]bool {
	m := map[string]bool{}
	for s := range strings.FieldsSeq(list) {
		m[s] = true
	}
	return m
}

// lineProtocolOf is the protocol of a port, or nil.
func lineProtocolOf(port uint16) *lineProtocol {
	switch port {
	case 80, 8080, 3128:
		return &lineHTTP
	case 25, 587:
		return &lineSMTP
	case 21:
		return &lineFTP
	case 554, 8554:
		return &lineRTSP
	}
	return nil
}

func (t *text) tcpPayload(b []byte, n int, sp, dp uint16) {
	l := lineProtocolOf(sp)
	if l == nil {
		l = lineProtocolOf(dp)
	}
	if l != nil {
		t.textLines(limit(b, n), n, l)
		return
	}
	if sp == 53 || dp == 53 {
		t.dnsOverTCP(b, n)
	}
}

// dnsOverTCP prints a message that its length precedes.
func (t *text) dnsOverTCP(b []byte, n int) {
	t.proto = "domain"
	if n < 2 {
		t.trunc()
		return
	}
	size := int(t.u16(b, 0))
	if t.cut {
		return
	}
	b, n = b[2:], n-2
	if size > n {
		t.str("[prefix length(").num(size).str(") != length(").num(n).str(")] ")
		t.invalid()
		return
	}
	if size < n {
		t.str("[prefix length(").num(size).str(") < length(").num(n).str(")]")
		n = size
	}
	t.byte(' ')
	t.dns(b, n, false)
}

// textLines prints the first line of a message, or all of them if verbose, as
// far as they are text.
func (t *text) textLines(b []byte, n int, l *lineProtocol) {
	t.proto = l.short
	t.str(": ").str(l.name)
	if n == 0 || l.methods != nil && !l.begins(b, n) {
		return
	}
	if t.p.Verbose == 0 {
		t.textLine(": ", b, n)
		return
	}
	t.str(", length: ").num(n)
	for at := 0; at < n; {
		eaten := t.textLine("\n\t", skip(b, at), n-at)
		if eaten == 0 {
			return
		}
		at += eaten
	}
}

// textLine prints a line, of which b is what was captured and n how much there
// was, and returns how long it is, with its end; 0 if it has none.
func (t *text) textLine(before string, b []byte, n int) int {
	for i := range n {
		if i >= len(b) {
			t.trunc()
			return 0
		}
		eaten := 0
		switch c := b[i]; {
		case c == '\n':
			eaten = i + 1
		case c == '\r':
			if i+1 == n {
				return 0
			}
			if i+1 >= len(b) {
				t.trunc()
				return 0
			}
			if b[i+1] != '\n' {
				return 0
			}
			eaten = i + 2
		case c < ' ' && c != '\t' || c >= 0x7f:
			return 0
		}
		if eaten > 0 {
			t.str(before).str(string(b[:i]))
			return eaten
		}
	}
	t.str(before).str(string(b[:n]))
	t.trunc()
	return 0
}

// begins reports whether a message begins with a method, or with a version and
// a status.
func (l *lineProtocol) begins(b []byte, n int) bool {
	first, rest, ok := word(b, n)
	if !ok {
		return false
	}
	if l.methods[strings.ToUpper(string(first))] {
		return true
	}
	code, _, ok := word(skip(b, rest), n-rest)
	return ok && len(code) == 3 && digit(code[0]) && digit(code[1]) && digit(code[2])
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// word is the word that b begins with, and where the next one begins. It is
// none if its end was not captured, or if it is no text.
func word(b []byte, n int) (w []byte, next int, ok bool) {
	const most = 128
	for next < n {
		if next >= len(b) || next >= most {
			return nil, 0, false
		}
		c := b[next]
		if c == ' ' || c == '\t' || c == '\r' || c == '\n' {
			break
		}
		if c < ' ' || c >= 0x7f {
			return nil, 0, false
		}
		next++
	}
	w = b[:next]
	for next < n {
		if next >= len(b) {
			return nil, 0, false
		}
		if c := b[next]; c == '\r' || c == '\n' || c != ' ' && c != '\t' {
			break
		}
		next++
	}
	return w, next, len(w) > 0
}

var tcpOptionNames = []name{
	{0, "eol"}, {1, "nop"}, {2, "mss"}, {3, "wscale"}, {4, "sackOK"}, {5, "sack"}, {6, "echo"}, {7, "echoreply"}, {8, "TS"},
	{11, "cc"}, {12, "ccnew"}, {13, "ccecho"}, {19, "md5"}, {20, "scps"}, {28, "uto"}, {29, "tcp-ao"}, {30, "mptcp"}, {34, "tfo"}, {254, "exp"},
}

func (t *text) tcpOptions(b []byte, n int, rev uint32) {
	for first := true; n > 0 && !t.cut; first = false {
		if !first {
			t.byte(',')
		}
		kind := t.u8(b, 0)
		size := 1
		if kind > 1 {
			if n < 2 {
				t.str("[bad opt]")
				return
			}
			size = int(t.u8(b, 1))
			if size < 2 || size > n {
				t.str("[bad opt]")
				if !first {
					t.str("]")
				}
				t.cut = true
				return
			}
		}
		t.lookup(tcpOptionNames, int(kind), "unknown-%")
		v := skip(b, 2)
		want := size - 2
		// An option is printed as a whole, or by its name.
		lacks := func(n int) bool {
			if len(v) >= n || t.cut {
				return t.cut
			}
			t.trunc()
			if t.cut = false; !first {
				t.byte('>') // as tcpdump, which opened with [
			}
			t.cut, t.short = true, true
			return true
		}
		switch kind {
		case 0, 1:
			want = -1
		case 2:
			want = 2
			if lacks(2) {
				return
			}
			t.str(" ").num(int(t.u16(v, 0)))
		case 3:
			want = 1
			if lacks(1) {
				return
			}
			t.str(" ").num(int(t.u8(v, 0)))
		case 4:
			want = 0
		case 5:
			if want%8 != 0 {
				t.str(" invalid sack")
				break
			}
			t.str(" ").num(want / 8).str(" ")
			for at := 0; at < want; at += 8 {
				if lacks(at + 8) {
					return
				}
				t.str("{").u32(t.be32(v, at) - rev).str(":").u32(t.be32(v, at+4) - rev).str("}")
			}
		case 6, 7, 11, 12, 13:
			want = 4
			if lacks(4) {
				return
			}
			t.str(" ").u32(t.be32(v, 0))
		case 8:
			want = 8
			if lacks(8) {
				return
			}
			t.str(" val ").u32(t.be32(v, 0)).str(" ecr ").u32(t.be32(v, 4))
		case 19:
			want = 16
			t.str(" shared secret not supplied with -M, can't check - ")
			for i := range 16 {
				t.hexN(uint64(t.u8(v, i)), 2)
			}
		case 28:
			want = 2
			x := int(t.u16(v, 0))
			t.str(" 0x").hex(uint64(x))
			if x&1 != 0 {
				x = x >> 1 * 60
			} else {
				x >>= 1
			}
			t.str(" ").num(x)
		case 29:
			if want < 2 {
				t.str(" (invalid)")
			} else {
				t.str(" keyid ").num(int(t.u8(v, 0))).str(" rnextkeyid ").num(int(t.u8(v, 1))).str(" mac 0x")
				for i := 2; i < want && !t.cut; i++ {
					t.hexN(uint64(t.u8(v, i)), 2)
				}
			}
		case 34:
			t.str("  ")
			t.fastOpen(v, want)
		case 254:
			if want >= 2 && t.u16(v, 0) == 0xf989 {
				t.str("-tfo ")
				t.fastOpen(skip(v, 2), want-2)
				break
			}
			t.str(" 0x")
			for i := range want {
				t.hexN(uint64(t.u8(v, i)), 2)
			}
		default:
			if want > 0 {
				t.str(" 0x")
			}
			for i := range want {
				t.hexN(uint64(t.u8(v, i)), 2)
			}
		}
		if kind > 1 && want+2 != size || kind <= 1 && size != 1 {
			t.str("[len ").num(size).str("]")
		}
		if kind > 1 {
			size = want + 2
		}
		b, n = skip(b, size), n-size
		if kind == 0 {
			return
		}
	}
}

// fastOpen prints the cookie of a Fast Open option (RFC 7413).
func (t *text) fastOpen(v []byte, n int) {
	switch {
	case n == 0:
		t.str("cookiereq")
	case n%2 != 0 || n < 4 || n > 16:
		t.str("(invalid)")
	default:
		t.str("cookie ")
		for i := range n {
			t.hexN(uint64(t.u8(v, i)), 2)
		}
	}
}

package tcp

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/tcp/cc"
	"github.com/towpath/towpath/wire"
)

// TestScripts plays the conversations in testdata/*.txt. A file holds scripts,
// each below a line "-- name: clause it shows". A script's lines are
//
//	[+SECONDS] > FLAGS SEQ[:END] [ack N] [win N] [mss N] [wscale N] [sackok] [ts VAL ECR] [sack L:R[,L:R…]] [tfo HEX|ask] [md5 KEY] [noopt] [gso N]
//	[+SECONDS] < FLAGS SEQ[:END] ...     a segment arrives; then Output
//	[+SECONDS] << ...                    the same without Output: more of the batch follows
//	[+SECONDS] CALL [ARGUMENTS]          see script.call
//
// A time first lets the clock run that far, timers included. A ">" line means
// that the next segment sent, at exactly this time, looks so in every point
// mentioned; segments nobody expects are errors. Sequence numbers count from
// 0 at each side's SYN. Lines that begin with # are comments.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	packet.Account(true)
	defer packet.Account(false)
	count := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var s *script
		for i, line := range strings.Split(string(text)+"\n-- end: -", "\n") {
			if head, ok := strings.CutPrefix(line, "-- "); ok {
				if s != nil {
					count++
					t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+s.name, s.run)
				}
				name, clause, ok := strings.Cut(head, ": ")
				if !ok {
					t.Fatalf("%s:%d: a script cites its clause: -- name: clause", file, i+1)
				}
				s = &script{file: file, name: name, clause: clause}
				continue
			}
			if line = strings.TrimSpace(line); s != nil && line != "" && line[0] != '#' {
				s.lines = append(s.lines, scriptLine{i + 1, line})
			}
		}
	}
	t.Logf("%d scripts", count)
	if count < 60 {
		t.Errorf("only %d scripts", count)
	}
}

// The addresses of signatures.
var scriptLocal, scriptPeer = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")

type scriptLine struct {
	n    int
	text string
}

// scriptTolerance is how much earlier or later than written a segment may go.
const scriptTolerance = time.Millisecond

type sent struct {
	at time.Duration
	p  *packet.Packet
}

type script struct {
	file, name, clause string
	lines              []scriptLine

	now    time.Duration
	pool   packet.Pool
	c      Conn
	out    []sent
	listen bool
	inited bool
	cfg    Config
	irs    uint32
	reason packet.Reason
	events Events
	wrote  int // bytes written
	read   int // bytes read
	reply  *packet.Packet
	tw     TimeWait
}

func (s *script) Segment(_ *Conn, p *packet.Packet) { s.out = append(s.out, sent{s.now, p}) }

func (s *script) run(t *testing.T) {
	s.now = time.Second
	s.irs = 0x30000000
	s.cfg = Config{
		LocalPort: 80, RemotePort: 4000, ISN: 0x10000000, MSS: 1460,
		Timestamps: false, WindowScaling: true, RcvBuf: 64 << 10, SndBuf: 256 << 10, RcvBufMax: 64 << 10,
		Congestion: "reno",
	}
	var done []string
	for _, line := range s.lines {
		if err := s.line(line.text); err != nil {
			t.Errorf("%s:%d: %s\n  (%s)\n%s\n=> %s\n%v", s.file, line.n, s.name, s.clause, strings.Join(done, "\n"), line.text, err)
			break
		}
		done = append(done, "   "+line.text)
		if s.inited {
			if err := s.c.check(); err != nil {
				t.Errorf("%s:%d: after %q: %v", s.file, line.n, line.text, err)
			}
		}
	}
	if !t.Failed() && len(s.out) > 0 {
		t.Errorf("%s: %s: segments nobody expected at the end:\n%s", s.file, s.name, s.format(s.out[0]))
	}
	for _, o := range s.out {
		s.pool.Free(o.p)
	}
	s.c.pool = &s.pool
	s.c.FreeBuffers()
	if p, c := packet.Live(); p != 0 || c != 0 {
		t.Errorf("%s: %s: %d packets and %d chunks leaked", s.file, s.name, p, c)
		packet.Account(true)
	}
}

func (s *script) line(text string) error {
	f := strings.Fields(text)
	if strings.HasPrefix(f[0], "+") {
		sec, err := strconv.ParseFloat(f[0], 64)
		if err != nil {
			return err
		}
		s.advance(s.now + time.Duration(sec*1e6+0.5)*time.Microsecond)
		f = f[1:]
	}
	if len(f) > 0 && f[0] == ">" {
		return s.expect(f[1:])
	}
	if len(s.out) > 0 {
		return fmt.Errorf("a segment nobody expected:\n   %s", s.format(s.out[0]))
	}
	if len(f) == 0 {
		return nil
	}
	switch f[0] {
	case "<", "<<":
		if err := s.inject(f[1:]); err != nil {
			return err
		}
		if f[0] == "<" {
			s.c.Output(s.now)
		}
		return nil
	}
	return s.call(f[0], f[1:])
}

// advance lets the clock run to at, and the timers on the way.
func (s *script) advance(at time.Duration) {
	for s.inited && s.c.Deadline() <= at {
		s.now = max(s.now, s.c.Deadline())
		s.c.Timeout(s.now)
		s.c.Output(s.now)
	}
	s.now = at
}

// A spec is a segment as written in a script.
type spec struct {
	flags         wire.TCPFlags
	seq, end      uint32
	ack, win, gso int64 // -1: not mentioned
	ecn, urg      int64
	mss, wscale   int64
	ts, noopt     bool
	sackok        bool
	val, ecr      uint32
	sack          []wire.SACKBlock
	tfo           []byte // cookie; empty: asked for; nil: not mentioned
	md5           string // key of the signature; empty: none
}

func parseSpec(f []string) (sp spec, err error) {
	sp = spec{ack: -1, win: -1, gso: -1, ecn: -1, urg: -1, mss: -1, wscale: -1}
	if len(f) < 2 {
		return sp, fmt.Errorf("flags and sequence number missing")
	}
	for _, r := range f[0] {
		i := strings.IndexRune("FSRP.UEW", r)
		if i < 0 {
			return sp, fmt.Errorf("unknown flag %q", r)
		}
		sp.flags |= 1 << i
	}
	num := func(t string) int64 {
		v, e := strconv.ParseInt(t, 10, 64)
		if e != nil && err == nil {
			err = e
		}
		return v
	}
	from, to, ok := strings.Cut(f[1], ":")
	sp.seq = uint32(num(from))
	sp.end = sp.seq
	if ok {
		sp.end = uint32(num(to))
	}
	for f = f[2:]; len(f) > 0; f = f[1:] {
		if f[0] == "noopt" {
			sp.noopt = true
			continue
		}
		if f[0] == "sackok" {
			sp.sackok = true
			continue
		}
		if len(f) < 2 {
			return sp, fmt.Errorf("%s of what?", f[0])
		}
		switch f[0] {
		case "ack":
			sp.ack = int64(uint32(num(f[1])))
		case "win":
			sp.win = num(f[1])
		case "mss":
			sp.mss = num(f[1])
		case "wscale":
			sp.wscale = num(f[1])
		case "gso":
			sp.gso = num(f[1])
		case "ecn": // the codepoint: 2 is ECT(0), 3 is CE
			sp.ecn = num(f[1])
		case "urg": // the pointer
			sp.urg = num(f[1])
		case "sack":
			for _, b := range strings.Split(f[1], ",") {
				l, r, _ := strings.Cut(b, ":")
				sp.sack = append(sp.sack, wire.SACKBlock{Left: uint32(num(l)), Right: uint32(num(r))})
			}
		case "tfo":
			if sp.tfo = []byte{}; f[1] != "ask" {
				sp.tfo, err = hex.DecodeString(f[1])
			}
		case "md5":
			sp.md5 = f[1]
		case "ts":
			sp.ts = true
			sp.val = uint32(num(f[1]))
			f = f[1:]
			if len(f) < 2 {
				return sp, fmt.Errorf("ts VAL ECR")
			}
			sp.ecr = uint32(num(f[1]))
		default:
			return sp, fmt.Errorf("unknown word %q", f[0])
		}
		f = f[1:]
	}
	return sp, err
}

// inject hands a segment to the connection.
func (s *script) inject(f []string) error {
	sp, err := parseSpec(f)
	if err != nil {
		return err
	}
	s.init()
	h := wire.TCPFields{SrcPort: 4000, DstPort: 80, Seq: s.irs + sp.seq, Flags: sp.flags, Window: 65535}
	if sp.ack >= 0 {
		h.Ack = s.cfg.ISN + uint32(sp.ack)
	}
	if sp.win >= 0 {
		h.Window = uint16(sp.win)
	}
	if sp.urg >= 0 {
		h.Urgent = uint16(sp.urg)
	}
	o := wire.TCPOptions{
		HasTS: sp.ts, TSVal: sp.val, TSEcr: sp.ecr, SACKPermitted: sp.sackok,
		HasFastOpen: sp.tfo != nil, FastOpen: sp.tfo,
	}
	if sp.md5 != "" {
		o.MD5 = noDigest
	}
	for i, b := range sp.sack {
		o.SACK[i] = wire.SACKBlock{Left: s.cfg.ISN + b.Left, Right: s.cfg.ISN + b.Right}
		o.NSACK++
	}
	if sp.mss >= 0 {
		o.HasMSS, o.MSS = true, uint16(sp.mss)
	}
	if sp.wscale >= 0 {
		o.HasWScale, o.WScale = true, uint8(sp.wscale)
	}
	p := s.pool.Get()
	n := o.Len()
	b := p.Append(wire.TCPLen + n)
	wire.PutTCP(b, &h, n)
	o.Put(b[wire.TCPLen:])
	p.Transport = p.Start()
	p.Data = p.Start() + uint16(wire.TCPLen+n)
	body := make([]byte, sp.end-sp.seq)
	for i := range body {
		body[i] = pattern(2, first(sp.flags, sp.seq)+i)
	}
	p.AppendBytes(body)
	if sp.md5 != "" {
		(&Signature{scriptPeer, scriptLocal, []byte(sp.md5)}).sign(p)
	}
	if sp.ecn > 0 {
		p.TOS = uint8(sp.ecn)
	}
	if sp.gso > 0 {
		p.GSO.Size = uint16(sp.gso)
	}
	if s.reply = nil; s.tw.until != 0 {
		var v TimeWaitVerdict
		s.reply, v, s.reason = s.tw.Receive(s.now, p, &s.pool)
		s.events = Events(v)
		if s.reply != nil {
			s.Segment(nil, s.reply)
		}
		s.pool.Free(p)
		return nil
	}
	if s.listen {
		if s.reason = s.cfg.Signature.Check(p); s.reason != 0 {
			s.pool.Drop(p, s.reason)
			return nil
		}
		if s.reason = s.c.Listen(s.now, p); s.reason == 0 {
			s.listen = false
		}
	} else {
		s.reason = s.c.Receive(s.now, p)
	}
	if s.reason != 0 {
		s.pool.Drop(p, s.reason)
	}
	return nil
}

// format writes a segment as a script would.
func (s *script) format(o sent) string {
	h := wire.TCP(o.p.Head())
	var opt wire.TCPOptions
	opt.Parse(h.Options())
	var b strings.Builder
	fmt.Fprintf(&b, "> ")
	for i, r := range "FSRP.UEW" {
		if h.Flags()>>i&1 != 0 {
			b.WriteRune(r)
		}
	}
	fmt.Fprintf(&b, " %d", int32(h.Seq()-s.cfg.ISN))
	if n := o.p.Len() - h.HeaderLen(); n > 0 {
		fmt.Fprintf(&b, ":%d", int(int32(h.Seq()-s.cfg.ISN))+n)
	}
	if h.Flags().Has(wire.TCPAck) {
		fmt.Fprintf(&b, " ack %d", h.Ack()-s.irs)
	}
	fmt.Fprintf(&b, " win %d", h.Window())
	if h.Flags().Has(wire.TCPUrg) {
		fmt.Fprintf(&b, " urg %d", h.Urgent())
	}
	if o.p.TOS&3 != 0 {
		fmt.Fprintf(&b, " ecn %d", o.p.TOS&3)
	}
	if opt.HasMSS {
		fmt.Fprintf(&b, " mss %d", opt.MSS)
	}
	if opt.HasWScale {
		fmt.Fprintf(&b, " wscale %d", opt.WScale)
	}
	if opt.SACKPermitted {
		b.WriteString(" sackok")
	}
	for i := range opt.NSACK {
		sep := ","
		if i == 0 {
			sep = " sack "
		}
		fmt.Fprintf(&b, "%s%d:%d", sep, opt.SACK[i].Left-s.irs, opt.SACK[i].Right-s.irs)
	}
	if opt.HasFastOpen && len(opt.FastOpen) == 0 {
		b.WriteString(" tfo ask")
	} else if opt.HasFastOpen {
		fmt.Fprintf(&b, " tfo %x", opt.FastOpen)
	}
	if opt.MD5 != nil {
		b.WriteString(" md5 KEY")
	}
	if opt.HasTS {
		fmt.Fprintf(&b, " ts %d %d", opt.TSVal, opt.TSEcr)
	}
	if o.p.GSO.Size != 0 {
		fmt.Fprintf(&b, " gso %d", o.p.GSO.Size)
	}
	if d := s.now - o.at; d != 0 {
		fmt.Fprintf(&b, "      (%v earlier)", d)
	}
	return b.String()
}

func (s *script) expect(f []string) error {
	sp, err := parseSpec(f)
	if err != nil {
		return err
	}
	if d := s.c.Deadline(); len(s.out) == 0 && d-s.now <= scriptTolerance {
		s.advance(d)
	}
	if len(s.out) == 0 {
		return fmt.Errorf("nothing was sent; next deadline in %v", s.c.Deadline()-s.now)
	}
	o := s.out[0]
	s.out = s.out[1:]
	defer s.pool.Free(o.p)
	h := wire.TCP(o.p.Head())
	var opt wire.TCPOptions
	opt.Parse(h.Options())
	seq := h.Seq() - s.cfg.ISN
	n := uint32(o.p.Len() - h.HeaderLen())
	bad := h.Flags() != sp.flags || seq != sp.seq || n != sp.end-sp.seq || s.now-o.at > scriptTolerance ||
		sp.ack >= 0 && h.Ack()-s.irs != uint32(sp.ack) ||
		sp.win >= 0 && int64(h.Window()) != sp.win ||
		sp.mss >= 0 && (!opt.HasMSS || int64(opt.MSS) != sp.mss) ||
		sp.wscale >= 0 && (!opt.HasWScale || int64(opt.WScale) != sp.wscale) ||
		sp.gso >= 0 && int64(o.p.GSO.Size) != sp.gso ||
		sp.ecn >= 0 && int64(o.p.TOS&3) != sp.ecn ||
		sp.urg >= 0 && int64(h.Urgent()) != sp.urg ||
		sp.sackok && !opt.SACKPermitted ||
		sp.tfo != nil && (!opt.HasFastOpen || !bytes.Equal(sp.tfo, opt.FastOpen)) ||
		!s.blocks(sp.sack, &opt) ||
		sp.ts && (!opt.HasTS || opt.TSVal != sp.val || opt.TSEcr != sp.ecr) ||
		(opt.MD5 != nil) != (sp.md5 != "") || sp.md5 != "" && (&Signature{scriptPeer, scriptLocal, []byte(sp.md5)}).Check(o.p) != 0 ||
		sp.noopt && len(h.Options()) > 0
	if bad {
		return fmt.Errorf("sent instead:\n   %s", s.format(o))
	}
	body := o.p.Bytes()[h.HeaderLen():]
	for i, v := range body {
		if want := pattern(1, first(h.Flags(), seq)+i); v != want {
			return fmt.Errorf("payload byte %d of the segment is %#x, not %#x", i, v, want)
		}
	}
	if h.Checksum() != 0 || o.p.Proto != wire.ProtoTCP || o.p.Transport != o.p.Start() || int(o.p.Data-o.p.Start()) != h.HeaderLen() {
		return fmt.Errorf("segment's facts are wrong: %+v", o.p.Proto)
	}
	return nil
}

// first is the index of a segment's first byte in the stream.
func first(flags wire.TCPFlags, seq uint32) int {
	if flags.Has(wire.TCPSyn) {
		return int(seq)
	}
	return int(seq) - 1
}

// blocks reports whether a segment has the SACK blocks that want mentions, if
// it mentions any.
func (s *script) blocks(want []wire.SACKBlock, o *wire.TCPOptions) bool {
	for i, b := range want {
		if len(want) != o.NSACK || o.SACK[i] != (wire.SACKBlock{Left: s.irs + b.Left, Right: s.irs + b.Right}) {
			return false
		}
	}
	return true
}

func (s *script) init() {
	if !s.inited {
		s.inited = true
		s.c.Init(&s.cfg, &s.pool, s)
	}
}

var errnos = map[string]error{
	"none": nil, "ECONNREFUSED": syscall.ECONNREFUSED, "ECONNRESET": syscall.ECONNRESET,
	"EINVAL": syscall.EINVAL, "EAGAIN": syscall.EAGAIN, "ETIMEDOUT": syscall.ETIMEDOUT, "EPIPE": syscall.EPIPE, "EHOSTUNREACH": syscall.EHOSTUNREACH,
}

// call runs one call of the script.
func (s *script) call(name string, f []string) error {
	arg := func(i int) int {
		if i >= len(f) {
			return 0
		}
		n, _ := strconv.Atoi(f[i])
		return n
	}
	if name == "config" {
		return s.configure(f)
	}
	s.init()
	c := &s.c
	switch name {
	case "connect":
		c.Connect(s.now)
	case "connect-data": // the cookie, ask or no; bytes; the peer's segment size, if known
		cookie, _ := hex.DecodeString(strings.TrimPrefix(f[0], "ask"))
		b := make([]byte, arg(1))
		for i := range b {
			b[i] = pattern(1, s.wrote+i)
		}
		s.wrote += c.ConnectData(s.now, &FastOpen{Cookie: cookie, NoCookie: f[0] == "no", MSS: arg(2)}, b)
	case "fastopen": // the cookie to give, or none; whether the SYN's is good
		cookie, _ := hex.DecodeString(strings.TrimPrefix(f[0], "none"))
		c.AcceptFastOpen(cookie, arg(1) != 0)
	case "cookie":
		if got := fmt.Sprintf("%x", c.CookieGiven()); got != strings.TrimPrefix(f[0], "none") {
			return fmt.Errorf("the peer gave the cookie %q", got)
		}
	case "syndata":
		if got := fmt.Sprint(c.SynData()); got != f[0] {
			return fmt.Errorf("SynData is %s", got)
		}
	case "listen":
		s.listen = true
	case "accept": // a whole passive handshake over 10 ms: MSS and window of the peer
		s.listen = true
		win := 65535
		if len(f) > 1 {
			win = arg(1)
		}
		for _, l := range []string{
			fmt.Sprintf("< S 0 win %d mss %d", win, max(arg(0), 88)), "> S. 0 ack 1", fmt.Sprintf("+0.01 < . 1 ack 1 win %d", win),
		} {
			if err := s.line(l); err != nil {
				return err
			}
		}
		c.Events()
	case "write", "write-unsent": // N bytes; then Output
		b := make([]byte, arg(0))
		for i := range b {
			b[i] = pattern(1, s.wrote+i)
		}
		n := c.Write(b)
		s.wrote += n
		if want := len(b); n != want && len(f) < 2 || len(f) == 2 && n != arg(1) {
			return fmt.Errorf("Write took %d", n)
		}
		if name == "write" {
			c.Output(s.now)
		}
	case "output":
		c.Output(s.now)
	case "shutdown":
		c.Shutdown(s.now)
	case "close":
		c.Close(s.now)
	case "abort":
		c.Abort(s.now)
	case "read": // exactly N bytes are read, of whole packets; then Output
		var l packet.List
		n := c.Take(&l, max(arg(0), 1))
		for p := l.Pop(); p != nil; p = l.Pop() {
			for i, v := range p.Bytes() {
				if want := pattern(2, s.read+i); v != want {
					return fmt.Errorf("byte %d read is %#x, not %#x", s.read+i, v, want)
				}
			}
			s.read += p.Len()
			s.pool.Free(p)
		}
		if n != arg(0) {
			return fmt.Errorf("read %d bytes", n)
		}
		c.Accept(s.now, n)
		c.Output(s.now)
	case "readable":
		if n := c.Readable(); n != arg(0) {
			return fmt.Errorf("%d bytes are readable", n)
		}
	case "space":
		if n := c.Space(); n != arg(0) {
			return fmt.Errorf("space for %d bytes", n)
		}
	case "eof":
		if got := fmt.Sprint(c.EOF()); got != f[0] {
			return fmt.Errorf("EOF is %s", got)
		}
	case "state":
		if got := c.State().String(); got != f[0] {
			return fmt.Errorf("state is %s", got)
		}
	case "err":
		want, ok := errnos[f[0]]
		if got := c.Err(); got != want || !ok {
			return fmt.Errorf("error is %v", got)
		}
	case "reason":
		if got := s.reason.String(); got != strings.Join(f, " ") {
			return fmt.Errorf("reason is %q", got)
		}
	case "events":
		names := map[string]Events{"none": 0, "established": EventEstablished, "readable": EventReadable,
			"writable": EventWritable, "remote-closed": EventRemoteClosed, "closed": EventClosed}
		var want Events
		for _, n := range f {
			want |= names[n]
		}
		if got := c.Events(); got != want {
			return fmt.Errorf("events are %05b, not %05b", got, want)
		}
	case "nodelay":
		c.SetNoDelay(true)
		c.Output(s.now)
	case "rcvbuf":
		c.SetRcvBuf(arg(0))
	case "cork":
		c.SetCork(arg(0) != 0)
		c.Output(s.now)
	case "more":
		c.SetMore(arg(0) != 0)
	case "quickack":
		c.SetQuickAck(arg(0) != 0)
		c.Output(s.now)
	case "clamp":
		c.SetWindowClamp(arg(0))
	case "usertimeout": // milliseconds
		c.SetUserTimeout(time.Duration(arg(0)) * time.Millisecond)
	case "oobinline":
		c.SetOOBInline(true)
	case "urgent": // one byte; then Output
		if !c.WriteUrgent(pattern(1, s.wrote)) {
			return fmt.Errorf("no room")
		}
		s.wrote++
		c.Output(s.now)
	case "readurgent": // the error, or the index of the byte that it is
		b, e := c.ReadUrgent(false)
		switch {
		case e != 0:
			if e != errnos[f[0]] {
				return fmt.Errorf("reading urgent data fails with %v", e)
			}
		case b != pattern(2, arg(0)):
			return fmt.Errorf("the urgent byte is %#x", b)
		}
	case "mark": // bytes before it, or "skip", or "none"
		n, skip := c.Mark()
		got := strconv.Itoa(n)
		if skip {
			got = "skip"
		} else if n == math.MaxInt {
			got = "none"
		}
		if got != f[0] {
			return fmt.Errorf("the mark is at %s", got)
		}
	case "atmark":
		if got := fmt.Sprint(c.AtMark()); got != f[0] {
			return fmt.Errorf("AtMark is %s", got)
		}
	case "info": // NAME=NUMBER of Info's fields
		v := reflect.ValueOf(c.Info())
		for _, kv := range f {
			name, want, _ := strings.Cut(kv, "=")
			field := v.FieldByName(name)
			if !field.IsValid() {
				return fmt.Errorf("Info has no %s", name)
			}
			if got := fmt.Sprint(field); got != want {
				return fmt.Errorf("Info's %s is %s", name, got)
			}
		}
	case "keepalive": // IDLE INTERVAL COUNT
		c.SetKeepAlive(s.now, time.Duration(arg(0))*time.Second, time.Duration(arg(1))*time.Second, arg(2))
	case "pace": // bytes per second
		c.SetMaxPacingRate(s.now, uint64(arg(0)))
		c.Output(s.now)
	case "cc": // another takes over
		c.SetController(s.now, cc.New(f[0]))
		c.Output(s.now)
	case "mss":
		c.SetMSS(arg(0), s.now)
	case "soft":
		c.SoftError(errnos[f[0]])
	case "fail":
		c.Fail(s.now, errnos[f[0]])
	case "unreachable":
		if got := fmt.Sprint(c.UnreachableSeq(s.cfg.ISN + uint32(arg(0)))); got != f[1] {
			return fmt.Errorf("UnreachableSeq is %s", got)
		}
	case "cwnd":
		if got := int(c.cwnd + c.inflate); got != arg(0) {
			return fmt.Errorf("window is %d bytes, ssthresh %d", got, c.cc.Ssthresh())
		}
	case "ssthresh":
		if got := c.cc.Ssthresh(); got != arg(0) {
			return fmt.Errorf("ssthresh is %d bytes", got)
		}
	case "rto":
		want, _ := time.ParseDuration(f[0])
		if got := c.timeout().Round(time.Millisecond); got != want {
			return fmt.Errorf("rto is %v", got)
		}
	case "deadline": // from now, or never
		got := "never"
		if d := c.Deadline(); d != never {
			got = (d - s.now).Round(time.Microsecond).String()
		}
		if got != f[0] {
			return fmt.Errorf("deadline in %s", got)
		}
	case "defer": // timeouts
		c.DeferAccept(arg(0))
	case "sign": // with a key, or none
		if f[0] == "none" {
			c.SetSignature(nil)
		} else {
			c.SetSignature(&Signature{scriptLocal, scriptPeer, []byte(f[0])})
		}
	case "timewait": // the compact form takes over
		var ok bool
		if s.tw, ok = c.TimeWait(); !ok {
			return fmt.Errorf("not in TIME-WAIT")
		}
	case "deaf":
		s.tw.IgnoreResets()
	case "verdict":
		want := map[string]TimeWaitVerdict{"drop": TimeWaitDrop, "end": TimeWaitEnd, "reuse": TimeWaitReuse}[f[0]]
		if TimeWaitVerdict(s.events) != want {
			return fmt.Errorf("verdict is %d", s.events)
		}
	case "nothing":
	default:
		return fmt.Errorf("unknown call %q", name)
	}
	return nil
}

// tune sets a field of the tuning; times are milliseconds.
func (s *script) tune(name string, n int64) error {
	if s.cfg.Tuning == nil {
		t := Tuning{}.Filled()
		s.cfg.Tuning = &t
	}
	switch f := reflect.ValueOf(s.cfg.Tuning).Elem().FieldByName(name); {
	case !f.IsValid():
		return fmt.Errorf("Tuning has no %s", name)
	case f.Kind() == reflect.Bool:
		f.SetBool(n != 0)
	case f.Type() == reflect.TypeFor[time.Duration]():
		f.SetInt(n * int64(time.Millisecond))
	case f.CanUint():
		f.SetUint(uint64(n))
	default:
		f.SetInt(n)
	}
	return nil
}

func (s *script) configure(f []string) error {
	for _, kv := range f {
		k, v, _ := strings.Cut(kv, "=")
		if k == "cc" {
			s.cfg.Congestion = v
			continue
		}
		if k == "md5" {
			s.cfg.Signature = &Signature{scriptLocal, scriptPeer, []byte(v)}
			continue
		}
		n, err := strconv.ParseInt(v, 0, 64)
		if err != nil {
			return err
		}
		if k[0] < 'a' {
			if err := s.tune(k, n); err != nil {
				return err
			}
			continue
		}
		switch k {
		case "mss":
			s.cfg.MSS = int(n)
		case "gso":
			s.cfg.GSOMax = int(n)
		case "rcvbuf":
			s.cfg.RcvBuf = int(n)
		case "rcvmax":
			s.cfg.RcvBufMax = int(n)
		case "sndbuf":
			s.cfg.SndBuf = int(n)
		case "ts":
			s.cfg.Timestamps = n != 0
		case "ws":
			s.cfg.WindowScaling = n != 0
		case "nodelay":
			s.cfg.NoDelay = n != 0
		case "isn":
			s.cfg.ISN = uint32(n)
		case "irs":
			s.irs = uint32(n)
		case "tsoffset":
			s.cfg.TSOffset = uint32(n)
		case "retries2":
			s.cfg.Retries2 = int(n)
		case "sack":
			s.cfg.SACK = n != 0
		case "frto":
			s.cfg.NoFRTO = n == 0
		case "ecn":
			s.cfg.ECN = []ECNMode{ECNOff, ECNOn, ECNAccept}[n]
		case "synackretries":
			s.cfg.SynAckRetries = int(n)
		case "synlinear":
			s.cfg.SynLinear = int(n)
		case "synretries":
			s.cfg.SynRetries = int(n)
		default:
			return fmt.Errorf("unknown setting %q", k)
		}
	}
	return nil
}

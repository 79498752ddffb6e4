package conntrack

import (
	"bytes"
	"net/netip"
	"strconv"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A helper reads the flows of a protocol that announces others in its payload.
type helper struct {
	name  string
	proto wire.Proto
	port  uint16 // on which its protocol is spoken
	read  func(t *Table, e *Entry, dir direction, p *packet.Packet, now instant) bool
}

var (
	ftpHelper  = helper{name: "ftp", proto: wire.ProtoTCP, port: 21, read: (*Table).readFTP}
	tftpHelper = helper{name: "tftp", proto: wire.ProtoUDP, port: 69, read: (*Table).readTFTP}
)

func helperNamed(name string) *helper {
	switch name {
	case ftpHelper.name:
		return &ftpHelper
	case tftpHelper.name:
		return &tftpHelper
	}
	return nil
}

// helperFor is the helper for a flow that begins with k, by its port.
func helperFor(k *key) *helper {
	switch {
	case k.proto() == wire.ProtoTCP && k.dstPort() == ftpHelper.port:
		return &ftpHelper
	case k.proto() == wire.ProtoUDP && k.dstPort() == tftpHelper.port:
		return &tftpHelper
	}
	return nil
}

// help lets a flow's helper read p, and adjusts its sequence numbers. It
// reports false if p is to be dropped.
func (t *Table) help(h *helper, e *Entry, dir direction, p *packet.Packet, now instant) bool {
	if h != nil && !h.read(t, e, dir, p, now) {
		return false
	}
	if e.status&SeqAdjust != 0 && p.Proto == wire.ProtoTCP {
		adjustTCP(p, &e.ext.adjust[dir], &e.ext.adjust[dir^1])
	}
	return true
}

// ftpState is where in its control connection FTP's lines begin: the sequence
// numbers behind the last line ends, of both senders.
type ftpState struct {
	starts [2][2]uint32
	n      [2]uint8
}

// lineBegins reports whether a segment begins a line.
func (f *ftpState) lineBegins(dir direction, seq uint32) bool {
	for _, s := range f.starts[dir][:f.n[dir]] {
		if s == seq {
			return true
		}
	}
	return false
}

// lineEnded notes where the next line begins. The older of two places goes.
func (f *ftpState) lineEnded(dir direction, seq uint32) {
	s := &f.starts[dir]
	switch {
	case f.lineBegins(dir, seq):
	case f.n[dir] < 2:
		s[f.n[dir]] = seq
		f.n[dir]++
	case after(s[1], s[0]) && after(seq, s[0]):
		s[0] = seq
	case after(seq, s[1]):
		s[1] = seq
	}
}

// lineMax is the length of the lines that are read: more than any command or
// reply with an address has.
const lineMax = 256

// readFTP looks for a line that announces a data connection: PORT or EPRT of
// the client, reply 227 or 229 of the server (RFC 959, RFC 2428).
func (t *Table) readFTP(e *Entry, dir direction, p *packet.Packet, now instant) bool {
	if p.Track.State != packet.TrackEstablished {
		return true
	}
	h := wire.TCP(p.From(p.Transport))
	at := int(p.Transport-p.Start()) + h.HeaderLen()
	size := p.Len() - at
	if size <= 0 {
		return true
	}
	seq := h.Seq()
	f := &e.ext.ftp
	if !f.lineBegins(dir, seq) {
		t.lineEnd(f, dir, p, at, size, seq)
		return true
	}
	t.lineEnd(f, dir, p, at, size, seq)
	var buf [lineMax]byte
	c, found := readFTPLine(buf[:p.CopyTo(buf[:], at)], dir == reply, e.nodes[dir].key.is4())
	switch found {
	case ftpNothing:
		return true
	case ftpBroken:
		return false // it may be whole when it is repeated
	}
	if !c.addr.IsValid() {
		c.addr = e.nodes[dir].key.src()
	}
	if c.addr != e.nodes[dir].key.src() || c.port == 0 {
		return true // who announces another's address has its peer attack that one
	}
	x := &expectation{key: e.nodes[dir^1].key, expires: now + expectLife}
	x.key.setPorts(0, c.port)
	if e.status&(SrcNAT|DstNAT) != 0 {
		return t.translateFTP(e, dir, p, &c, x)
	}
	t.expect(e, x)
	return true
}

// lineEnd notes where a line ends, if the packet ends with one.
func (t *Table) lineEnd(f *ftpState, dir direction, p *packet.Packet, at, size int, seq uint32) {
	var last [1]byte
	p.CopyTo(last[:], at+size-1)
	if last[0] == '\n' {
		f.lineEnded(dir, seq+uint32(size))
	}
}

// An ftpCommand is an address that a line of FTP announces.
type ftpCommand struct {
	addr       netip.Addr // invalid: the sender's
	port       uint16
	start, end int  // of the address in the line
	extended   bool // as RFC 2428 writes it
	passive    bool
}

// An ftpFound says what there is in a line.
type ftpFound uint8

const (
	ftpNothing ftpFound = iota
	ftpAddress
	ftpBroken // the beginning of an announcement, but no address
)

// readFTPLine looks for an announcement at the beginning of b.
func readFTPLine(b []byte, fromServer, is4 bool) (c ftpCommand, found ftpFound) {
	for _, s := range [...]struct {
		word       string
		fromServer bool
		extended   bool
	}{{"PORT ", false, false}, {"EPRT ", false, true}, {"227 ", true, false}, {"229 ", true, true}} {
		if s.fromServer != fromServer {
			continue
		}
		n := min(len(b), len(s.word))
		if !bytes.EqualFold(b[:n], []byte(s.word)[:n]) {
			continue
		}
		if len(b) <= len(s.word) {
			return c, ftpBroken
		}
		c = ftpCommand{passive: fromServer, extended: s.extended, start: len(s.word)}
		var ok bool
		switch {
		case s.extended:
			ok = c.readExtended(b, is4)
		case is4:
			ok = c.readNumbers(b)
		}
		if !ok {
			return c, ftpBroken
		}
		return c, ftpAddress
	}
	return c, ftpNothing
}

// readNumbers reads h1,h2,h3,h4,p1,p2. Servers write words and brackets in
// front (RFC 1123 §4.1.2.6); clients end the line behind.
func (c *ftpCommand) readNumbers(b []byte) bool {
	for c.passive && c.start < len(b) && (b[c.start] < '0' || b[c.start] > '9') {
		if b[c.start] == '\r' {
			return false
		}
		c.start++
	}
	var n [6]byte
	i := c.start
	for k := range n {
		v, digits := 0, 0
		for i < len(b) && b[i] >= '0' && b[i] <= '9' && digits < 3 {
			v = v*10 + int(b[i]-'0')
			i++
			digits++
		}
		if digits == 0 || v > 255 || i >= len(b) || k < 5 && b[i] != ',' {
			return false
		}
		n[k] = byte(v)
		if k < 5 {
			i++
		}
	}
	c.addr, c.port, c.end = netip.AddrFrom4([4]byte(n[:4])), uint16(n[4])<<8|uint16(n[5]), i
	return c.passive || b[i] == '\r'
}

// readExtended reads |family|address|port|, with any delimiter. Servers leave
// family and address out, and write it in brackets.
func (c *ftpCommand) readExtended(b []byte, is4 bool) bool {
	if c.passive {
		i := bytes.IndexByte(b, '(')
		if i < 0 {
			return false
		}
		c.start = i + 1
	}
	if c.start >= len(b) || b[c.start] < 33 || b[c.start] > 126 || b[c.start] >= '0' && b[c.start] <= '9' {
		return false
	}
	parts := bytes.SplitN(b[c.start+1:], b[c.start:c.start+1], 4)
	if len(parts) != 4 || bytes.IndexByte(b[c.start:len(b)-len(parts[3])], '\n') >= 0 {
		return false
	}
	c.end = len(b) - len(parts[3])
	if !c.passive {
		family := "2"
		if is4 {
			family = "1"
		}
		var err error
		c.addr, err = netip.ParseAddr(string(parts[1]))
		if string(parts[0]) != family || err != nil || c.addr.Is4() != is4 || c.addr.Zone() != "" {
			return false
		}
	} else if len(parts[0]) != 0 || len(parts[1]) != 0 {
		return false
	}
	port, err := strconv.ParseUint(string(parts[2]), 10, 16)
	c.port = uint16(port)
	return err == nil && port != 0
}

// Operations of TFTP that begin a transfer (RFC 1350).
const (
	tftpRead  = 1
	tftpWrite = 2
)

// readTFTP expects the answer to a request, which comes from another port.
func (t *Table) readTFTP(e *Entry, dir direction, p *packet.Packet, now instant) bool {
	var op [2]byte
	at := int(p.Transport-p.Start()) + wire.UDPLen
	if dir != original || p.CopyTo(op[:], at) < 2 || op[0] != 0 || op[1] != tftpRead && op[1] != tftpWrite {
		return true
	}
	x := &expectation{key: e.nodes[reply].key, expires: now + expectLife}
	x.key.setPorts(0, e.nodes[reply].key.dstPort())
	if e.status&(SrcNAT|DstNAT) != 0 {
		x.follow = Follow{Set: true, Port: e.nodes[original].key.srcPort(), Against: true}
	}
	t.expect(e, x)
	return true
}

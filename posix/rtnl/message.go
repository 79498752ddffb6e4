package rtnl

import (
	"encoding/binary"
	"iter"
	"net/netip"
	"syscall"

	"github.com/towpath/towpath/host"
)

var native = binary.NativeEndian

// Types of messages (linux/netlink.h, linux/rtnetlink.h).
const (
	msgError = 2 // NLMSG_ERROR
	msgDone  = 3 // NLMSG_DONE
	msgMin   = 16

	newLink, delLink, getLink, setLink = 16, 17, 18, 19
	newAddr, delAddr, getAddr          = 20, 21, 22
	newRoute, delRoute, getRoute       = 24, 25, 26
	newNeigh, delNeigh, getNeigh       = 28, 29, 30
	newRule, delRule, getRule          = 32, 33, 34
)

// Flags of messages.
const (
	flagRequest = 0x1
	flagMulti   = 0x2
	flagAck     = 0x4
	flagDump    = 0x300 // NLM_F_ROOT and NLM_F_MATCH
	flagCapped  = 0x100 // of NLMSG_ERROR: the body of what was asked is left out
	flagReplace = 0x100 // of changes
	flagExcl    = 0x200
	flagCreate  = 0x400
)

// Families.
const (
	afInet  = 2
	afInet6 = 10
)

const (
	headerLen = 16
	attrLen   = 4
	// datagramMax bounds the datagrams of a dump: libc reads with a page.
	datagramMax = 3800
	// requestsMax bounds the messages that are answered of one datagram.
	requestsMax = 64
)

// A request is a message of a program.
type request struct {
	host  *host.Host
	port  uint32 // the program's
	typ   uint16
	flags uint16
	seq   uint32
	raw   []byte // all of it
	body  []byte // behind the header
}

// Answer returns the datagrams that answer what a program with a port number
// (nl_pid) has sent. What is not understood is answered with an error, what is
// no message not at all.
func Answer(h *host.Host, b []byte, port uint32) (replies [][]byte) {
	for r := range requests(h, b, port) {
		replies = append(replies, r.answer()...)
	}
	return replies
}

// requests are the messages in a datagram.
func requests(h *host.Host, b []byte, port uint32) iter.Seq[*request] {
	return func(yield func(*request) bool) {
		for range requestsMax {
			if len(b) < headerLen {
				return
			}
			n := native.Uint32(b)
			if n < headerLen || uint64(n) > uint64(len(b)) {
				return
			}
			r := &request{
				host: h, port: port, typ: native.Uint16(b[4:]), flags: native.Uint16(b[6:]),
				seq: native.Uint32(b[8:]), raw: b[:n], body: b[headerLen:n],
			}
			if !yield(r) {
				return
			}
			b = b[min(align(int(n)), len(b)):]
		}
	}
}

// silent answers what the kernel is silent about too, but for acknowledgements.
func (r *request) silent() [][]byte {
	if r.flags&flagAck != 0 {
		return [][]byte{r.err(0)}
	}
	return nil
}

func align(n int) int { return (n + 3) &^ 3 }

// answer answers one message.
func (r *request) answer() [][]byte {
	if r.flags&flagRequest == 0 || r.typ < msgMin {
		return r.silent()
	}
	var list []message
	var e syscall.Errno
	switch r.typ {
	case getLink:
		list, e = r.links()
	case getAddr:
		list, e = r.addresses()
	case getRoute:
		list, e = r.routes()
	case getNeigh:
		list, e = r.neighbors()
	case getRule:
		list, e = r.rules()
	case newLink, setLink:
		e = r.changeLink()
	case newAddr:
		e = r.addAddress()
	case delAddr:
		e = r.removeAddress()
	case newRoute:
		e = r.addRoute()
	case delRoute:
		e = r.removeRoute()
	case newRule:
		e = r.addRule()
	case delRule:
		e = r.removeRule()
	default:
		e = syscall.EOPNOTSUPP
	}
	if e != 0 {
		return [][]byte{r.err(e)}
	}
	if r.dump() {
		return r.multi(list)
	}
	var replies [][]byte
	for _, m := range list {
		replies = append(replies, r.finish(m, 0))
	}
	if r.flags&flagAck != 0 {
		replies = append(replies, r.err(0))
	}
	return replies
}

// dump reports whether all objects are wanted; of a change the bits mean
// something else.
func (r *request) dump() bool {
	return r.typ%4 == 2 && r.flags&flagDump == flagDump
}

// multi puts messages into datagrams, and the end behind them.
func (r *request) multi(list []message) (replies [][]byte) {
	var d []byte
	for _, m := range append(list, message{typ: msgDone, b: make([]byte, 4)}) {
		b := r.finish(m, flagMulti)
		if len(d) > 0 && len(d)+len(b) > datagramMax {
			replies, d = append(replies, d), nil
		}
		d = append(d, b...)
	}
	return append(replies, d)
}

// finish puts the header before a message.
func (r *request) finish(m message, flags uint16) []byte {
	b := make([]byte, headerLen, headerLen+len(m.b))
	native.PutUint32(b, uint32(headerLen+len(m.b)))
	native.PutUint16(b[4:], m.typ)
	native.PutUint16(b[6:], flags)
	native.PutUint32(b[8:], r.seq)
	native.PutUint32(b[12:], r.port)
	return append(b, m.b...)
}

// err is an error as an answer, or an acknowledgement if it is 0.
func (r *request) err(e syscall.Errno) []byte {
	b := native.AppendUint32(nil, uint32(-int32(e)))
	if e == 0 {
		return r.finish(message{typ: msgError, b: append(b, r.raw[:headerLen]...)}, flagCapped)
	}
	return r.finish(message{typ: msgError, b: append(b, r.raw...)}, 0)
}

// A message is a body with attributes that is being written.
type message struct {
	typ uint16
	b   []byte
}

// attr adds an attribute.
func (m *message) attr(typ uint16, value []byte) {
	m.b = native.AppendUint16(m.b, uint16(attrLen+len(value)))
	m.b = native.AppendUint16(m.b, typ)
	m.b = append(m.b, value...)
	m.b = append(m.b, make([]byte, align(len(value))-len(value))...)
}

func (m *message) attr8(typ uint16, v uint8)   { m.attr(typ, []byte{v}) }
func (m *message) attr32(typ uint16, v uint32) { m.attr(typ, native.AppendUint32(nil, v)) }
func (m *message) text(typ uint16, s string)   { m.attr(typ, append([]byte(s), 0)) }
func (m *message) ip(typ uint16, a netip.Addr) { m.attr(typ, a.AsSlice()) }

// attributes reads what lies behind a body of a fixed size. Of each type the last
// counts. The nested bit of types is left out.
func (r *request) attributes(fixed int) (map[uint16][]byte, syscall.Errno) {
	if len(r.body) < fixed {
		return nil, syscall.EINVAL
	}
	return attributes(r.body[min(align(fixed), len(r.body)):]), 0
}

func attributes(b []byte) map[uint16][]byte {
	list := make(map[uint16][]byte)
	for len(b) >= attrLen {
		n := int(native.Uint16(b))
		if n < attrLen || n > len(b) {
			break
		}
		list[native.Uint16(b[2:])&0x3fff] = b[attrLen:n]
		b = b[min(align(n), len(b)):]
	}
	return list
}

// u32 is an attribute as a number; 0 if it is not there.
func u32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return native.Uint32(b)
}

// addrOf is an attribute as an address; the zero Addr if it is none of the family.
func addrOf(family uint8, b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	if familyOf(a) != family {
		return netip.Addr{}
	}
	return a
}

// prefixOf is an attribute as a prefix; without the attribute it is that of all
// addresses.
func prefixOf(family uint8, b []byte, bits uint8) (netip.Prefix, syscall.Errno) {
	a := addrOf(family, b)
	if len(b) == 0 && bits == 0 {
		if a = netip.IPv4Unspecified(); family == afInet6 {
			a = netip.IPv6Unspecified()
		}
	}
	p, err := a.Prefix(int(bits))
	if err != nil || a != p.Addr() {
		return netip.Prefix{}, syscall.EINVAL
	}
	return p, 0
}

// text is an attribute as a string.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

func familyOf(a netip.Addr) uint8 {
	switch {
	case a.Is4():
		return afInet
	case a.Is6():
		return afInet6
	}
	return 0
}

// family is the one that a request asks for; 0: all.
func (r *request) family() uint8 {
	if len(r.body) == 0 {
		return 0
	}
	return r.body[0]
}

// wants reports whether an address is of the family that is asked for.
func (r *request) wants(a netip.Addr) bool {
	f := r.family()
	return f == 0 || f == familyOf(a)
}

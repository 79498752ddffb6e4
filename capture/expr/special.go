package expr

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/towpath/towpath/capture/bpf"
)

// SunATM's header is four bytes: flags with the traffic's type in the low four
// bits, the VPI, and two bytes of VCI.
const (
	atmLANE = 1
	atmLLC  = 2

	laneControl = 0xff00 // where a LAN emulation client's number would be

	vciMeta, vciBroadcast, vciF4Segment, vciF4End, vciSignalling, vciILMI = 1, 2, 3, 4, 5, 16

	// Types of messages of Q.2931 and their place.
	msgAt = 9

	msgCallProceeding, msgConnect, msgConnectAck, msgSetup, msgRelease, msgReleaseDone = 0x02, 0x07, 0x0f, 0x05, 0x4d, 0x5a
)

// atmType tests what SunATM says that a cell carries.
func (g *generator) atmType(t uint32) *cond { return g.maskedIs(offset{}, 0, 1, 0x0f, t) }

func (g *generator) atmLLC() *cond { return g.atmType(atmLLC) }

// atm tests for one of ATM's kinds of traffic.
func (g *generator) atm(w string) *cond {
	if g.conf.Link != SUNATM {
		g.fail("%q is about ATM, which this link is not", w)
	}
	channel := func(list ...uint32) *cond {
		var any []*cond
		for _, vci := range list {
			any = append(any, g.is(offset{}, 2, 2, vci))
		}
		return and(g.is(offset{}, 1, 1, 0), or(any...))
	}
	messages := func(list ...uint32) *cond {
		var any []*cond
		for _, m := range list {
			any = append(any, g.is(offset{}, msgAt, 1, m))
		}
		return or(any...)
	}
	switch w {
	case "metac":
		return channel(vciMeta)
	case "bcc":
		return channel(vciBroadcast)
	case "oam", "oamf4":
		return channel(vciF4Segment, vciF4End)
	case "oamf4sc":
		return channel(vciF4Segment)
	case "oamf4ec":
		return channel(vciF4End)
	case "sc":
		return channel(vciSignalling)
	case "ilmic":
		return channel(vciILMI)
	case "connectmsg":
		return and(channel(vciSignalling),
			messages(msgReleaseDone, msgRelease, msgConnectAck, msgConnect, msgSetup, msgCallProceeding))
	case "metaconnect":
		return and(channel(vciMeta), messages(msgReleaseDone, msgRelease, msgConnect, msgSetup, msgCallProceeding))
	}
	// LAN emulation: a client's number, then an Ethernet frame.
	c := g.atmType(atmLANE)
	hdr := offset{k: 6}
	g.place = place{link: EN10MB, linkHdr: hdr, linkType: hdr.add(12), payload: hdr.add(14), nlNoSNAP: 3,
		inner: not(g.is(offset{}, 4, 2, laneControl)), lane: true}
	return c
}

// ss7 is where MTP2's length indicator stands and MTP3's header begins, and
// where the length of extended sequence numbers is.
func (g *generator) ss7(w string) (li, extended, mtp3 uint32) {
	switch g.conf.Link {
	case MTP2:
		return 2, 4, 3
	case MTP2_WITH_PHDR:
		return 6, 8, 7
	case ERF:
		return 22, 24, 23
	}
	g.fail("%q is about SS7, which this link is not", w)
	return 0, 0, 0
}

// signalUnit tests for one of MTP2's kinds of units (Q.703): by the length that
// they say.
func (g *generator) signalUnit(w string) *cond {
	li, extended, _ := g.ss7(w)
	v, one := g.in.bin(vAnd, g.load(offset{}, li, 1), g.in.konst(0x3f)), uint32(1)
	kind, high := strings.CutPrefix(w, "h")
	if high { // nine bits of length, little-endian, here in the high bits
		v, one = g.in.bin(vAnd, g.load(offset{}, extended, 2), g.in.konst(0xff80)), 0x80
	}
	empty, status := g.in.konst(0), g.in.konst(2*one)
	switch kind {
	case "fisu":
		return test(bpf.JmpEq, v, empty)
	case "lssu":
		return and(test(bpf.JmpGt, v, empty), not(test(bpf.JmpGt, v, status)))
	}
	return test(bpf.JmpGt, v, status)
}

// A fieldDef is a field that numbers are compared with.
type fieldDef struct {
	v      *value
	max    uint32
	encode func(uint32) uint32 // how a number looks in v
}

// fieldOf finds a field of ATM, or of MTP3's header (Q.704): the service octet,
// then destination and origin of 14 bits each and 4 bits of link selection.
func (g *generator) fieldOf(w string) fieldDef {
	same := func(v uint32) uint32 { return v }
	if w == "vpi" || w == "vci" {
		if g.conf.Link != SUNATM {
			g.fail("%q is about ATM, which this link is not", w)
		}
		if w == "vpi" {
			return fieldDef{g.load(offset{}, 1, 1), 255, same}
		}
		return fieldDef{g.load(offset{}, 2, 2), 65535, same}
	}
	_, _, sio := g.ss7(w)
	name, high := strings.CutPrefix(w, "h")
	if high {
		sio += 3
	}
	bits := func(delta uint32, size uint8, mask uint32) *value {
		return g.in.bin(vAnd, g.load(offset{}, sio+delta, size), g.in.konst(mask))
	}
	switch name {
	case "sio":
		return fieldDef{g.load(offset{}, sio, 1), 255, same}
	case "opc":
		return fieldDef{bits(1, 4, 0x00c0ff0f), 1<<14 - 1, func(v uint32) uint32 { return v&3<<22 | v&0x3fc<<6 | v>>10 }}
	case "dpc":
		return fieldDef{bits(1, 4, 0xff3f0000), 1<<14 - 1, func(v uint32) uint32 { return v&0xff<<24 | v>>8<<16 }}
	}
	return fieldDef{bits(4, 1, 0xf0), 15, func(v uint32) uint32 { return v << 4 }}
}

// The header of OpenBSD's packet filter log: its length, and then, in bytes,
// the fields that are named here.
const (
	pfFamily, pfAction, pfReason, pfName, pfRuleset, pfRule, pfSubrule = 1, 2, 3, 4, 20, 36, 40

	pfNameLen = 16
)

var pfReasons = strings.Fields("match bad-offset fragment short normalize memory bad-timestamp congestion ip-option " +
	"proto-cksum state-mismatch state-insert state-limit src-limit synproxy")

var pfActions = map[string]uint32{
	"pass": 0, "accept": 0, "block": 1, "drop": 1, "scrub": 2, "noscrub": 3, "nat": 4, "nonat": 5, "binat": 6, "nobinat": 7,
	"rdr": 8, "nordr": 9,
}

// pflogPrefix prepares the length of the header, which is rounded up.
func (g *generator) pflogPrefix() {
	r := g.newReg()
	g.payload = offset{reg: g.in.reg(r)}
	g.prepare(1<<r, set(r, g.in.bin(vAnd, g.in.bin(vAdd, g.load(offset{}, 0, 1), g.in.konst(3)), g.in.konst(^uint32(3)))))
}

func (g *generator) pflogType(proto uint32) *cond {
	switch proto {
	case etherIPv4:
		return g.is(offset{}, pfFamily, 1, 2)
	case etherIPv6:
		var list []*cond
		for _, f := range inet6Families {
			list = append(list, g.is(offset{}, pfFamily, 1, f))
		}
		return or(list...)
	}
	return no
}

// pflog reads what a field of the packet filter's log is compared with.
func (p *parser) pflog(w string) *cond {
	if p.conf.Link != PFLOG {
		p.fail("%q is about the log of OpenBSD's packet filter, which this link is not", w)
	}
	if w == "rnr" || w == "srnr" {
		at := map[string]uint32{"rnr": pfRule, "srnr": pfSubrule}[w]
		return p.is(offset{}, at, 4, p.number("a rule's number"))
	}
	if t := p.peek(); t.kind == tEnd || t.kind == tOp {
		p.unexpected("a name behind " + strconv.Quote(w))
	}
	t := p.next()
	switch text := p.src[t.pos:t.end]; w {
	case "ifname", "rset":
		if len(text) >= pfNameLen {
			p.fail("names have at most %d bytes here", pfNameLen-1)
		}
		at := map[string]uint32{"ifname": pfName, "rset": pfRuleset}[w]
		return p.bytesAre(offset{}, at, []byte(t.text))
	case "reason":
		v := t.num
		if t.kind != tNum {
			i := slices.Index(pfReasons, text)
			if i < 0 {
				p.fail("expected a reason: %s", strings.Join(pfReasons, ", "))
			}
			v = uint32(i)
		}
		return p.is(offset{}, pfReason, 1, v)
	default:
		v, ok := pfActions[text]
		if !ok {
			p.fail("expected an action: %s", strings.Join(slices.Sorted(maps.Keys(pfActions)), ", "))
		}
		return p.is(offset{}, pfAction, 1, v)
	}
}

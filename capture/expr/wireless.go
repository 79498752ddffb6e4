package expr

import (
	"strings"
)

// An 802.11 header begins with a little-endian frame control field: two bits of
// version, two of type, four of subtype; then, in the second byte, toDS and
// fromDS.
const (
	frameTypeMask  = 0x0c
	frameControl   = 0x04 // type control
	frameData      = 0x08 // the bit that data frames have
	frameQoS       = 0x80 // of a data frame: there are two bytes more
	frameAck       = 0xd0
	frameClear     = 0xc0
	frameTo        = 0x01
	frameFrom      = 0x02
	wlanHeader     = 24
	prismMagic     = 0x80211000 // of an AVS header in Prism's place
	prismLength    = 144
	ppiWireless    = 0x69000000 // 105, little-endian
	radioFlags     = 1 << 25    // present flags of radiotap, read big-endian
	radioTSFT      = 1 << 24
	radioExtended  = 1 << 7
	radioPadding   = 0x20 // of the flags: padding behind the 802.11 header
	radioFlagsAt   = 8
	radioFlagsTSFT = 16
)

// wirelessPrefix prepares the two lengths that vary: of what a driver puts
// before the frame, and of the 802.11 header.
func (g *generator) wirelessPrefix() {
	start := offset{}
	prefix, payload := g.newReg(), g.newReg()
	g.linkHdr.reg = g.in.reg(prefix)
	var c *cond
	littleEndian := g.in.bin(vOr, g.in.bin(vLsh, g.load(start, 3, 1), g.in.konst(8)), g.load(start, 2, 1))
	switch g.conf.Link {
	case IEEE802_11:
		g.linkHdr.reg = nil
	case IEEE802_11_RADIO:
		c = set(prefix, littleEndian)
	case PPI:
		g.prepare(0, g.is(start, 4, 4, ppiWireless))
		c = set(prefix, littleEndian)
	case IEEE802_11_AVS:
		c = set(prefix, g.load(start, 4, 4))
	case PRISM:
		avs := g.maskedIs(start, 0, 4, 0xfffff000, prismMagic)
		c = or(and(avs, set(prefix, g.load(start, 4, 4))), and(not(avs), set(prefix, g.in.konst(prismLength))))
	}
	if c != nil {
		g.prepare(1<<prefix, c)
	}
	g.payload = offset{reg: g.in.reg(payload)}
	g.place.linkType = g.payload.add(6)
	g.nl, g.nlNoSNAP = 8, 3

	length := func(c *cond) *cond { return or(c, yes) } // goes on, whatever c did
	more := func(n uint32) *value { return g.in.bin(vAdd, g.in.reg(payload), g.in.konst(n)) }
	data := and(g.bit(g.linkHdr, 0, 1, frameData), not(g.bit(g.linkHdr, 0, 1, frameControl)))
	grow := length(and(g.bit(g.linkHdr, 0, 1, frameQoS), set(payload, more(2))))
	if g.conf.Link == IEEE802_11_RADIO {
		tsft := g.bit(start, 4, 4, radioTSFT)
		padded := or(and(tsft, g.bit(start, radioFlagsTSFT, 1, radioPadding)), and(not(tsft), g.bit(start, radioFlagsAt, 1, radioPadding)))
		grow = and(grow, length(and(g.bit(start, 4, 4, radioFlags), not(g.bit(start, 4, 4, radioExtended)), padded,
			set(payload, g.in.bin(vAnd, more(3), g.in.konst(^uint32(3)))))))
	}
	g.prepare(1<<payload, and(set(payload, g.sum(g.linkHdr.add(wlanHeader))), length(and(data, grow))))
}

// prepare notes what computes registers, given as bits, for the prologue.
func (g *generator) prepare(regs uint32, c *cond) {
	g.setup = append(g.setup, c)
	g.setupReg = append(g.setupReg, regs)
}

// dataFrame tests that a frame has LLC in it.
func (g *generator) dataFrame() *cond {
	return and(not(g.bit(g.linkHdr, 0, 1, frameControl)), g.bit(g.linkHdr, 0, 1, frameData))
}

// stationAt tests one of a frame's addresses.
func (g *generator) stationAt(mac []byte, delta uint32) *cond {
	return g.bytesAre(g.linkHdr, delta, mac)
}

// wirelessHost tests addresses of 802.11. Which of the four is the source and
// which the destination depends on the direction.
func (g *generator) wirelessHost(mac []byte, dir string) *cond {
	frame := func(delta, mask uint32) *cond { return g.bit(g.linkHdr, delta, 1, mask) }
	data, to, from := frame(0, frameData), frame(1, frameTo), frame(1, frameFrom)
	notControl := not(frame(0, frameControl))
	isControl := g.maskedIs(g.linkHdr, 0, 1, frameTypeMask, frameControl)
	brief := or(g.maskedIs(g.linkHdr, 0, 1, 0xf0, frameClear), g.maskedIs(g.linkHdr, 0, 1, 0xf0, frameAck))
	switch dir {
	case "src":
		return and(notControl, or(
			and(not(data), g.stationAt(mac, 10)),
			and(data, or(
				and(not(from), g.stationAt(mac, 10)),
				and(from, or(and(not(to), g.stationAt(mac, 16)), and(to, g.stationAt(mac, 24))))))))
	case "dst":
		return and(notControl, or(
			and(not(data), g.stationAt(mac, 4)),
			and(data, or(and(not(to), g.stationAt(mac, 4)), and(to, g.stationAt(mac, 16))))))
	case "addr1":
		return g.stationAt(mac, 4)
	case "addr2":
		return and(or(not(isControl), not(brief)), g.stationAt(mac, 10))
	case "addr3":
		return and(not(isControl), g.stationAt(mac, 16))
	case "addr4":
		return and(g.maskedIs(g.linkHdr, 1, 1, 3, 3), g.stationAt(mac, 24))
	case "ra":
		return and(data, g.stationAt(mac, 4))
	case "ta":
		return and(data, or(not(isControl), not(brief)), g.stationAt(mac, 10))
	}
	return g.directed(dir, g.wirelessHost(mac, "src"), g.wirelessHost(mac, "dst"))
}

// wirelessMulticast tests the group bit of the destination.
func (g *generator) wirelessMulticast() *cond {
	data, to := g.bit(g.linkHdr, 0, 1, frameData), g.bit(g.linkHdr, 1, 1, frameTo)
	return and(not(g.bit(g.linkHdr, 0, 1, frameControl)), or(
		and(not(data), g.bit(g.linkHdr, 4, 1, 1)),
		and(data, or(and(not(to), g.bit(g.linkHdr, 4, 1, 1)), and(to, g.bit(g.linkHdr, 16, 1, 1))))))
}

// frameTypes are the types of 802.11 frames.
var frameTypes = map[string]uint32{"mgt": 0x00, "ctl": 0x04, "data": 0x08}

// frameSubtypes are the subtypes of each type, in the order of their numbers;
// "-" are reserved.
var frameSubtypes = map[uint32][]string{
	0x00: strings.Fields("assocreq assocresp reassocreq reassocresp probereq proberesp - - beacon atim disassoc auth deauth"),
	0x04: strings.Fields("- - - - - - - - bar ba ps-poll rts cts ack cf-end cf-end-ack"),
	0x08: strings.Fields("data data-cf-ack data-cf-poll data-cf-ack-poll null cf-ack cf-poll cf-ack-poll " +
		"qos-data qos-data-cf-ack qos-data-cf-poll qos-data-cf-ack-poll qos - qos-cf-poll qos-cf-ack-poll"),
}

// subtypeAliases are older names.
var subtypeAliases = map[string]string{
	"assoc-req": "assocreq", "assoc-resp": "assocresp", "reassoc-req": "reassocreq", "reassoc-resp": "reassocresp",
	"probe-req": "probereq", "probe-resp": "proberesp", "disassociation": "disassoc", "authentication": "auth",
	"deauthentication": "deauth",
}

// frameDirections are the names of the four combinations of toDS and fromDS.
var frameDirections = map[string]uint32{"nods": 0, "tods": 1, "fromds": 2, "dstods": 3}

// subtype finds a subtype's bits, of the type or of any if that is not known.
func subtype(name string, typ uint32, known bool) (uint32, bool) {
	if a, ok := subtypeAliases[name]; ok {
		name = a
	}
	for _, t := range []uint32{0x00, 0x04, 0x08} {
		for i, s := range frameSubtypes[t] {
			if s == name && s != "-" && (!known || t == typ) {
				return uint32(i)<<4 | t, true
			}
		}
	}
	return 0, false
}

// frameType reads "type", "subtype" or "dir" and what follows.
func (p *parser) frameType() *cond {
	w := p.next()
	if !p.wireless() || p.link == PPI {
		p.fail("%q is about 802.11, which this link is not", w.text)
	}
	t := p.next()
	switch w.text {
	case "dir":
		v, ok := frameDirections[t.text]
		if t.kind == tNum {
			v, ok = t.num, t.num < 4
		}
		if !ok {
			p.fail("expected a direction: nods, tods, fromds or dstods")
		}
		return p.maskedIs(p.linkHdr, 1, 1, 3, v)
	case "subtype":
		v, ok := subtype(t.text, 0, false)
		if !ok || t.kind == tNum {
			p.fail("expected the name of a subtype, like \"beacon\"")
		}
		return p.maskedIs(p.linkHdr, 0, 1, 0xfc, v)
	}
	typ, ok := frameTypes[t.text]
	if t.kind == tNum {
		typ, ok = t.num, t.num&^uint32(frameTypeMask) == 0
	}
	if !ok {
		p.fail("expected a type of frame: mgt, ctl, data, or its bits 0, 4, 8 or 12")
	}
	if _, more := p.word("subtype"); !more {
		return p.maskedIs(p.linkHdr, 0, 1, frameTypeMask, typ)
	}
	s := p.next()
	v, ok := subtype(s.text, typ, true)
	if s.kind == tNum {
		v, ok = s.num|typ, s.num&^uint32(0xf0) == 0
	}
	if !ok {
		p.fail("expected a subtype of this type of frame")
	}
	return p.maskedIs(p.linkHdr, 0, 1, 0xfc, v)
}

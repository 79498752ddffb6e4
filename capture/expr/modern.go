package expr

import "github.com/towpath/towpath/capture/bpf"

// In modern mode a program walks a packet's headers before anything else, and
// notes in registers where those of IP are: of the outer packet, and of the one
// in a tunnel, if there is one. What is asked about IP is asked about both.

// A layer is the registers that describe one IP packet.
type layer struct {
	version *value // 4, 6, or 0 if there is none
	header  *value // where it begins; of the outer layer, also where what is tagged begins
	proto   *value // what its payload is; notFirst is added for fragments that are not the first
	payload *value // where that begins, behind IPv6's extension headers
}

// A walk is what the walk notes.
type walk struct {
	layers [2]layer
	typ    *value            // the EtherType behind VLAN tags, or 0
	found  map[string]*value // where the payload of a protocol begins, once something asked for it
}

const (
	// notFirst is added to a protocol if its header is in another fragment.
	notFirst = 0x100
	// noProto is the protocol where there is no packet.
	noProto = 0x1ff

	tagsMax       = 2 // behind the first
	labelsMax     = 4
	extensionsMax = 6

	protoIPv4 = 4
	protoIPv6 = 41
	protoGRE  = 47
)

// assign is set for a register that is a value.
func assign(r, v *value) *cond { return set(r.k, v) }

// always goes on, whatever becomes of c.
func always(c *cond) *cond { return or(c, yes) }

func (g *generator) equals(v *value, k uint32) *cond { return test(bpf.JmpEq, v, g.in.konst(k)) }

func (g *generator) plus(v *value, k uint32) *value { return g.in.bin(vAdd, v, g.in.konst(k)) }

// modern returns the walk, and prepares it when it is first asked for.
func (g *generator) modern() *walk {
	if g.walked != nil {
		return g.walked
	}
	w := &walk{found: map[string]*value{}}
	mine := uint32(0)
	reg := func() *value {
		r := g.in.reg(g.newReg())
		mine |= 1 << r.k
		return r
	}
	for i := range w.layers {
		w.layers[i] = layer{reg(), reg(), reg(), reg()}
	}
	w.typ = reg()
	g.walked = w
	here := g.place
	g.place = g.outermost
	defer func() { g.place = here }()

	out, in := w.layers[0], w.layers[1]
	zero := g.in.konst(0)
	start := and(assign(w.typ, zero))
	for _, l := range w.layers {
		start = and(start, assign(l.version, zero), assign(l.proto, g.in.konst(noProto)), assign(l.header, zero), assign(l.payload, zero))
	}
	g.prepare(mine, and(start, g.outer(w), always(g.walkIP(out)), g.tunnel(out, in), always(g.walkIP(in))))
	return w
}

// isIP notes that an IP packet of a version begins at v.
func (g *generator) isIP(l layer, version uint32, v *value) *cond {
	return and(assign(l.version, g.in.konst(version)), assign(l.header, v))
}

// byType notes an IP packet at v if typ is its EtherType.
func (g *generator) byType(l layer, typ, v *value) *cond {
	return or(and(g.equals(typ, etherIPv4), g.isIP(l, 4, v)), and(g.equals(typ, etherIPv6), g.isIP(l, 6, v)))
}

// isTag tests an EtherType for VLAN's.
func (g *generator) isTag(typ *value) *cond {
	return or(g.equals(typ, etherVLAN), g.equals(typ, etherQinQ), g.equals(typ, etherQinQOld))
}

// outer finds the outer IP packet, behind tags, labels and sessions.
func (g *generator) outer(w *walk) *cond {
	l := w.layers[0]
	at := g.sum(g.network())
	// Further tags, then labels or a session, at l.header.
	tags := yes
	for range tagsMax {
		tags = always(and(g.isTag(w.typ), assign(w.typ, g.load(offset{reg: l.header}, 2, 2)), assign(l.header, g.plus(l.header, 4)), tags))
	}
	stack := yes
	for range labelsMax {
		stack = always(and(not(g.bit(offset{reg: l.header}, 2, 1, 1)), assign(l.header, g.plus(l.header, 4)), stack))
	}
	nibble := func() *value { return g.in.bin(vAnd, g.load(offset{reg: l.header}, 0, 1), g.in.konst(0xf0)) }
	labels := and(stack, assign(l.header, g.plus(l.header, 4)),
		always(or(and(g.equals(nibble(), 0x40), assign(l.version, g.in.konst(4))), and(g.equals(nibble(), 0x60), assign(l.version, g.in.konst(6))))))
	ppp := g.load(offset{reg: l.header}, 6, 2)
	session := always(or(
		and(g.equals(ppp, pppProtocols[etherIPv4]), g.isIP(l, 4, g.plus(l.header, 8))),
		and(g.equals(ppp, pppProtocols[etherIPv6]), g.isIP(l, 6, g.plus(l.header, 8)))))
	behind := always(or(g.byType(l, w.typ, l.header),
		and(g.equals(w.typ, etherMPLS), labels), and(g.equals(w.typ, etherPPPoESession), session)))

	plain := or(and(g.linkType(etherIPv4), g.isIP(l, 4, at)), and(g.linkType(etherIPv6), g.isIP(l, 6, at)))
	switch g.link {
	case EN10MB, NETANALYZER, NETANALYZER_TRANSPARENT, LINUX_SLL, LINUX_SLL2, C_HDLC, FDDI, IEEE802, ATM_RFC1483, ATM_CLIP, IP_OVER_FC,
		IEEE802_11, IEEE802_11_RADIO, IEEE802_11_AVS, PRISM, PPI, SUNATM:
	default:
		return always(plain)
	}
	first := g.load(g.network(), 2, 2)
	return always(or(plain,
		and(or(g.linkType(etherVLAN), g.linkType(etherQinQ), g.linkType(etherQinQOld)),
			assign(w.typ, first), assign(l.header, g.plus(at, 4)), tags, behind),
		and(g.linkType(etherMPLS), assign(l.header, at), labels),
		and(g.linkType(etherPPPoESession), assign(l.header, at), session)))
}

// walkIP finds the payload of an IP packet.
func (g *generator) walkIP(l layer) *cond {
	hdr, pay := offset{reg: l.header}, offset{reg: l.payload}
	length := g.in.bin(vLsh, g.in.bin(vAnd, g.load(hdr, 0, 1), g.in.konst(15)), g.in.konst(2))
	later := assign(l.proto, g.in.bin(vOr, l.proto, g.in.konst(notFirst)))
	v4 := and(g.equals(l.version, 4),
		assign(l.proto, g.load(hdr, 9, 1)), assign(l.payload, g.in.bin(vAdd, length, l.header)),
		always(and(g.bit(hdr, 6, 2, 0x1fff), later)))

	// over goes past a header whose second byte is its length.
	over := func(plus, times uint32) *cond {
		n := g.in.bin(vMul, g.plus(g.load(pay, 1, 1), plus), g.in.konst(times))
		return and(assign(l.proto, g.load(pay, 0, 1)), assign(l.payload, g.in.bin(vAdd, n, l.payload)))
	}
	fragment := and(assign(l.proto, g.load(pay, 0, 1)), always(and(g.bit(pay, 2, 2, 0xfff8), later)), assign(l.payload, g.plus(l.payload, 8)))
	chain := yes
	for range extensionsMax {
		chain = always(and(or(
			and(or(g.equals(l.proto, nextHopByHop), g.equals(l.proto, nextRouting), g.equals(l.proto, nextDestinations)), over(1, 8)),
			and(g.equals(l.proto, protoFragment), fragment),
			and(g.equals(l.proto, protoAH), over(2, 4))), chain))
	}
	v6 := and(g.equals(l.version, 6), assign(l.proto, g.load(hdr, 6, 1)), assign(l.payload, g.plus(l.header, 40)), chain)
	return or(v4, v6)
}

// tunnel finds an IP packet within the payload of out: IP in IP, GRE (RFC 2784,
// RFC 2890), VXLAN and Geneve.
func (g *generator) tunnel(out, in layer) *cond {
	pay := offset{reg: out.payload}
	at := offset{reg: in.header}
	// Ethernet at in.header, with a tag or without.
	typ := g.load(at, 12, 2)
	ether := or(and(g.isTag(typ), g.byType(in, g.load(at, 16, 2), g.plus(in.header, 18))), g.byType(in, typ, g.plus(in.header, 14)))
	flag := func(shift uint32) *value {
		return g.in.bin(vAnd, g.in.bin(vRsh, g.load(pay, 0, 1), g.in.konst(shift)), g.in.konst(4))
	}
	// The flags for checksum, key and sequence number, four bytes each.
	words := g.in.bin(vAdd, g.in.bin(vAdd, flag(5), flag(3)), flag(2))
	gre := and(g.equals(g.in.bin(vAnd, g.load(pay, 1, 1), g.in.konst(7)), 0),
		assign(in.header, g.plus(g.in.bin(vAdd, words, out.payload), 4)),
		or(g.byType(in, g.load(pay, 2, 2), in.header), and(g.is(pay, 2, 2, etherBridge), ether)))
	geneve := and(g.is(pay, 2, 2, portGeneve),
		assign(in.header, g.plus(g.in.bin(vAdd, g.in.bin(vLsh, g.in.bin(vAnd, g.load(pay, 8, 1), g.in.konst(0x3f)), g.in.konst(2)), out.payload), 16)),
		or(g.byType(in, g.load(pay, 10, 2), in.header), and(g.is(pay, 10, 2, etherBridge), ether)))
	vxlan := and(g.is(pay, 2, 2, portVXLAN), assign(in.header, g.plus(out.payload, 16)), ether)
	return always(or(
		and(g.equals(out.proto, protoIPv4), g.isIP(in, 4, out.payload)),
		and(g.equals(out.proto, protoIPv6), g.isIP(in, 6, out.payload)),
		and(g.equals(out.proto, protoGRE), gre),
		and(g.equals(out.proto, protoUDP), or(vxlan, geneve))))
}

// anyLayer asks about both packets.
func (g *generator) anyLayer(ask func(l layer) *cond) *cond {
	w := g.modern()
	return or(ask(w.layers[0]), ask(w.layers[1]))
}

// modernLink tests for a protocol of the link, also behind tags.
func (g *generator) modernLink(p uint32) *cond {
	switch p {
	case etherIPv4:
		return g.anyLayer(func(l layer) *cond { return g.equals(l.version, 4) })
	case etherIPv6:
		return g.anyLayer(func(l layer) *cond { return g.equals(l.version, 6) })
	}
	c := g.linkType(p)
	if p > etherMax802_3 {
		c = or(c, g.equals(g.modern().typ, p))
	}
	return c
}

// modernProto tests for a protocol of IP.
func (g *generator) modernProto(n uint32, v4, v6 bool) *cond {
	return g.anyLayer(func(l layer) *cond {
		c := or(g.equals(l.proto, n), g.equals(l.proto, n|notFirst))
		switch {
		case !v6:
			return and(g.equals(l.version, 4), c)
		case !v4:
			return and(g.equals(l.version, 6), c)
		}
		return c
	})
}

// modernHost4 tests IPv4 addresses.
func (g *generator) modernHost4(v, mask uint32, dir string) *cond {
	return g.anyLayer(func(l layer) *cond {
		at := offset{reg: l.header}
		return and(g.equals(l.version, 4), g.directed(dir, g.maskedIs(at, 12, 4, mask, v), g.maskedIs(at, 16, 4, mask, v)))
	})
}

// modernARP tests addresses of ARP and RARP, also behind tags.
func (g *generator) modernARP(proto, v, mask uint32, dir string) *cond {
	at := func(o offset) *cond {
		return g.directed(dir, g.maskedIs(o, 14, 4, mask, v), g.maskedIs(o, 24, 4, mask, v))
	}
	w := g.modern()
	return or(and(g.linkType(proto), at(g.network())), and(g.equals(w.typ, proto), at(offset{reg: w.layers[0].header})))
}

// modernHost6 tests IPv6 addresses.
func (g *generator) modernHost6(addr [16]byte, n int, dir string) *cond {
	return g.anyLayer(func(l layer) *cond {
		at := offset{reg: l.header}
		return and(g.equals(l.version, 6), g.directed(dir, g.addr6(at.add(8), addr, n), g.addr6(at.add(24), addr, n)))
	})
}

// modernPorts tests what begins with two ports.
func (g *generator) modernPorts(protos []uint32, test func(at offset) *cond) *cond {
	return g.anyLayer(func(l layer) *cond {
		var any []*cond
		for _, p := range protos {
			any = append(any, g.equals(l.proto, p))
		}
		return and(or(any...), test(offset{reg: l.payload}))
	})
}

// modernAccess is proto[index:size] in the outer packet that is of the
// protocol, or else in the inner one.
func (g *generator) modernAccess(word string, index arith, size uint8) arith {
	w := g.modern()
	r := w.found[word]
	if r == nil {
		r = g.in.reg(g.newReg())
		w.found[word] = r
	}
	where := g.anyLayer(func(l layer) *cond {
		switch word {
		case "ip":
			return and(g.equals(l.version, 4), assign(r, l.header))
		case "ip6":
			return and(g.equals(l.version, 6), assign(r, l.header))
		}
		p := ipProtocols[word]
		c := and(g.equals(l.proto, p.number), assign(r, l.payload))
		switch {
		case !p.v6:
			return and(g.equals(l.version, 4), c)
		case !p.v4:
			return and(g.equals(l.version, 6), c)
		}
		return c
	})
	if index.v.isConst() {
		return arith{g.in.load(size, index.v.k, r), and(index.need, where)}
	}
	return arith{g.in.load(size, 0, g.in.bin(vAdd, index.v, r)), and(index.need, where)}
}

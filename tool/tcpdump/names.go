package tcpdump

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/towpath/towpath/wire"
)

const (
	// lookupMax bounds how long a name is waited for.
	lookupMax = 5 * time.Second
	// namesMax bounds how many names are remembered.
	namesMax = 1 << 16
)

// names finds names to print: of ports and protocols in /etc, of addresses by
// lookup. It implements [dissect.Names].
type names struct {
	lookup   func(netip.Addr) string // nil: no names
	noDomain bool
	ports    map[portKey]string
	protos   map[wire.Proto]string
	ethers   map[wire.MAC]string
	addrs    map[netip.Addr]string
}

type portKey struct {
	port uint16
	udp  bool
}

// newNames reads the system's files.
func newNames(lookup func(netip.Addr) string, noDomain bool) *names {
	n := &names{
		lookup: lookup, noDomain: noDomain,
		ports: map[portKey]string{}, protos: map[wire.Proto]string{}, ethers: map[wire.MAC]string{}, addrs: map[netip.Addr]string{},
	}
	eachLine("/etc/services", func(f []string) {
		port, proto, _ := strings.Cut(f[1], "/")
		p, err := strconv.ParseUint(port, 10, 16)
		if err != nil || proto != "tcp" && proto != "udp" {
			return
		}
		if k := (portKey{uint16(p), proto == "udp"}); n.ports[k] == "" {
			n.ports[k] = f[0]
		}
	})
	eachLine("/etc/protocols", func(f []string) {
		if p, err := strconv.ParseUint(f[1], 10, 8); err == nil && n.protos[wire.Proto(p)] == "" {
			n.protos[wire.Proto(p)] = f[0]
		}
	})
	eachLine("/etc/ethers", func(f []string) {
		if m, err := net.ParseMAC(f[0]); err == nil && len(m) == 6 {
			n.ethers[wire.MAC(m)] = f[1]
		}
	})
	return n
}

// eachLine calls f with the fields of a file's lines that have two or more.
func eachLine(name string, f func(fields []string)) {
	b, err := os.ReadFile(name)
	if err != nil {
		return
	}
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		if fields := strings.Fields(line); len(fields) >= 2 {
			f(fields)
		}
	}
}

// Addr implements [dissect.Names].
func (n *names) Addr(a netip.Addr) string {
	if n.lookup == nil {
		return ""
	}
	s, known := n.addrs[a]
	if !known {
		s = n.lookup(a)
		if n.noDomain {
			s, _, _ = strings.Cut(s, ".")
		}
		if len(n.addrs) == namesMax {
			clear(n.addrs)
		}
		n.addrs[a] = s
	}
	return s
}

// Port implements [dissect.Names].
func (n *names) Port(proto wire.Proto, port uint16) string {
	return n.ports[portKey{port, proto == wire.ProtoUDP}]
}

// Proto implements [dissect.Names].
func (n *names) Proto(p wire.Proto) string { return n.protos[p] }

// Ether implements [dissect.Names].
func (n *names) Ether(m wire.MAC) string { return n.ethers[m] }

// resolve asks the system's resolver.
func resolve(ctx context.Context) func(netip.Addr) string {
	return func(a netip.Addr) string {
		ctx, cancel := context.WithTimeout(ctx, lookupMax)
		defer cancel()
		found, err := net.DefaultResolver.LookupAddr(ctx, a.String())
		if err != nil || len(found) == 0 {
			return ""
		}
		return strings.TrimSuffix(found[0], ".")
	}
}

package expr

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
)

// Names finds what names in expressions mean. Nothing here may ask a network.
type Names interface {
	// Host returns the addresses of a host, in order; none if it is unknown.
	Host(name string) []netip.Addr
	// Ether returns the station address of a host, 6 bytes long.
	Ether(name string) (net.HardwareAddr, bool)
	// Network returns the number of a network: 10 for 10.0.0.0/8.
	Network(name string) (uint32, bool)
	// Service returns the port of a service of "tcp", "udp" or "sctp".
	Service(name, proto string) (uint16, bool)
	// Protocol returns the number of a protocol above IP.
	Protocol(name string) (uint8, bool)
}

// Files is a [Names] that reads a system's files: hosts, ethers, networks,
// services and protocols in Dir, in the formats of hosts(5), ethers(5),
// networks(5), services(5) and protocols(5). Each is read once, when it is first
// needed; one that cannot be read is taken as empty. Protocols that every
// system has are known without a file.
type Files struct {
	Dir string // "" means /etc

	once  [5]sync.Once
	lines [5][][]string
}

const (
	fileHosts = iota
	fileEthers
	fileNetworks
	fileServices
	fileProtocols
)

var fileNames = [...]string{"hosts", "ethers", "networks", "services", "protocols"}

// fileMax bounds how much of a file is read, in lines.
const fileMax = 1 << 20

// read returns the fields of a file's lines.
func (f *Files) read(which int) [][]string {
	f.once[which].Do(func() {
		dir := f.Dir
		if dir == "" {
			dir = "/etc"
		}
		file, err := os.Open(dir + "/" + fileNames[which])
		if err != nil {
			return
		}
		defer file.Close()
		s := bufio.NewScanner(file)
		for n := 0; n < fileMax && s.Scan(); n++ {
			line, _, _ := strings.Cut(s.Text(), "#")
			if fields := strings.Fields(line); len(fields) >= 2 {
				f.lines[which] = append(f.lines[which], fields)
			}
		}
	})
	return f.lines[which]
}

// Host implements [Names].
func (f *Files) Host(name string) (list []netip.Addr) {
	for _, l := range f.read(fileHosts) {
		for _, n := range l[1:] {
			if a, err := netip.ParseAddr(l[0]); err == nil && strings.EqualFold(n, name) {
				list = append(list, a.WithZone("").Unmap())
				break
			}
		}
	}
	return list
}

// Ether implements [Names].
func (f *Files) Ether(name string) (net.HardwareAddr, bool) {
	for _, l := range f.read(fileEthers) {
		if m, ok := parseMAC(l[0]); ok && strings.EqualFold(l[1], name) {
			return m[:], true
		}
	}
	return nil, false
}

// Network implements [Names].
func (f *Files) Network(name string) (uint32, bool) {
	for _, l := range f.read(fileNetworks) {
		if v, _, ok := parseDotted(l[1]); ok && has(l[0], l[2:], name) {
			return v, true
		}
	}
	return 0, false
}

// Service implements [Names].
func (f *Files) Service(name, proto string) (uint16, bool) {
	for _, l := range f.read(fileServices) {
		port, p, _ := strings.Cut(l[1], "/")
		if n, err := strconv.ParseUint(port, 10, 16); err == nil && p == proto && has(l[0], l[2:], name) {
			return uint16(n), true
		}
	}
	return 0, false
}

// Protocol implements [Names].
func (f *Files) Protocol(name string) (uint8, bool) {
	for _, l := range f.read(fileProtocols) {
		if n, err := strconv.ParseUint(l[1], 10, 8); err == nil && has(l[0], l[2:], name) {
			return uint8(n), true
		}
	}
	n, ok := protocols[name]
	return n, ok
}

// protocols are those of RFC 1700's successor that are met.
var protocols = map[string]uint8{
	"icmp": 1, "igmp": 2, "ipencap": 4, "tcp": 6, "egp": 8, "igp": 9, "udp": 17, "dccp": 33, "ipv6": 41, "ipv6-route": 43,
	"ipv6-frag": 44, "rsvp": 46, "gre": 47, "esp": 50, "ah": 51, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60,
	"eigrp": 88, "ospf": 89, "ipip": 94, "etherip": 97, "pim": 103, "vrrp": 112, "l2tp": 115, "sctp": 132, "udplite": 136,
}

// has reports whether name is first or among others.
func has(first string, others []string, name string) bool {
	if first == name {
		return true
	}
	for _, o := range others {
		if o == name {
			return true
		}
	}
	return false
}

var systemNames = &Files{}

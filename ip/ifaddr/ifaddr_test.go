package ifaddr

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

// parse makes a set of words such as "1=10.0.0.1/24".
func parse(words string) *Set {
	s := new(Set)
	for _, w := range strings.Fields(words) {
		s = s.With(addrOf(w))
	}
	return s
}

func addrOf(word string) Addr {
	adapter, p, _ := strings.Cut(word, "=")
	n, err := strconv.Atoi(adapter)
	if err != nil {
		panic(err)
	}
	return Addr{Adapter: int32(n), Prefix: netip.MustParsePrefix(p)}
}

const (
	few  = "1=10.0.0.1/24 2=10.1.0.1/16 1=fe80::1/64 1=2001:db8::1/64 "
	many = few + "3=192.0.2.1/32 3=192.0.2.3/31 4=198.51.100.9/29 5=203.0.113.1/30 5=127.0.0.1/8 "
)

// What a set answers does not depend on whether it has a map.
func TestLocal(t *testing.T) {
	for name, s := range map[string]*Set{"few": parse(few), "many": parse(many)} {
		if (s.index != nil) != (name == "many") {
			t.Errorf("%s: index %v", name, s.index)
		}
		for _, test := range []struct {
			ip      string
			adapter int32
		}{
			{"10.0.0.1", 1}, {"10.1.0.1", 2}, {"fe80::1", 1}, {"2001:db8::1", 1},
			{"10.0.0.2", 0}, {"10.0.0.255", 0}, {"fe80::2", 0}, {"::ffff:10.0.0.1", 0}, {"0.0.0.0", 0}, {"::", 0},
		} {
			if got, ok := s.Local(netip.MustParseAddr(test.ip)); got != test.adapter || ok != (test.adapter != 0) {
				t.Errorf("%s: Local(%s) = %d %v, want %d", name, test.ip, got, ok, test.adapter)
			}
		}
		if _, ok := s.Local(netip.Addr{}); ok {
			t.Errorf("%s: the zero address is local", name)
		}
	}
}

func TestBroadcast(t *testing.T) {
	for _, test := range []struct {
		adapter int32
		ip      string
		want    bool
	}{
		{1, "10.0.0.255", true},
		{1, "10.0.0.254", false},
		{1, "10.0.0.0", false},
		{1, "10.1.255.255", false}, // another adapter's
		{2, "10.1.255.255", true},
		{2, "10.1.0.255", false},
		{3, "192.0.2.1", false}, // 32 bits
		{3, "192.0.2.3", false}, // 31 bits (RFC 3021)
		{4, "198.51.100.15", true},
		{5, "203.0.113.3", true},
		{5, "127.255.255.255", true},
		{1, "255.255.255.255", false}, // limited, not directed
		{1, "2001:db8::ffff:ffff:ffff:ffff", false},
		{1, "::ffff:10.0.0.255", false},
		{9, "10.0.0.255", false},
	} {
		if got := parse(many).Broadcast(test.adapter, netip.MustParseAddr(test.ip)); got != test.want {
			t.Errorf("Broadcast(%d, %s) = %v", test.adapter, test.ip, got)
		}
	}
	if got := parse("1=10.0.0.1/0").Broadcast(1, netip.MustParseAddr("255.255.255.255")); !got {
		t.Error("a network of 0 bits has a broadcast address")
	}
}

func TestSource(t *testing.T) {
	for _, test := range []struct {
		name, set string
		adapter   int32
		dst, next string
		want      string // "" for none
	}{
		{"next hop's network", "1=10.0.0.1/24 1=10.1.0.1/24", 1, "192.0.2.1", "10.1.0.9", "10.1.0.1"},
		{"on the link", "1=10.0.0.1/24 1=10.1.0.1/24", 1, "10.0.0.7", "10.0.0.7", "10.0.0.1"},
		{"first of the adapter", "2=10.2.0.1/24 1=10.0.0.1/24 1=10.1.0.1/24", 1, "192.0.2.1", "172.16.0.1", "10.0.0.1"},
		{"any other", "2=10.2.0.1/24 3=10.3.0.1/24", 1, "192.0.2.1", "192.0.2.1", "10.2.0.1"},
		{"other adapter's network does not count", "1=10.0.0.1/24 2=10.1.0.1/24", 1, "10.1.0.7", "10.1.0.7", "10.0.0.1"},
		{"family", "1=2001:db8::1/64", 1, "10.0.0.7", "10.0.0.7", ""},
		{"family, too", "1=10.0.0.1/24", 1, "2001:db8::1", "2001:db8::1", ""},
		{"empty", "", 1, "10.0.0.7", "10.0.0.7", ""},
		{"loopback", "1=10.0.0.1/24 2=127.0.0.1/8", 2, "127.0.0.5", "127.0.0.5", "127.0.0.1"},
		{"loopback for loopback only", "2=127.0.0.1/8", 1, "10.0.0.7", "10.0.0.7", ""},
		{"global to global", "1=fe80::1/64 1=2001:db8::1/64", 1, "2001:db8::7", "2001:db8::7", "2001:db8::1"},
		{"link-local to link-local", "1=2001:db8::1/64 1=fe80::1/64", 1, "fe80::7", "fe80::7", "fe80::1"},
		{"link-local to all nodes", "1=2001:db8::1/64 1=fe80::1/64", 1, "ff02::1", "ff02::1", "fe80::1"},
		{"global to a wide group", "1=fe80::1/64 1=2001:db8::1/64", 1, "ff0e::1", "ff0e::1", "2001:db8::1"},
		{"link-local of another adapter", "2=fe80::1/64", 1, "fe80::7", "fe80::7", ""},
		{"global of another adapter", "2=2001:db8::1/64", 1, "2001:db8:1::7", "fe80::7", "2001:db8::1"},
		{"best network wins over first", "1=2001:db8::1/64 1=2001:db8:1::1/64", 1, "2001:db8:1::7", "2001:db8:1::7", "2001:db8:1::1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok := parse(test.set).Source(test.adapter, netip.MustParseAddr(test.dst), netip.MustParseAddr(test.next))
			if ok != (test.want != "") || ok && got.String() != test.want {
				t.Errorf("Source = %v %v, want %s", got, ok, test.want)
			}
		})
	}
}

// A set does not change when another is made of it.
func TestImmutable(t *testing.T) {
	s := parse(many)
	with := s.With(addrOf("7=10.7.0.1/24"))
	without := with.Without(func(a Addr) bool { return a.Adapter == 1 || a.Adapter == 5 })
	for _, test := range []struct {
		name string
		s    *Set
		n    int
		have string
		miss string
	}{
		{"first", s, 9, "10.0.0.1", "10.7.0.1"},
		{"with", with, 10, "10.7.0.1", "10.8.0.1"},
		{"without", without, 5, "10.7.0.1", "10.0.0.1"},
	} {
		if n := len(test.s.All()); n != test.n {
			t.Errorf("%s: %d addresses, want %d", test.name, n, test.n)
		}
		if _, ok := test.s.Local(netip.MustParseAddr(test.have)); !ok {
			t.Errorf("%s: %s is missing", test.name, test.have)
		}
		if _, ok := test.s.Local(netip.MustParseAddr(test.miss)); ok {
			t.Errorf("%s: %s is there", test.name, test.miss)
		}
	}
	if got := without.All()[0]; got.Adapter != 2 || got.Prefix.String() != "10.1.0.1/16" {
		t.Errorf("order is not kept: %v first", got)
	}
	if got := new(Set).All(); len(got) != 0 {
		t.Errorf("the zero set has %v", got)
	}
}

func TestAllocs(t *testing.T) {
	for name, s := range map[string]*Set{"few": parse(few), "many": parse(many)} {
		ip, dst := netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.255.255")
		if n := testing.AllocsPerRun(100, func() { s.Local(ip); s.Broadcast(2, dst); s.Source(2, dst, dst) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkLocal(b *testing.B) {
	for name, s := range map[string]*Set{"few": parse(few), "many": parse(many)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			ip := netip.MustParseAddr("10.1.0.1")
			for b.Loop() {
				s.Local(ip)
			}
		})
	}
}

func TestSourceRules(t *testing.T) {
	for _, test := range []struct {
		name, set string
		adapter   int32
		dst, next string
		want      string
	}{
		{"global dst by a link-local router", "1=fe80::2/64 1=2001:db8::2/64", 1, "2001:db8:1::7", "fe80::1", "2001:db8::2"},
		{"link-local only, global dst, global elsewhere", "1=fe80::2/64 2=2001:db8::2/64", 1, "2001:db8:1::7", "fe80::1", "2001:db8::2"},
		{"link-local only, global dst", "1=fe80::2/64", 1, "2001:db8:1::7", "fe80::1", ""},
		{"own address (RFC 6724 rule 1)", "1=10.0.0.1/24 2=10.1.0.1/24", 3, "10.1.0.1", "10.1.0.1", "10.1.0.1"},
		{"longest prefix (RFC 6724 rule 8)", "1=10.0.0.1/8 1=10.1.0.1/16", 1, "10.1.0.7", "10.1.0.7", "10.1.0.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok := parse(test.set).Source(test.adapter, netip.MustParseAddr(test.dst), netip.MustParseAddr(test.next))
			if ok != (test.want != "") || ok && got.String() != test.want {
				t.Errorf("Source = %v %v, want %s", got, ok, test.want)
			}
		})
	}
}

// One address on two adapters: the first one's, with few addresses and many.
func TestLocalTwice(t *testing.T) {
	ip := netip.MustParseAddr("fe80::1")
	s := parse("1=fe80::1/64 2=fe80::1/64")
	few, _ := s.Local(ip)
	for i := range 10 {
		s = s.With(Addr{Adapter: 3, Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 1}), 24)})
	}
	if many, _ := s.Local(ip); many != few {
		t.Errorf("on %d with few addresses, %d with many", few, many)
	}
}

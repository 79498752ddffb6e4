package route

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// linear is the table that a beginner would write: routes in the order in
// which they were added.
type linear []Route

func (l linear) with(r Route) linear {
	r.Dst = r.Dst.Masked()
	l = slices.DeleteFunc(slices.Clone(l), func(o Route) bool {
		return o.Dst == r.Dst && o.Via == r.Via && o.Adapter == r.Adapter
	})
	return append(l, r)
}

func (l linear) without(drop func(Route) bool) linear {
	return slices.DeleteFunc(slices.Clone(l), drop)
}

func (l linear) lookup(dst netip.Addr) (best Route, ok bool) {
	for _, r := range l {
		if r.Dst.Contains(dst) && (!ok || r.Dst.Bits() > best.Dst.Bits() || r.Dst.Bits() == best.Dst.Bits() && r.Metric < best.Metric) {
			best, ok = r, true
		}
	}
	return best, ok
}

// randomAddr draws from few bits, so that prefixes nest and fork.
func randomAddr(r *rand.Rand) netip.Addr {
	some := func() byte { return byte(r.IntN(4)) * 0x55 }
	if r.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{some(), some(), some(), some()})
	}
	var b [16]byte
	for i := range b {
		b[i] = some()
	}
	if r.IntN(20) == 0 {
		return netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff, 12: some(), 15: some()}) // IPv4-mapped
	}
	return netip.AddrFrom16(b)
}

func randomRoute(r *rand.Rand) Route {
	a := randomAddr(r)
	rt := Route{
		Dst:     netip.PrefixFrom(a, r.IntN(a.BitLen()+1)), // not masked: With does it
		Adapter: int32(1 + r.IntN(3)),
		Metric:  uint32(r.IntN(3)),
	}
	if r.IntN(2) == 0 {
		rt.Via = a.Next()
	}
	return rt
}

func check(t *testing.T, r *rand.Rand, table *Table, want linear) {
	t.Helper()
	all := table.All()
	if len(all) != len(want) || table.Len() != len(want) {
		t.Fatalf("%d routes, Len %d, want %d", len(all), table.Len(), len(want))
	}
	for i, a := range all {
		if !slices.Contains(want, a) {
			t.Fatalf("%v is not to be there", a)
		}
		if i > 0 {
			b := all[i-1]
			c := b.Dst.Addr().Compare(a.Dst.Addr())
			if c == 0 {
				c = b.Dst.Bits() - a.Dst.Bits()
			}
			if c > 0 || c == 0 && b.Metric > a.Metric {
				t.Fatalf("%v before %v", b, a)
			}
		}
	}
	for range 30 {
		dst := randomAddr(r)
		if len(want) > 0 && r.IntN(3) == 0 {
			dst = want[r.IntN(len(want))].Dst.Addr()
		}
		got, ok := table.Lookup(dst)
		w, wok := want.lookup(dst)
		if ok != wok || got.Dst != w.Dst || got.Metric != w.Metric {
			t.Fatalf("Lookup(%v) = %v %v, want %v %v", dst, got, ok, w, wok)
		}
		if ok && !slices.Contains(want, got) {
			t.Fatalf("Lookup(%v) = %v, which is not in the table", dst, got)
		}
	}
}

// Random tables answer as the linear one does, and go on doing so after other
// tables have been made of them.
func TestLookup(t *testing.T) {
	r := seeded(t)
	for range 20 {
		type version struct {
			table *Table
			want  linear
		}
		versions := []version{{new(Table), nil}}
		for range 100 {
			v := versions[r.IntN(len(versions))]
			if r.IntN(3) > 0 {
				v = versions[len(versions)-1] // grow one of them
			}
			if r.IntN(10) == 0 {
				adapter, metric := int32(1+r.IntN(3)), uint32(r.IntN(3))
				drop := func(r Route) bool { return r.Adapter == adapter && r.Metric == metric }
				v = version{v.table.Without(drop), v.want.without(drop)}
			} else {
				rt := randomRoute(r)
				if len(v.want) > 0 && r.IntN(4) == 0 { // the same prefix again
					rt.Dst = v.want[r.IntN(len(v.want))].Dst
				}
				if len(v.want) > 0 && r.IntN(6) == 0 { // a replacement
					rt = v.want[r.IntN(len(v.want))]
					rt.Metric = uint32(r.IntN(3))
				}
				v = version{v.table.With(rt), v.want.with(rt)}
			}
			check(t, r, v.table, v.want)
			versions = append(versions, v)
		}
		for _, v := range versions {
			check(t, r, v.table, v.want)
		}
	}
}

func TestTable(t *testing.T) {
	table := new(Table)
	for _, r := range []Route{
		{Dst: prefix("0.0.0.0/0"), Via: addr("10.0.0.1"), Adapter: 1, Metric: 100},
		{Dst: prefix("0.0.0.0/0"), Via: addr("10.1.0.1"), Adapter: 2, Metric: 50},
		{Dst: prefix("10.0.0.7/24"), Adapter: 1}, // is masked
		{Dst: prefix("10.0.0.128/25"), Adapter: 3},
		{Dst: prefix("10.0.0.200/32"), Adapter: 4},
		{Dst: prefix("::/0"), Via: addr("fe80::1"), Adapter: 1},
		{Dst: prefix("2001:db8::/32"), Adapter: 2},
		{Dst: prefix("2001:db8::1/128"), Adapter: 3},
	} {
		table = table.With(r)
	}
	for _, test := range []struct {
		dst  string
		want string
	}{
		{"10.0.0.1", "10.0.0.0/24 dev 1"},
		{"10.0.0.127", "10.0.0.0/24 dev 1"},
		{"10.0.0.128", "10.0.0.128/25 dev 3"},
		{"10.0.0.199", "10.0.0.128/25 dev 3"},
		{"10.0.0.200", "10.0.0.200/32 dev 4"},
		{"10.0.1.0", "default via 10.1.0.1 dev 2 metric 50"},
		{"255.255.255.255", "default via 10.1.0.1 dev 2 metric 50"},
		{"2001:db8::1", "2001:db8::1/128 dev 3"},
		{"2001:db8::2", "2001:db8::/32 dev 2"},
		{"2001:db9::", "default via fe80::1 dev 1"},
		{"::ffff:10.0.0.1", "default via fe80::1 dev 1"}, // an IPv6 address, to us
	} {
		if r, ok := table.Lookup(addr(test.dst)); !ok || r.String() != test.want {
			t.Errorf("Lookup(%s) = %v %v, want %s", test.dst, r, ok, test.want)
		}
	}
	for _, dst := range []netip.Addr{{}, addr("fe80::1%eth0")} {
		if r, ok := table.Lookup(dst); ok {
			t.Errorf("Lookup(%v) = %v", dst, r)
		}
	}
}

// Among equal routes the older wins; a replacement takes the place of what it
// replaces, unless its metric is another.
func TestEqualMetrics(t *testing.T) {
	one := Route{Dst: prefix("10.0.0.0/8"), Adapter: 1}
	two := Route{Dst: prefix("10.0.0.0/8"), Adapter: 2}
	table := new(Table).With(one).With(two)
	if r, _ := table.Lookup(addr("10.1.1.1")); r != one {
		t.Errorf("%v wins", r)
	}
	one.Source = addr("10.9.9.9")
	if r, _ := table.With(one).Lookup(addr("10.1.1.1")); r != one {
		t.Errorf("%v wins", r)
	}
	one.Metric = 7
	if got := table.With(one).All(); !slices.Equal(got, []Route{two, one}) {
		t.Errorf("%v", got)
	}
}

func TestString(t *testing.T) {
	for _, test := range []struct {
		r    Route
		want string
	}{
		{Route{Dst: prefix("0.0.0.0/0"), Via: addr("10.0.0.1"), Adapter: 1}, "default via 10.0.0.1 dev 1"},
		{Route{Dst: prefix("10.0.0.0/8"), Adapter: 2, Source: addr("10.0.0.2"), Metric: 5}, "10.0.0.0/8 dev 2 src 10.0.0.2 metric 5"},
		{Route{Dst: prefix("2001:db8::/64"), Adapter: 3}, "2001:db8::/64 dev 3"},
	} {
		if got := test.r.String(); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

func big(n int) *Table {
	r := rand.New(rand.NewPCG(1, 2))
	t := new(Table).With(Route{Dst: prefix("0.0.0.0/0"), Adapter: 1})
	for range n {
		a := netip.AddrFrom4([4]byte{byte(r.IntN(224)), byte(r.Uint32()), byte(r.Uint32())})
		t = t.With(Route{Dst: netip.PrefixFrom(a, 8+r.IntN(17)), Adapter: 2})
	}
	return t
}

func TestLookupAllocs(t *testing.T) {
	table, dst := big(100), addr("10.1.2.3")
	if n := testing.AllocsPerRun(100, func() { table.Lookup(dst) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func benchmarkLookup(b *testing.B, n int) {
	b.ReportAllocs()
	table := big(n)
	r := rand.New(rand.NewPCG(3, 4))
	dst := make([]netip.Addr, 1024)
	for i := range dst {
		dst[i] = netip.AddrFrom4([4]byte{byte(r.IntN(224)), byte(r.Uint32()), byte(r.Uint32()), 1})
	}
	for i := 0; b.Loop(); i++ {
		table.Lookup(dst[i%len(dst)])
	}
}

func BenchmarkLookup3(b *testing.B)     { benchmarkLookup(b, 3) }
func BenchmarkLookup10000(b *testing.B) { benchmarkLookup(b, 10000) }

func BenchmarkWith10000(b *testing.B) {
	b.ReportAllocs()
	table := big(10000)
	r := Route{Dst: prefix("10.1.2.0/24"), Adapter: 3}
	for b.Loop() {
		table.With(r)
	}
}

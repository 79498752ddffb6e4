package ifaddr

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/towpath/towpath/wire"
)

const week = 7 * 24 * time.Hour

// A station is an Auto of one adapter and what it wants done, on a clock that
// only a test moves.
type station struct {
	t      *testing.T
	auto   *Auto
	now    time.Duration
	want   Privacy
	probed []netip.Addr
	lost   int
}

func (s *station) Probe(_ int32, target netip.Addr, _ [6]byte) { s.probed = append(s.probed, target) }
func (s *station) SolicitRouters(int32, netip.Addr)            {}
func (s *station) Changed()                                    {}
func (s *station) Duplicate(Addr)                              { s.lost++ }
func (s *station) Privacy(int32) Privacy                       { return s.want }

var (
	testMAC    = wire.MAC{2, 0, 0, 0, 0, 1}
	testPrefix = netip.MustParsePrefix("2001:db8:1::/64")
	secret     = netip.MustParseAddr("6b8b:4567:327b:23c6:643c:9869:6633:4873")
)

// temporaryDefaults are those of RFC 8981 §3.8, with Linux's bound of the desync
// factor.
var temporaryDefaults = Privacy{
	Temporary: 2, Valid: week, Preferred: 24 * time.Hour, Desync: 10 * time.Minute, RegenMin: 2 * time.Second, RegenRetries: 3,
}

func newStation(t *testing.T, want Privacy) *station {
	s := &station{t: t, want: want}
	s.auto = NewAuto(s, rand.New(rand.NewPCG(1, 2)))
	s.auto.Start(0, 1, "eth0", testMAC, true)
	return s
}

// until moves the clock, stopping at each deadline.
func (s *station) until(at time.Duration) {
	s.t.Helper()
	for n := 0; s.auto.Deadline() <= at; n++ {
		if n > 10000 {
			s.t.Fatalf("deadline %v does not move", s.auto.Deadline())
		}
		s.now = s.auto.Deadline()
		s.auto.Timeout(s.now)
	}
	s.now = at
}

// advert takes a router's advertisement of a prefix with lifetimes in seconds.
func (s *station) advert(p netip.Prefix, valid, preferred uint32) {
	o := make([]byte, 64)
	o = o[:wire.PutPrefixInfoOption(o, wire.NDPPrefix{Prefix: p, OnLink: true, Autonomous: true, Valid: valid, Preferred: preferred})]
	b := new(wire.Builder).Payload(o).PushRouterAdvert(wire.RouterAdvertFields{Lifetime: 1800}).Bytes()
	s.auto.Advert(s.now, 1, netip.MustParseAddr("fe80::99"), wire.RouterAdvert(b))
}

func (s *station) of(o Origin) (list []Addr) {
	return slices.DeleteFunc(s.auto.Addrs(), func(a Addr) bool { return a.Origin != o })
}

// preferred are the temporary addresses that are not deprecated.
func (s *station) preferred() []Addr {
	return slices.DeleteFunc(s.of(Temporary), func(a Addr) bool { return a.Deprecated })
}

// RFC 7217: an identifier stays in a network, differs from network to network,
// from adapter to adapter, secret to secret, and says nothing of the station.
func TestStable(t *testing.T) {
	k := secret.As16()
	base := stable(k, testPrefix, "eth0", 0)
	if again := stable(k, netip.MustParsePrefix("2001:db8:1::77/64"), "eth0", 0); again != base {
		t.Errorf("%x and then %x in one network", base, again)
	}
	other := k
	other[15]++
	seen := map[[8]byte]string{base: "base"}
	for _, c := range []struct {
		name string
		id   [8]byte
	}{
		{"prefix", stable(k, netip.MustParsePrefix("2001:db8:2::/64"), "eth0", 0)},
		{"adapter", stable(k, testPrefix, "eth1", 0)},
		{"after a duplicate", stable(k, testPrefix, "eth0", 1)},
		{"secret", stable(other, testPrefix, "eth0", 0)},
		{"station address", eui64(testMAC)},
	} {
		if was, dup := seen[c.id]; dup {
			t.Errorf("%s: %x as %s", c.name, c.id, was)
		}
		seen[c.id] = c.name
	}
	// It must be the same in the next version, too.
	if got := hex.EncodeToString(base[:]); got != "ad5ea44889659b87" {
		t.Errorf("identifier %s", got)
	}
}

func TestReserved(t *testing.T) {
	for _, c := range []struct {
		id   uint64
		want bool
	}{
		{0, true}, {1, false}, {0x02005efffdffffff, false}, {0x02005efffe000000, true}, {0x02005efffe005213, true}, {0x02005effff000000, false},
		{0xfdffffffffffff7f, false}, {0xfdffffffffffff80, true}, {0xfdffffffffffffff, true}, {0xfe00000000000000, false},
	} {
		if got := reserved([8]byte(binary.BigEndian.AppendUint64(nil, c.id))); got != c.want {
			t.Errorf("%016x: %v", c.id, got)
		}
	}
}

// Which addresses there are by the way that identifiers are made.
func TestIdentifiers(t *testing.T) {
	eui := [2]string{"fe80::ff:fe00:1", "2001:db8:1::ff:fe00:1"}
	k := secret.As16()
	opaque := [2]string{
		form(netip.MustParsePrefix("fe80::/64"), stable(k, netip.MustParsePrefix("fe80::/64"), "eth0", 0)).Addr().String(),
		form(testPrefix, stable(k, testPrefix, "eth0", 0)).Addr().String(),
	}
	for _, c := range []struct {
		name string
		want Privacy
		got  [2]string // link-local, autoconfigured; * is any
	}{
		{"EUI-64", Privacy{}, eui},
		{"no link-local", Privacy{Identifiers: NoLinkLocal}, [2]string{"", eui[1]}},
		{"stable", Privacy{Identifiers: StableOpaque, Secret: secret}, opaque},
		{"stable without a secret", Privacy{Identifiers: StableOpaque}, [2]string{}},
		{"random", Privacy{Identifiers: RandomOpaque}, [2]string{"*", "*"}},
	} {
		s := newStation(t, c.want)
		s.until(5 * time.Second)
		s.advert(testPrefix, 1800, 1800)
		for i, o := range []Origin{LinkLocal, Autoconf} {
			list := s.of(o)
			switch {
			case len(list) != min(len(c.got[i]), 1):
				t.Errorf("%s: %v", c.name, list)
			case c.got[i] == "*":
				if id := list[0].Prefix.Addr().String(); slices.Contains(eui[:], id) || slices.Contains(opaque[:], id) {
					t.Errorf("%s: %v", c.name, list)
				}
			case c.got[i] != "" && list[0].Prefix.Addr().String() != c.got[i]:
				t.Errorf("%s: %v, want %s", c.name, list, c.got[i])
			}
		}
		before := len(s.auto.Addrs())
		s.until(time.Minute)
		if s.advert(testPrefix, 1800, 1800); len(s.auto.Addrs()) != before {
			t.Errorf("%s: advertised again: %v", c.name, s.auto.Addrs())
		}
	}
}

// RFC 7217 §6: who finds its address taken makes another with the next counter,
// three times; one made of the station address is just gone.
func TestStableTaken(t *testing.T) {
	s := newStation(t, Privacy{Identifiers: StableOpaque, Secret: secret})
	s.until(5 * time.Second)
	s.advert(testPrefix, 1800, 1800)
	k := secret.As16()
	for n := range 5 {
		list := s.of(Autoconf)
		if n == 4 {
			if len(list) != 0 || s.lost != 4 {
				t.Errorf("after three retries: %v, %d lost", list, s.lost)
			}
			break
		}
		want := form(testPrefix, stable(k, testPrefix, "eth0", n))
		if len(list) != 1 || list[0].Prefix != want || !list[0].Optimistic {
			t.Fatalf("try %d: %v, want %v", n, list, want)
		}
		if !s.auto.Taken(s.now, 1, want.Addr()) {
			t.Fatal("not taken")
		}
	}
	s = newStation(t, Privacy{Identifiers: StableOpaque, Secret: secret})
	first := s.of(LinkLocal)[0].Prefix.Addr()
	s.auto.Taken(0, 1, first)
	s.until(10 * time.Second)
	if list := s.of(LinkLocal); len(list) != 1 || list[0].Prefix.Addr() == first || list[0].Optimistic {
		t.Errorf("another link-local address: %v", list)
	}
	if s.auto.Taken(s.now, 1, s.of(LinkLocal)[0].Prefix.Addr()) {
		t.Error("an address that is ours is given up")
	}
	s = newStation(t, Privacy{})
	if s.auto.Taken(0, 1, s.of(LinkLocal)[0].Prefix.Addr()); len(s.auto.Addrs()) != 0 {
		t.Errorf("an identifier that was given is tried again: %v", s.auto.Addrs())
	}
}

// RFC 8981 §3.4, §3.5, §3.6: the life of temporary addresses while a router goes
// on announcing their prefix, for three weeks.
func TestTemporary(t *testing.T) {
	s := newStation(t, temporaryDefaults)
	s.until(5 * time.Second)
	seen := make(map[netip.Addr]time.Duration)
	deprecated := make(map[netip.Addr]time.Duration)
	const every = 10 * time.Minute
	for s.now < 3*week {
		s.advert(testPrefix, 30*86400, 7*86400)
		for end := s.now + every; s.now < end; s.until(s.now + 30*time.Second) {
			if n := len(s.preferred()); n < 1 || n > 2 {
				t.Fatalf("%v: %d preferred temporary addresses", s.now, n)
			}
			if public := s.of(Autoconf); len(public) != 1 || public[0].Favored || public[0].Deprecated {
				t.Fatalf("%v: public addresses %v", s.now, public)
			}
			for _, x := range s.of(Temporary) {
				ip := x.Prefix.Addr()
				if _, ok := seen[ip]; !ok {
					seen[ip] = s.now
				}
				if _, ok := deprecated[ip]; x.Deprecated && !ok {
					deprecated[ip] = s.now
				}
				if age := s.now - seen[ip]; age > week+time.Minute || !x.Favored || !testPrefix.Contains(ip) {
					t.Fatalf("%v: %+v of age %v", s.now, x, age)
				}
			}
		}
	}
	// One a day, less up to ten minutes, as each is followed by the next.
	if n := len(seen); n < 21 || n > 23 {
		t.Errorf("%d temporary addresses in three weeks", n)
	}
	lives := make(map[time.Duration]bool)
	for ip, at := range deprecated {
		life := at - seen[ip]
		lives[life] = true
		if life > 24*time.Hour+time.Minute || life < 24*time.Hour-11*time.Minute {
			t.Errorf("%v was preferred for %v", ip, life)
		}
	}
	if len(lives) < 3 {
		t.Errorf("all lived as long: %v", lives)
	}
	if n := len(s.of(Temporary)); n < 7 || n > 9 {
		t.Errorf("%d temporary addresses after three weeks", n)
	}
	// Without adverts the prefix ends, and all with it.
	s.until(s.now + 31*24*time.Hour)
	if list := s.auto.Addrs(); len(list) != 1 {
		t.Errorf("after the prefix: %v", list)
	}
}

// Successors are made so long before that all retries have time (RFC 8981 §3.4
// REGEN_ADVANCE).
func TestTemporaryAdvance(t *testing.T) {
	want := temporaryDefaults
	want.Desync = 0
	s := newStation(t, want)
	s.until(5 * time.Second)
	s.advert(testPrefix, 1<<31, 1<<31)
	at := s.now + 24*time.Hour - 5*time.Second // 2 s, and three retries of one second
	for _, c := range []struct {
		at        time.Duration
		all, good int
	}{{at - 1, 1, 1}, {at, 2, 2}, {at + 5*time.Second - 1, 2, 2}, {at + 5*time.Second, 2, 1}} {
		if s.until(c.at); len(s.of(Temporary)) != c.all || len(s.preferred()) != c.good {
			t.Errorf("%v: %v", c.at, s.of(Temporary))
		}
	}
}

// A temporary address is made when it is wanted and when it would live long
// enough, and what routers say of lifetimes can only shorten it.
func TestTemporaryLifetimes(t *testing.T) {
	for _, c := range []struct {
		name             string
		temporary        int
		valid, preferred uint32 // of the prefix, seconds
		count            int
		deprecated, gone time.Duration // after the advert; 0: not looked at
	}{
		{"not wanted", 0, 86400, 86400, 0, 0, 0},
		{"beside others", 1, 1 << 31, 1 << 31, 1, 24 * time.Hour, week},
		{"as long as the prefix", 2, 7200, 3600, 1, time.Hour, 2 * time.Hour},
		{"too short", 2, 3600, 5, 0, 0, 0},
		{"just long enough", 2, 3600, 6, 1, 6 * time.Second, time.Hour},
		{"deprecated prefix", 2, 3600, 0, 0, 0, 0},
	} {
		want := temporaryDefaults
		want.Temporary, want.Desync = c.temporary, 0
		s := newStation(t, want)
		s.until(5 * time.Second)
		start := s.now
		s.advert(testPrefix, c.valid, c.preferred)
		list := s.of(Temporary)
		if len(list) != c.count {
			t.Errorf("%s: %v", c.name, list)
		}
		if c.count == 0 {
			continue
		}
		find := func() (Addr, bool) {
			i := slices.IndexFunc(s.of(Temporary), func(a Addr) bool { return a.Prefix == list[0].Prefix })
			if i < 0 {
				return Addr{}, false
			}
			return s.of(Temporary)[i], true
		}
		if list[0].Favored != (c.temporary == 2) || s.of(Autoconf)[0].Favored == list[0].Favored {
			t.Errorf("%s: favored: %v", c.name, s.auto.Addrs())
		}
		if s.until(start + c.deprecated - 1); list[0].Deprecated {
			t.Errorf("%s: deprecated too early", c.name)
		}
		s.until(start + c.deprecated)
		if x, ok := find(); !ok || !x.Deprecated {
			t.Errorf("%s: after %v: %+v", c.name, c.deprecated, x)
		}
		s.until(start + c.gone - 1)
		_, before := find()
		s.until(start + c.gone)
		if _, after := find(); !before || after {
			t.Errorf("%s: there before %v, after %v", c.name, before, after)
		}
	}
	// A router that shortens: deprecated at once, and no successor.
	s := newStation(t, temporaryDefaults)
	s.until(5 * time.Second)
	s.advert(testPrefix, 86400, 86400)
	if s.advert(testPrefix, 86400, 0); len(s.preferred()) != 0 || len(s.of(Temporary)) != 1 {
		t.Errorf("after the prefix is deprecated: %v", s.of(Temporary))
	}
	// And takes it back.
	if s.advert(testPrefix, 86400, 86400); len(s.preferred()) != 1 || len(s.of(Temporary)) != 1 {
		t.Errorf("and again preferred: %v", s.of(Temporary))
	}
}

// RFC 8981 §3.4: an address that is somebody's is followed by another, three
// times in all, and then no more for this prefix.
func TestTemporaryTaken(t *testing.T) {
	s := newStation(t, temporaryDefaults)
	s.until(5 * time.Second)
	s.advert(testPrefix, 86400, 86400)
	seen := make(map[netip.Addr]bool)
	for n := range 3 {
		list := s.of(Temporary)
		if len(list) != 1 || seen[list[0].Prefix.Addr()] {
			t.Fatalf("try %d: %v", n, list)
		}
		seen[list[0].Prefix.Addr()] = true
		s.auto.Taken(s.now, 1, list[0].Prefix.Addr())
	}
	s.advert(testPrefix, 86400, 86400)
	if list := s.of(Temporary); len(list) != 0 {
		t.Errorf("after three: %v", list)
	}
	other := netip.MustParsePrefix("2001:db8:2::/64")
	if s.advert(other, 86400, 86400); len(s.of(Temporary)) != 1 {
		t.Errorf("for another prefix: %v", s.of(Temporary))
	}
	// One failure is not held against the next.
	first := s.of(Temporary)[0].Prefix.Addr()
	s.auto.Taken(s.now, 1, first)
	s.until(s.now + time.Minute)
	if list := s.of(Temporary); len(list) != 1 || list[0].Prefix.Addr() == first || list[0].Optimistic {
		t.Errorf("%v", list)
	}
}

// However many prefixes there are, temporary addresses are bounded.
func TestTemporaryBound(t *testing.T) {
	want := temporaryDefaults
	want.Preferred, want.Desync = time.Minute, 0
	s := newStation(t, want)
	for i := range 30 {
		s.advert(netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d::/64", i)), 1<<31, 1<<31)
	}
	for range 100 {
		s.until(s.now + 10*time.Second)
		if n := len(s.of(Temporary)); n > tempMax {
			t.Fatalf("%d temporary addresses", n)
		}
	}
}

// RFC 6724 §5: rule 7 decides after the adapter and before the prefix.
func TestSourceFavored(t *testing.T) {
	public := Addr{Adapter: 1, Prefix: netip.MustParsePrefix("2001:db8:1::1/64")}
	temporary := Addr{Adapter: 1, Prefix: netip.MustParsePrefix("2001:db8:1::7e/64"), Origin: Temporary, Favored: true}
	change := func(a Addr, f func(*Addr)) Addr { f(&a); return a }
	for _, c := range []struct {
		name  string
		addrs []Addr
		want  netip.Prefix
	}{
		{"temporary", []Addr{public, temporary}, temporary.Prefix},
		{"public is favored", []Addr{change(temporary, func(a *Addr) { a.Favored = false }), change(public, func(a *Addr) { a.Favored = true })}, public.Prefix},
		{"not if deprecated (rule 3)", []Addr{public, change(temporary, func(a *Addr) { a.Deprecated = true })}, public.Prefix},
		{"not while probed", []Addr{public, change(temporary, func(a *Addr) { a.Optimistic = true })}, public.Prefix},
		{"not of another adapter (rule 5)", []Addr{public, change(temporary, func(a *Addr) { a.Adapter = 2 })}, public.Prefix},
		{"before the longest prefix (rule 8)", []Addr{change(public, func(a *Addr) { a.Prefix = netip.MustParsePrefix("2001:db8:9::1/120") }), temporary}, temporary.Prefix},
	} {
		s := new(Set)
		for _, a := range c.addrs {
			s = s.With(a)
		}
		if got, _ := s.Source(1, netip.MustParseAddr("2001:db8:9::7"), netip.MustParseAddr("fe80::9")); got != c.want.Addr() {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

package neigh

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// macs are the stations of the scripts.
var macs = map[string]wire.MAC{"a": {2, 0, 0, 0, 0, 0xa}, "b": {2, 0, 0, 0, 0, 0xb}}

func macName(m wire.MAC) string {
	for name, mac := range macs {
		if mac == m {
			return name
		}
	}
	if m.IsZero() {
		return "all"
	}
	return m.String()
}

func key(i int) Key {
	return Key{Adapter: 1, IP: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}
}

// A world is a cache with a sender that writes down what it is told.
type world struct {
	c      *Cache
	e      *Entry
	events []string
	now    time.Duration // of the last step
}

func newWorld(limit int) *world {
	w := &world{c: New(limit)}
	w.e = w.c.Get(key(1))
	return w
}

func (w *world) note(format string, args ...any) {
	w.events = append(w.events, fmt.Sprintf(format, args...))
}

// take returns what has been noted since, and forgets it.
func (w *world) take() string {
	s := strings.Join(w.events, ", ")
	w.events = nil
	return s
}

func (w *world) Solicit(k Key, mac wire.MAC, src netip.Addr) {
	s := "ask " + macName(mac)
	if src.IsValid() {
		s += " for a packet"
	}
	w.name(k, s)
}

func (w *world) Unresolved(k Key, p *packet.Packet, r packet.Reason) {
	packet.Drop(p, r)
	w.name(k, r.String())
}

// name notes what is said of a neighbour, and of which if it is not the first.
func (w *world) name(k Key, s string) {
	if k != key(1) {
		s = k.IP.String() + " " + s
	}
	w.note("%s", s)
}

func (w *world) state(k Key) string {
	for _, i := range w.c.All(w.now) {
		if i.Key == k {
			return i.State.String()
		}
	}
	return "NONE"
}

// do performs one step of a script.
func (w *world) do(now time.Duration, words []string) {
	w.now = now
	var ready packet.List
	defer ready.Free()
	switch words[0] {
	case "resolve":
		p := packet.Get()
		p.Src = key(99).IP
		if mac, ok := w.c.Resolve(now, w.e, p, w); ok {
			w.note("send to %s", macName(mac))
			packet.Free(p)
		}
	case "fast": // the walk's way
		if mac, ok := w.e.MAC(now); ok {
			w.note("send to %s", macName(mac))
		}
	case "timeout":
		w.c.Timeout(now, w)
	case "confirm":
		w.c.Confirm(now, w.e)
	case "permanent":
		if !w.c.SetPermanent(key(1), macs[words[1]], &ready) {
			w.note("refused")
		}
	case "get":
		w.e = w.c.Get(key(1))
	case "gone":
		w.note("%v", w.e.Gone())
	case "deadline":
		if d := w.c.Deadline(); d != never {
			w.note("%v", d)
		}
	case "flush":
		var l packet.List
		w.c.Flush(0, &l)
		w.note("%d flushed", l.Len())
		l.Free()
	case "news":
		n := News{MAC: macs[words[1]]}
		for _, flag := range words[2:] {
			switch flag {
			case "solicited":
				n.Solicited = true
			case "override":
				n.Override = true
			case "create":
				n.Create = true
			default:
				panic("unknown flag " + flag)
			}
		}
		var ready packet.List
		mac := w.c.Learn(now, key(1), n, &ready)
		if !ready.Empty() {
			w.note("%d ready for %s", ready.Len(), macName(mac))
		}
		ready.Free()
	default:
		panic("unknown step " + words[0])
	}
}

// incomplete and reachable lead to a state; scripts go on from there.
const (
	incomplete = `
		0s resolve -> INCOMPLETE, ask all for a packet
	`
	reachable = incomplete + `
		500ms news a solicited override -> REACHABLE, 1 ready for a
	`
	stale = incomplete + `
		500ms news a -> STALE, 1 ready for a
	`
	delay = stale + `
		10s resolve -> DELAY, send to a
	`
	probe = delay + `
		15s timeout -> PROBE, ask a
	`
	failed = incomplete + `
		1s timeout -> INCOMPLETE, ask all
		2s timeout -> INCOMPLETE, ask all
		3s timeout -> FAILED, neighbour unreachable
	`
)

// The transitions of RFC 4861 §7.2 and §7.3: the instant, what happens, the
// state after it and what the sender was told.
func TestScripts(t *testing.T) {
	for _, test := range []struct{ name, script string }{
		{"answer", reachable},
		{"only the first packet asks", incomplete + `
			0s resolve -> INCOMPLETE
			999ms timeout -> INCOMPLETE
			999ms resolve -> INCOMPLETE
			999ms fast -> INCOMPLETE
			1s timeout -> INCOMPLETE, ask all
			1500ms news b solicited -> REACHABLE, 3 ready for b
		`},
		{"no answer", failed + `
			3s resolve -> FAILED, neighbour unreachable still
			3999ms resolve -> FAILED, neighbour unreachable still
			4s gone -> FAILED, false
			4s timeout -> NONE
			4s gone -> NONE, true
			4s get -> FAILED
			4s resolve -> INCOMPLETE, ask all for a packet
		`},
		{"asked again after a failure", failed + `
			4s resolve -> INCOMPLETE, ask all for a packet
			5s timeout -> INCOMPLETE, ask all
			6s timeout -> INCOMPLETE, ask all
			7s timeout -> FAILED, neighbour unreachable
		`},
		{"late answer", failed + `
			3500ms news a solicited -> REACHABLE
			3500ms resolve -> REACHABLE, send to a
			5s timeout -> REACHABLE
		`},
		{"deadline follows", incomplete + `
			0s deadline -> INCOMPLETE, 1s
			1s timeout -> INCOMPLETE, ask all
			1s deadline -> INCOMPLETE, 2s
			1500ms news a solicited -> REACHABLE, 1 ready for a
			2s timeout -> REACHABLE
			2s deadline -> REACHABLE
		`},

		{"reachable for 30 s", reachable + `
			30500ms fast -> REACHABLE, send to a
			30501ms fast -> STALE
			30501ms resolve -> DELAY, send to a
			30501ms fast -> DELAY, send to a
		`},
		{"a solicited answer renews", reachable + `
			20s news a solicited -> REACHABLE
			50s fast -> REACHABLE, send to a
			50001ms fast -> STALE
		`},
		{"confirmed by an upper layer", reachable + `
			20s confirm -> REACHABLE
			50s fast -> REACHABLE, send to a
		`},

		{"stale: used, then delayed", stale + `
			1s fast -> STALE
			100000s timeout -> STALE
			100000s resolve -> DELAY, send to a
			100005s fast -> DELAY, send to a
		`},
		{"stale: confirmed", stale + `
			1s confirm -> REACHABLE
		`},
		{"delayed: confirmed", delay + `
			14s confirm -> REACHABLE
			15s timeout -> REACHABLE
		`},
		{"delayed: heard of", delay + `
			14s news a solicited -> REACHABLE
			15s timeout -> REACHABLE
		`},
		{"delayed: timed out late", delay + `
			15001ms fast -> DELAY
			15001ms resolve -> DELAY, send to a
			16s timeout -> PROBE, ask a
		`},
		{"probed: usable meanwhile", probe + `
			15s fast -> PROBE, send to a
			15s resolve -> PROBE, send to a
			16s timeout -> PROBE, ask a
			17s timeout -> PROBE, ask a
			17999ms timeout -> PROBE
			17999ms resolve -> PROBE, send to a
			18s timeout -> FAILED
			18s fast -> FAILED
			18s resolve -> FAILED, neighbour unreachable still
			19s resolve -> INCOMPLETE, ask all for a packet
		`},
		{"probed: answers", probe + `
			16500ms news a solicited -> REACHABLE
			18s timeout -> REACHABLE
		`},
		{"probed: confirmed", probe + `
			16500ms confirm -> REACHABLE
		`},
		{"probed: unsolicited, same address", probe + `
			16s news a override -> PROBE
		`},
		{"probed: moved", probe + `
			15500ms news b override -> STALE
			15500ms resolve -> DELAY, send to b
		`},

		// RFC 4861 §7.2.5, an advertisement for what is known.
		{"I: another address without override", reachable + `
			1s news b solicited -> STALE
			1s resolve -> DELAY, send to a
		`},
		{"I: likewise, not reachable", delay + `
			11s news b solicited -> DELAY
			11s resolve -> DELAY, send to a
		`},
		{"II: override, solicited", reachable + `
			1s news b solicited override -> REACHABLE
			1s resolve -> REACHABLE, send to b
		`},
		{"II: override, unsolicited", reachable + `
			1s news b override -> STALE
			1s fast -> STALE
			1s resolve -> DELAY, send to b
		`},
		{"II: unsolicited, same address", reachable + `
			1s news a override -> REACHABLE
			1s news a -> REACHABLE
		`},
		{"II: stale, solicited, same address", stale + `
			1s news a solicited -> REACHABLE
		`},
		{"override does not matter when nothing is known", incomplete + `
			0s news b -> STALE, 1 ready for b
		`},

		// RFC 4861 §7.2.3 and §7.2.5: only solicitations make entries.
		{"news of nobody", `
			0s flush -> NONE, 0 flushed
			0s news a solicited override -> NONE
			0s news a override create -> STALE
			0s get -> STALE
			0s resolve -> DELAY, send to a
		`},

		{"permanent", `
			0s permanent a -> PERMANENT
			0s resolve -> PERMANENT, send to a
			100000s fast -> PERMANENT, send to a
			100000s news b solicited override -> PERMANENT
			100000s confirm -> PERMANENT
			100000s timeout -> PERMANENT
			100000s deadline -> PERMANENT
			100000s resolve -> PERMANENT, send to a
			100000s permanent b -> PERMANENT
			100000s resolve -> PERMANENT, send to b
			100000s flush -> NONE, 0 flushed
			100000s gone -> NONE, true
		`},
		{"permanent from now on", reachable + `
			1s permanent b -> PERMANENT
			100s fast -> PERMANENT, send to b
		`},
		{"flushed", incomplete + `
			0s resolve -> INCOMPLETE
			0s flush -> NONE, 2 flushed
			0s gone -> NONE, true
			1s timeout -> NONE
			1s news a solicited -> NONE
		`},
		{"flushed while in use", reachable + `
			1s flush -> NONE, 0 flushed
			1s fast -> NONE
			1s confirm -> NONE
			1s fast -> NONE
		`},
		{"confirmation of what is unknown", failed + `
			3s confirm -> FAILED
		`},
	} {
		t.Run(test.name, func(t *testing.T) {
			packet.Account(true)
			defer packet.Account(false)
			w := newWorld(0)
			for line := range strings.Lines(test.script) {
				line = strings.TrimSpace(line)
				if line == "" {
					continue
				}
				step, want, _ := strings.Cut(line, " -> ")
				words := strings.Fields(step)
				now, err := time.ParseDuration(words[0])
				if err != nil {
					t.Fatal(err)
				}
				w.do(now, words[1:])
				got := w.state(key(1))
				if events := w.take(); events != "" {
					got += ", " + events
				}
				if got != want {
					t.Fatalf("%s -> %s\nwant %s", step, got, want)
				}
			}
			w.do(0, []string{"flush"})
			if packets, _ := packet.Live(); packets != 0 {
				t.Errorf("%d packets were not ended", packets)
			}
		})
	}
}

// At most 101 packets wait for a neighbour; the newest stay, in order.
func TestQueue(t *testing.T) {
	packet.Account(true)
	defer packet.Account(false)
	w := newWorld(0)
	var sent []*packet.Packet
	for i := range queueMax + 20 {
		p := packet.Get()
		p.Mark = uint32(i)
		sent = append(sent, p)
		w.c.Resolve(0, w.e, p, w)
		if i >= queueMax {
			if got := w.take(); got != packet.ReasonNeighborQueue.String() {
				t.Fatalf("packet %d: %q", i, got)
			}
		} else if got := w.take(); i > 0 && got != "" {
			t.Fatalf("packet %d: %q", i, got)
		}
	}
	var ready packet.List
	ready.Push(packet.Get()) // what is there already stays in front
	w.c.Learn(0, key(1), News{MAC: macs["a"], Solicited: true}, &ready)
	if ready.Len() != queueMax+1 {
		t.Fatalf("%d ready", ready.Len())
	}
	packet.Free(ready.Pop())
	for i := 20; !ready.Empty(); i++ {
		p := ready.Pop()
		if p != sent[i] || p.Mark != uint32(i) {
			t.Fatalf("packet %d in the place of %d", p.Mark, i)
		}
		packet.Free(p)
	}
	if packets, _ := packet.Live(); packets != 0 {
		t.Errorf("%d packets were not ended", packets)
	}
}

// Beyond the limit the longest unused entry goes, unless it is permanent or
// being resolved.
func TestLimit(t *testing.T) {
	w := &world{c: New(4)}
	var ready packet.List
	learn := func(i int) { w.c.Learn(0, key(i), News{MAC: macs["a"], Create: true}, &ready) }
	here := func() (s []int) {
		for _, i := range w.c.All(0) {
			s = append(s, int(i.IP.As4()[3]))
		}
		return s
	}
	for i := 1; i <= 4; i++ {
		learn(i)
	}
	w.c.SetPermanent(key(1), macs["a"], &ready)
	learn(2) // used again
	learn(5) // instead of 3
	if got := here(); !slices.Equal(got, []int{1, 2, 4, 5}) {
		t.Fatalf("left are %v", got)
	}
	w.c.Resolve(0, w.c.Get(key(6)), packet.Get(), w) // instead of 4
	w.c.Resolve(0, w.c.Get(key(7)), packet.Get(), w) // instead of 2
	if got := here(); !slices.Equal(got, []int{1, 5, 6, 7}) {
		t.Fatalf("left are %v", got)
	}
	if w.c.Get(key(8)) != nil {
		t.Fatal("half the table is being resolved, but one more was taken")
	}
	learn(9)                                          // instead of 5: the other half is for who is known
	if !w.c.SetPermanent(key(5), macs["a"], &ready) { // instead of 9
		t.Error("no room for a permanent entry")
	}
	if w.c.SetPermanent(key(9), macs["a"], &ready) {
		t.Error("a permanent entry beyond the limit")
	}
	learn(9)
	if got := here(); !slices.Equal(got, []int{1, 5, 6, 7}) || !ready.Empty() {
		t.Fatalf("left are %v", got)
	}
	for i := range 4 {
		w.c.Timeout(time.Duration(i)*RetransTime, w)
	}
	if w.c.Get(key(8)) == nil { // instead of 6, which has failed
		t.Fatal("failed entries do not give way")
	}
	if got := here(); !slices.Equal(got, []int{1, 5, 7, 8}) {
		t.Fatalf("left are %v", got)
	}
	var l packet.List
	w.c.Flush(0, &l)
	if l.Len() != 0 || len(here()) != 0 {
		t.Errorf("%d flushed, %v left", l.Len(), here())
	}
}

// Flush of one adapter leaves the others'.
func TestFlushAdapter(t *testing.T) {
	w := newWorld(0)
	two := w.c.Get(Key{Adapter: 2, IP: key(1).IP})
	w.c.Resolve(0, w.e, packet.Get(), w)
	w.c.Resolve(0, two, packet.Get(), w)
	var l packet.List
	w.c.Flush(2, &l)
	if l.Len() != 1 || !two.Gone() || w.e.Gone() || two.Key().Adapter != 2 {
		t.Errorf("%d flushed, gone %v %v", l.Len(), two.Gone(), w.e.Gone())
	}
	w.c.Flush(9, &l)
	w.c.Flush(1, &l)
	if l.Len() != 2 || len(w.c.All(w.now)) != 0 {
		t.Errorf("%d flushed", l.Len())
	}
	l.Free()
}

// Solicitations that are due together leave in the order of use, so
// that the same world sends the same packets.
func TestSolicitOrder(t *testing.T) {
	for range 5 {
		w := &world{c: New(0)}
		order := rand.Perm(20)
		for _, i := range order {
			w.c.Resolve(0, w.c.Get(key(2+i)), packet.Get(), w)
		}
		w.take()
		w.c.Timeout(RetransTime, w)
		var want []string
		for _, i := range order {
			want = append(want, key(2+i).IP.String()+" ask all")
		}
		if got := w.take(); got != strings.Join(want, ", ") {
			t.Fatalf("got %s", got)
		}
		var l packet.List
		w.c.Flush(0, &l)
		l.Free()
	}
}

// Following Deadline alone, every packet comes to an end, and the cache too
// becomes quiet.
func TestFollowDeadline(t *testing.T) {
	packet.Account(true)
	defer packet.Account(false)
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(16)
	var now time.Duration
	some := func() time.Duration { return time.Duration(r.IntN(3000)) * time.Millisecond }
	step := func() {
		k := key(r.IntN(30))
		e := w.c.Get(k)
		switch r.IntN(4) {
		case 0, 1:
			if e == nil {
				break
			}
			p := packet.Get()
			if _, ok := w.c.Resolve(now, e, p, w); ok {
				packet.Free(p)
			}
		case 2:
			var ready packet.List
			w.c.Learn(now, k, News{MAC: macs["a"], Solicited: r.IntN(2) == 0, Override: r.IntN(2) == 0, Create: true}, &ready)
			ready.Free()
		case 3:
			if e != nil {
				w.c.Confirm(now, e)
			}
		}
	}
	for range 3000 {
		step()
		if len(w.c.All(w.now)) > 16 {
			t.Fatalf("seed %d: %d entries", seed, len(w.c.All(w.now)))
		}
		next := now + some()
		for d := w.c.Deadline(); d <= next; d = w.c.Deadline() {
			if d < now {
				t.Fatalf("seed %d: deadline %v after %v", seed, d, now)
			}
			now = d
			w.c.Timeout(now, w)
			if again := w.c.Deadline(); again <= now {
				t.Fatalf("seed %d: deadline %v after Timeout(%v)", seed, again, now)
			}
		}
		now = next
	}
	for i := 0; w.c.Deadline() != never; i++ {
		now = max(now, w.c.Deadline())
		w.c.Timeout(now, w)
		if i > 1000 {
			t.Fatalf("seed %d: the cache does not become quiet", seed)
		}
	}
	if packets, _ := packet.Live(); packets != 0 {
		t.Errorf("seed %d: %d packets wait for ever", seed, packets)
	}
}

// silent is a sender for many goroutines.
type silent struct{}

func (silent) Solicit(Key, wire.MAC, netip.Addr) {}
func (silent) Unresolved(_ Key, p *packet.Packet, r packet.Reason) {
	packet.Drop(p, r)
}

// Readers see a whole address or none, whatever happens at the same time.
func TestConcurrently(t *testing.T) {
	packet.Account(true)
	defer packet.Account(false)
	c := New(8)
	e := c.Get(key(1))
	c.SetPermanent(key(1), macs["a"], new(packet.List))
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 0))
			for i := range 2000 {
				now := time.Duration(i) * 10 * time.Millisecond
				if mac, ok := e.MAC(now); !ok || mac != macs["a"] && mac != macs["b"] {
					t.Errorf("MAC %v %v", mac, ok)
					return
				}
				k := key(2 + r.IntN(6))
				switch r.IntN(5) {
				case 0:
					p := packet.Get()
					if other := c.Get(k); other == nil {
						packet.Free(p)
					} else if _, ok := c.Resolve(now, other, p, silent{}); ok {
						packet.Free(p)
					}
				case 1:
					var ready packet.List
					c.Learn(now, k, News{MAC: macs["b"], Solicited: true, Override: true, Create: true}, &ready)
					ready.Free()
				case 2:
					c.SetPermanent(key(1), macs[[]string{"a", "b"}[r.IntN(2)]], new(packet.List))
				case 3:
					c.Deadline()
					c.All(0)
				case 4:
					c.Confirm(now, e)
				}
			}
		})
	}
	wg.Wait()
	var l packet.List
	c.Flush(0, &l)
	l.Free()
	if packets, _ := packet.Live(); packets != 0 {
		t.Errorf("%d packets were not ended", packets)
	}
}

func TestStateText(t *testing.T) {
	for s := Incomplete; s <= Permanent; s++ {
		if s.String() == "" {
			t.Errorf("state %d has no words", s)
		}
	}
}

func TestAllocs(t *testing.T) {
	w := newWorld(0)
	w.c.SetPermanent(key(1), macs["a"], new(packet.List))
	p := packet.Get()
	defer packet.Free(p)
	if n := testing.AllocsPerRun(100, func() {
		w.e.MAC(1)
		w.c.Resolve(1, w.e, p, w)
		w.c.Timeout(1, w)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMAC(b *testing.B) {
	b.ReportAllocs()
	w := newWorld(0)
	w.c.SetPermanent(key(1), macs["a"], new(packet.List))
	for b.Loop() {
		w.e.MAC(1)
	}
}

func BenchmarkResolve(b *testing.B) {
	b.ReportAllocs()
	w := newWorld(0)
	w.c.SetPermanent(key(1), macs["a"], new(packet.List))
	p := packet.Get()
	for b.Loop() {
		w.c.Resolve(1, w.e, p, w)
	}
}

// A scan of a network makes and evicts entries all the time.
func BenchmarkEvict(b *testing.B) {
	b.ReportAllocs()
	c := New(0)
	for i := 0; b.Loop(); i++ {
		c.Get(key(i % 60000))
	}
}

// An entry may go between the caller's look at Gone and Resolve.
func TestGone(t *testing.T) {
	for _, state := range []string{"REACHABLE", "FAILED"} {
		packet.Account(true)
		w := newWorld(0)
		if state == "REACHABLE" {
			w.do(0, strings.Fields("news a solicited"))
		}
		var l packet.List
		w.c.Flush(0, &l)
		p := packet.Get()
		mac, ok := w.c.Resolve(time.Second, w.e, p, w)
		if ok && mac.IsZero() {
			t.Errorf("%s: sends to %v", state, mac)
		}
		if ok {
			packet.Free(p)
		}
		for d := w.c.Deadline(); d != never; d = w.c.Deadline() {
			w.c.Timeout(d, w)
		}
		if n, _ := packet.Live(); n != 0 {
			t.Errorf("%s: %d packets wait for ever", state, n)
		}
		packet.Account(false)
	}
}

func TestPermanentReleasesQueue(t *testing.T) {
	packet.Account(true)
	defer packet.Account(false)
	w := newWorld(0)
	w.do(0, []string{"resolve"})
	w.do(0, []string{"permanent", "a"})
	for d := w.c.Deadline(); d != never; d = w.c.Deadline() {
		w.c.Timeout(d, w)
	}
	if n, _ := packet.Live(); n != 0 {
		t.Errorf("%d packets wait for ever", n)
	}
}

func TestUnresolvedOrder(t *testing.T) {
	w := &world{c: New(0)}
	order := rand.Perm(20)
	for _, i := range order {
		w.c.Resolve(0, w.c.Get(key(2+i)), packet.Get(), w)
	}
	for i := range 3 {
		w.take()
		w.c.Timeout(time.Duration(i+1)*time.Second, w)
	}
	var want []string
	for _, i := range order {
		want = append(want, key(2+i).IP.String()+" neighbour unreachable")
	}
	if got := w.take(); got != strings.Join(want, ", ") {
		t.Errorf("got %s", got)
	}
}

// Confirmed means used: the idle entry is to go.
func TestEvictNotConfirmed(t *testing.T) {
	w := &world{c: New(2)}
	busy := w.c.Get(key(1))
	w.do(0, strings.Fields("news a solicited"))
	idle := w.c.Get(key(2))
	for i := range 10 {
		now := time.Duration(i) * 10 * time.Second
		busy.MAC(now)
		w.c.Confirm(now, busy)
	}
	w.c.Get(key(3))
	if busy.Gone() || !idle.Gone() {
		t.Errorf("gone: busy %v, idle %v", busy.Gone(), idle.Gone())
	}
}

// The state shown is the state it has.
func TestAllShowsStale(t *testing.T) {
	w := newWorld(0)
	w.do(0, strings.Fields("news a solicited"))
	w.c.Timeout(time.Hour, w)
	w.now = time.Hour
	if got := w.state(key(1)); got != "STALE" {
		t.Errorf("an hour later: %s", got)
	}
}

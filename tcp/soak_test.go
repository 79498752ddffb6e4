package tcp

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/towpath/towpath/packet"
)

var (
	soakSeeds = flag.Int("soak.seeds", 0, "seeds that TestSoak lives through (a few of today's)")
	soakSeed  = flag.Uint64("soak.seed", 0, "the one that TestSoak lives through, with a trace of its end")
	soakHours = flag.Float64("soak.hours", 24, "hours of virtual time that each of them has")
)

// A soak is a world that lasts: one conversation after the other, most of them
// short and hasty, some slow and taking hours, over a wire whose weather
// changes every few minutes, with outages between.
type soak struct {
	world
	until    time.Duration
	next     time.Duration // when the weather changes
	outage   bool
	narrow   bool // the ends get over a path that becomes narrower
	talks    int
	outages  int
	segments uint64
}

func newSoak(seed uint64, hours float64) *soak {
	s := &soak{until: time.Duration(hours * float64(time.Hour))}
	s.r, s.now = rand.New(rand.NewPCG(seed, 2)), time.Second
	s.weather = s.change
	return s
}

// talk makes the next conversation.
func (s *soak) talk() {
	s.populate()
	s.talks++
	s.narrow = s.longest != 0
	s.pauses = time.Duration(1) << (10 + s.r.IntN(28)) // a microsecond to two minutes
	for i := range s.ends {
		e := &s.ends[i]
		e.maxWrite, e.maxRead = max(e.maxWrite, e.total/100), max(e.maxRead, e.total/100)
		// Nobody gives up because of the weather: that is another test's.
		e.cfg.SynRetries, e.cfg.SynAckRetries, e.cfg.Retries2, e.cfg.OrphanRetries = 60, 60, 60, 60
		e.c.Init(&e.cfg, &s.pool, e)
		if s.r.IntN(4) == 0 {
			e.c.SetMaxPacingRate(s.now, 1<<(14+s.r.Uint64N(16)))
		}
	}
	s.ends[0].c.Connect(s.now)
	for i := range s.ends {
		if s.r.IntN(3) == 0 {
			s.ends[i].c.SetKeepAlive(s.now, time.Duration(1+s.r.IntN(300))*time.Second, 10*time.Second, 120)
		}
	}
}

// change is the weather.
func (s *soak) change() {
	if s.now < s.next {
		return
	}
	r := s.r
	s.next = s.now + time.Duration(r.ExpFloat64()*float64(3*time.Minute))
	s.loss, s.dup, s.cut, s.jitter = 0, 0, r.Float64(), 0
	switch {
	case !s.outage && r.IntN(10) == 0:
		s.loss, s.outage = 1, true
		s.outages++
		s.next = s.now + time.Duration(r.Int64N(int64(5*time.Minute)))
		return
	case r.IntN(3) > 0:
		s.loss, s.dup = r.Float64()*r.Float64()*0.3, r.Float64()*0.1
	}
	s.outage = false
	s.delay = time.Duration(1) << (10 + r.IntN(20)) // up to half a second
	if r.IntN(2) == 0 {
		s.jitter = time.Duration(1 + r.Int64N(int64(2*s.delay)))
	}
	if s.narrow {
		s.longest = 300 + r.IntN(1500)
	}
}

// live lets all of it happen.
func (s *soak) live() error {
	for s.now < s.until {
		s.talk()
		err := s.run()
		for i := range s.ends {
			c := &s.ends[i].c
			s.segments += uint64(c.segsOut)
			if at := c.Deadline(); err == nil && at != never {
				err = fmt.Errorf("%v %s has a timer at %v", s.now, s.ends[i].name, at)
			}
		}
		s.free()
		if err == nil {
			if len(s.wire) > 0 {
				err = fmt.Errorf("%v: %d segments are still under way", s.now, len(s.wire))
			} else if p, c := packet.Live(); p != 0 || c != 0 {
				err = fmt.Errorf("%v: %d packets and %d chunks leaked", s.now, p, c)
			}
		}
		if err != nil {
			return fmt.Errorf("conversation %d: %w", s.talks, err)
		}
		s.now += time.Duration(s.r.Int64N(int64(10 * time.Minute)))
	}
	return nil
}

// TestSoak lives through days of conversations: the streams must be equal,
// nobody stuck, and every buffer, timer and goroutine given back after each.
func TestSoak(t *testing.T) {
	first, seeds := uint64(time.Now().Unix()), 2
	switch {
	case *soakSeed != 0:
		first, seeds = *soakSeed, 1
	case *soakSeeds != 0:
		first, seeds = 1, *soakSeeds
	case raceEnabled || testing.Short():
		seeds = 1
	}
	t.Logf("%d seeds from %d on, %g hours each", seeds, first, *soakHours)
	packet.Account(true)
	defer packet.Account(false)
	goroutines := runtime.NumGoroutine()
	var talks, outages int
	var segments uint64
	for seed := first; seed < first+uint64(seeds); seed++ {
		s := newSoak(seed, *soakHours)
		var lines []string
		if *soakSeed != 0 {
			s.trace = func(f string, a ...any) {
				if lines = append(lines, fmt.Sprintf(f, a...)); len(lines) > 400 {
					lines = append([]string(nil), lines[200:]...)
				}
			}
		}
		if err := s.live(); err != nil {
			for _, l := range lines[max(0, len(lines)-60):] {
				t.Log(l)
			}
			t.Fatalf("seed %d: %v\nto see it: go test ./tcp -run TestSoak -soak.seed %d -soak.hours %g -v", seed, err, seed, *soakHours)
		}
		talks, outages, segments = talks+s.talks, outages+s.outages, segments+s.segments
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines, %d before", n, goroutines)
	}
	t.Logf("%d conversations, %d outages, %d segments", talks, outages, segments)
}

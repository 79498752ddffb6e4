package bridge

import (
	"cmp"
	"slices"
	"time"

	"github.com/towpath/towpath/wire"
)

// sweepEvery is the least time between two searches of a full table for old
// stations.
const sweepEvery = time.Second

// A table is where stations were heard, by VLAN and address (Linux: the
// forwarding database).
type table struct {
	ageing   time.Duration
	max      int
	stations map[uint64]station
	swept    time.Duration // when a full table was searched
	searched bool          // it has been
}

type station struct {
	port *Port
	seen time.Duration
}

// outcome says what learning has done.
type outcome uint8

const (
	known outcome = iota
	learned
	moved
	refused
)

func newTable(ageing time.Duration, most int) table {
	return table{ageing: ageing, max: most, stations: make(map[uint64]station)}
}

// key is a VLAN and an address in one word, which maps are quick with.
func key(vid uint16, m wire.MAC) uint64 {
	k := uint64(vid)
	for _, b := range m {
		k = k<<8 | uint64(b)
	}
	return k
}

// find returns the port where a station was last heard; nil if it was not, or
// too long ago.
func (t *table) find(k uint64, now time.Duration) *Port {
	s, ok := t.stations[k]
	if !ok {
		return nil
	}
	if now-s.seen > t.ageing {
		t.remove(k, s)
		return nil
	}
	return s.port
}

// learn notes that a station was heard at a port.
func (t *table) learn(p *Port, k uint64, now time.Duration) outcome {
	s, ok := t.stations[k]
	if ok && s.port == p {
		if now != s.seen {
			t.stations[k] = station{p, now}
		}
		return known
	}
	if !ok && len(t.stations) >= t.max || p.learned >= max(t.max/2, 1) {
		t.sweep(now)
	}
	if p.learned >= max(t.max/2, 1) || !ok && len(t.stations) >= t.max {
		return refused
	}
	if ok {
		s.port.learned--
	}
	p.learned++
	t.stations[k] = station{p, now}
	if ok {
		return moved
	}
	return learned
}

// sweep forgets the stations that have been silent, but not time and again.
func (t *table) sweep(now time.Duration) {
	if t.searched && now-t.swept < sweepEvery {
		return
	}
	t.searched, t.swept = true, now
	for k, s := range t.stations {
		if now-s.seen > t.ageing {
			t.remove(k, s)
		}
	}
}

func (t *table) remove(k uint64, s station) {
	s.port.learned--
	delete(t.stations, k)
}

// forget removes the stations of a port.
func (t *table) forget(p *Port) {
	for k, s := range t.stations {
		if s.port == p {
			t.remove(k, s)
		}
	}
}

func (t *table) clear() {
	for k, s := range t.stations {
		t.remove(k, s)
	}
}

// A Station is what a bridge knows of one (Linux: bridge fdb show).
type Station struct {
	MAC  wire.MAC
	VLAN uint16 // 0 without filtering
	Port *Port
	Age  time.Duration // since it was last heard
}

// Stations returns what is in the table, by VLAN and address.
func (b *Bridge) Stations() []Station {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	all := make([]Station, 0, len(b.table.stations))
	for k, s := range b.table.stations {
		if now-s.seen > b.table.ageing {
			continue
		}
		x := Station{VLAN: uint16(k >> 48), Port: s.port, Age: now - s.seen}
		for i := range x.MAC {
			x.MAC[i] = byte(k >> (40 - 8*i))
		}
		all = append(all, x)
	}
	slices.SortFunc(all, func(a, b Station) int {
		return cmp.Compare(key(a.VLAN, a.MAC), key(b.VLAN, b.MAC))
	})
	return all
}

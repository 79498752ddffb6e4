package netem

import (
	"errors"
	"sync/atomic"

	"github.com/towpath/towpath/clock"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
)

// memoryDefault bounds what a direction holds, in bytes.
const memoryDefault = 128 << 20

// Config describes a filter.
type Config struct {
	// Clock is the host's; nil means clock.Real().
	Clock clock.Clock
	// Seed of all chance.
	Seed uint64
	// Out is what happens to packets sent, In to packets received.
	Out, In Impairment
	// Group is where the rest of long deliveries runs, see [link.NewWork]; its
	// owner waits for it. If it is nil the clock's goroutine does them all.
	Group *link.Group
	// Memory bounds what each direction holds, in bytes of packets' footprints;
	// 0 means 128 MiB.
	Memory int
}

// A Filter impairs the packets of one adapter. It is attached once.
type Filter struct {
	at   atomic.Pointer[link.FilterModule]
	err  error // of the configuration
	dirs [2]direction
}

// Stats counts what happened in one direction. While nothing is impaired or
// held, packets are counted as they come, super-segments as one.
type Stats struct {
	// Received came in, as packets of a wire; Duplicated were added; Passed went
	// out; Held are there now, HeldBytes long.
	Received, Duplicated, Passed uint64
	Held, HeldBytes              uint64

	// Lost to LossIf, LossEvery, Gemodel and Loss.
	LostIf, LostEvery, LostBurst, Lost uint64
	// Dropped because the limit was reached, because the filter's memory was
	// used up, because their headers could not be cut, or by Detach.
	Limit, Memory, Uncut, Detached uint64

	// Corrupted and Reordered are among those passed.
	Corrupted, Reordered uint64
}

// New returns a filter to attach to an adapter. A configuration that cannot be
// is the error of attaching it; what [Parse] has read can be.
func New(c Config) *Filter {
	if c.Clock == nil {
		c.Clock = clock.Real()
	}
	if c.Memory <= 0 {
		c.Memory = memoryDefault
	}
	f := new(Filter)
	for dir, im := range [...]Impairment{link.In: c.In, link.Out: c.Out} {
		f.dirs[dir].init(f, link.Direction(dir), &c)
		f.err = errors.Join(f.err, f.Set(link.Direction(dir), im))
	}
	return f
}

// Set changes what happens to the packets of a direction from now on. Packets
// held back keep their instants, those waiting for the rate get the new one.
func (f *Filter) Set(dir link.Direction, im Impairment) error {
	if err := im.Validate(); err != nil {
		return err
	}
	f.dirs[dir].set(&im)
	return nil
}

// Impairment returns what has been set.
func (f *Filter) Impairment(dir link.Direction) Impairment {
	d := &f.dirs[dir]
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.im
}

// Stats returns a direction's counters.
func (f *Filter) Stats(dir link.Direction) Stats { return f.dirs[dir].stats() }

// Attach implements [link.Filter].
func (f *Filter) Attach(at *link.FilterModule) error {
	if f.err != nil {
		return f.err
	}
	if !f.at.CompareAndSwap(nil, at) {
		return errors.New("netem: the filter has been attached already")
	}
	return nil
}

// Send implements [link.Filter].
func (f *Filter) Send(l *packet.List, w *link.Work) { f.dirs[link.Out].take(l, w) }

// Receive implements [link.Filter].
func (f *Filter) Receive(l *packet.List, w *link.Work) { f.dirs[link.In].take(l, w) }

// Detach implements [link.Filter]: it stops the timers, drops what is held, and
// returns when nothing is being delivered any more. It must not be called by a
// delivery. Packets that still come are passed on.
func (f *Filter) Detach() {
	for dir := range f.dirs {
		f.dirs[dir].close()
	}
}

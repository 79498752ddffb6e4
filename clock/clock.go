// Package clock gives a host its time: real or virtual, and the wheel on which
// a lane keeps its timers.
//
//	h := host.New(host.Config{Clock: clock.Real()})
//
// # Theory of operation
//
// Instants are durations since the clock's origin: monotonic, eight bytes, and
// cheap to compare. The walk reads the clock once per batch and passes the
// instant down; protocol engines never read a clock themselves.
//
// A lane has one [Wheel] for all its timers and arms one [Timer] of its clock
// for the wheel's earliest deadline: there is no tick. Timers are lazy: an
// entry whose deadline moves later is left where it is and looked at again
// when its old deadline comes.
//
// [Real] rests on package time, and so follows a testing/synctest bubble's
// time when it is made inside one. [Virtual] moves only when told to.
package clock

import "time"

// A Clock tells the time and calls functions later.
type Clock interface {
	// Now is the time since the clock's origin. It never goes back.
	Now() time.Duration
	// Wall is the civil time of the instant now.
	Wall(now time.Duration) time.Time
	// AfterFunc calls f once, in a goroutine of the clock's choosing, d from
	// now on.
	AfterFunc(d time.Duration, f func()) Timer
}

// A Timer is a pending call of a Clock.
type Timer interface {
	// Stop prevents the call and reports whether it did.
	Stop() bool
	// Reset makes the call happen d from now on, and reports whether it was
	// still pending.
	Reset(d time.Duration) bool
}

type realClock struct{ origin time.Time }

// Real returns a clock that follows package time, with its origin now.
func Real() Clock { return &realClock{time.Now()} }

func (c *realClock) Now() time.Duration               { return time.Since(c.origin) }
func (c *realClock) Wall(now time.Duration) time.Time { return c.origin.Add(now) }
func (c *realClock) AfterFunc(d time.Duration, f func()) Timer {
	return time.AfterFunc(d, f)
}

package tcp

import "time"

// sample takes one measurement of the round-trip time (RFC 6298 §2). As on
// Linux the minimum timeout is a minimum of the variance's part of it, so that
// a steady 300 ms path does not time out at 301.
func (c *Conn) sample(now, rtt time.Duration) {
	r := max(micros(rtt), 1)
	if c.srtt == 0 {
		c.srtt = r
		c.rttvar = r / 2
	} else {
		d := max(c.srtt, r) - min(c.srtt, r)
		c.rttvar += d/4 - c.rttvar/4
		c.srtt += r/8 - c.srtt/8
	}
	c.shortest(now, r)
	c.rto = c.srtt + max(4*c.rttvar, c.rtoMin)
	c.backoff = 0 // RFC 6298 §5.7: only a measurement ends the backing off
}

// shortest keeps the shortest round trip of the last while: between half the
// window and all of it.
func (c *Conn) shortest(now time.Duration, r uint32) {
	sec, half := uint32(now/time.Second), uint32(c.tune().MinRTTWindow/(2*time.Second))
	switch age := sec - c.minSince; {
	case c.minRTT == 0 || age >= 2*half:
		c.minRTT, c.minNext, c.minSince = r, r, sec
	case age >= half:
		c.minRTT, c.minNext, c.minSince = min(c.minNext, r), r, sec
	default:
		c.minRTT, c.minNext = min(c.minRTT, r), min(c.minNext, r)
	}
}

// sampleTS measures by an echoed timestamp (RFC 7323 §4), in whole ticks.
func (c *Conn) sampleTS(now time.Duration, tsEcr uint32) time.Duration {
	ticks := int32(c.tsNow(now) - tsEcr)
	if ticks < 0 || tsEcr == 0 {
		return 0
	}
	rtt := max(time.Duration(ticks), 1) * time.Millisecond
	c.sample(now, rtt)
	return rtt
}

// timeout is the retransmission timeout, backed off.
func (c *Conn) timeout() time.Duration {
	return min(dur(c.rto)<<c.backoff, secs(c.rtoMax))
}

// A sizer finds out how large a buffer a path needs: the rate at which data
// passes through the buffer, times the round-trip time (Linux: dynamic right-
// sizing). The smallest time of late is used: a queue that the buffer itself
// has filled must not make it grow.
type sizer struct {
	since uint32 // sizerTick
	bytes uint32
}

// sizerEvery is the shortest time over which a rate is taken, so that a burst
// on a path of microseconds counts for little. Below sizerRTT a path lies
// within the machine: its round trip is the time that data wait in our own
// buffers, and larger ones would only leave the processor's cache.
const (
	sizerEvery = 10 * time.Millisecond
	sizerRTT   = 100 // microseconds
)

// sizerTick is an instant in units of 1024 ns, modulo 2^32.
func sizerTick(now time.Duration) uint32 { return uint32(now >> 10) }

// passed notes n bytes and returns the buffer's new size, between size and
// limit.
func (s *sizer) passed(now time.Duration, n, size, limit, minRTT uint32) uint32 {
	s.bytes += n
	at := sizerTick(now)
	took := time.Duration(at-s.since) << 10
	if took < max(sizerEvery, dur(minRTT)) {
		return size
	}
	if size < limit && minRTT >= sizerRTT && s.since != 0 {
		bdp := uint64(s.bytes) * uint64(minRTT) / uint64(took/time.Microsecond)
		if 2*bdp > uint64(size) {
			size = uint32(min(2*bdp, uint64(limit)))
		}
	}
	s.since, s.bytes = at, 0
	return size
}

package tcp

import "time"

// Packetization layer path MTU discovery (RFC 4821; Linux: tcp_mtu_probing):
// what the path takes is found by sending it, for routers that drop what is too
// long may not say so. Segments have the lowest size that is known to pass; now
// and then one is sent that is longer, half the way to the highest that may.
//
//	low              probe           high
//	 |-----------------|--------------|     sizes as MSS counts them: options
//	  passes           ?               ...  included, headers not
//
// If it is acknowledged, that is the new low. If it is lost while what follows
// arrives, high lies below it; that loss says nothing about congestion, and the
// window stays (§7.5). If a timeout interferes nothing is learned.
type search struct {
	low, high uint32
	probe     uint32        // its size; 0: none is under way
	seq, end  uint32        // where it lies
	since     time.Duration // when the search has begun
	mending   bool          // recovery repairs a lost probe
}

// probeWindow is how many segments the congestion window must have for a probe
// to be risked: so many that its loss is found by what follows (Linux).
const probeWindow = 11

// searching is the connection's search; nil if there is none.
func (c *Conn) searching() *search {
	if c.rare == nil {
		return nil
	}
	return c.rare.search
}

// optionsLen is what every segment's options take, in bytes.
func (c *Conn) optionsLen() (n uint32) {
	if c.ts {
		n += tsLen
	}
	if c.signature() != nil {
		n += signatureLen
	}
	return n
}

// beginSearch begins with the base size (§7.2).
func (c *Conn) beginSearch(now time.Duration) {
	c.extra().search = &search{low: uint32(c.tune().BaseMSS) + c.optionsLen(), since: now}
	c.resize()
}

// searchHigh is the largest segment that both ends and the known links take.
func (c *Conn) searchHigh() uint32 { return uint32(min(c.ourMSS, c.peerMSS)) }

// resize puts a segment size that has changed into effect.
func (c *Conn) resize() {
	if s := c.searching(); s != nil {
		if s.high == 0 || s.high > c.searchHigh() {
			s.high = c.searchHigh()
		}
		s.low = min(s.low, s.high)
	}
	was := c.mss
	if c.setSegmentSize(); c.mss != was && c.cwnd != 0 {
		c.cc.SetMSS(int(c.mss))
		c.cwnd = uint32(c.cc.Cwnd())
	}
}

// blackHole is told of timeouts that no answer ends: if it is not searched yet,
// the search begins, otherwise the lowest size is halved (§7.7).
func (c *Conn) blackHole(now time.Duration) {
	t, s := c.tune(), c.searching()
	if t.MTUProbing == MTUProbingOff {
		return
	}
	if s == nil {
		c.beginSearch(now)
		return
	}
	size := min(int(s.low-c.optionsLen())/2, t.BaseMSS)
	s.low = uint32(max(size, t.ProbeFloor, t.MinSndMSS)) + c.optionsLen()
	c.resize()
}

// sendLong sends a longer segment if there is reason and room for it. It
// reports whether other data has to wait, because there soon will be.
func (c *Conn) sendLong(now time.Duration) (wait bool) {
	s, t := c.rare.search, c.tune()
	if s.probe != 0 || c.ca != caOpen || c.sb != nil || c.dupAcks != 0 || c.cwnd < probeWindow*uint32(c.mss) || c.urgentWaits() {
		return false
	}
	if s.high < s.low+uint32(t.ProbeThreshold) {
		if now-s.since >= t.ProbeInterval { // the path may be another by now
			s.since, s.high = now, c.searchHigh()
		}
		return false
	}
	n := (s.low+s.high)/2 - c.optionsLen()
	need := n + (c.degree()+1)*uint32(c.mss) // what follows tells of its loss
	if n <= uint32(c.mss) || c.sndEnd-c.sndNxt < need || c.sndWnd < need {
		return false
	}
	if int32(c.sndUna+c.sndWnd-c.sndNxt) < int32(need) || c.congestionRoom() < n {
		return c.sndNxt != c.sndUna
	}
	if c.tooSoon(now) {
		return true
	}
	mss, small := c.mss, c.sndSml
	c.mss = uint16(n)
	n = c.sendData(now, c.sndNxt, n, &c.nxtCur, false)
	c.mss = mss
	if n > uint32(mss) {
		s.probe, s.seq, s.end = n+c.optionsLen(), c.sndNxt, c.sndNxt+n
	}
	c.sentNew(now, n, false)
	c.sndSml = small // Nagle's algorithm is not about this one
	return false
}

// probePassed looks whether the probe has been acknowledged.
func (c *Conn) probePassed(ack uint32) {
	if s := c.rare.search; s.probe != 0 && le(s.end, ack) {
		s.low, s.probe = s.probe, 0
		c.resize()
	}
}

// probeLost reports whether the loss that has been found is the probe's, which
// is then the end of it.
func (c *Conn) probeLost() bool {
	s := c.searching()
	if s == nil || s.probe == 0 || s.seq != c.sndUna {
		return false
	}
	s.high, s.probe, s.mending = min(s.high, s.probe-1), 0, true
	c.forget()
	return true
}

// mending reports whether recovery repairs nothing but a probe.
func (c *Conn) mending() bool {
	s := c.searching()
	return s != nil && s.mending
}

// inconclusive forgets the probe under way: something was sent again.
func (c *Conn) inconclusive() {
	if s := c.searching(); s != nil {
		s.probe = 0
	}
}

// mended ends a recovery of that kind.
func (c *Conn) mended() {
	if s := c.searching(); s != nil {
		s.mending = false
	}
}

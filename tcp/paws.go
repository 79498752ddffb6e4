package tcp

import (
	"time"

	"github.com/towpath/towpath/wire"
)

// Protection against old segments by their timestamps (RFC 7323 §5), with the
// exceptions that Linux makes.

// pawsSlack is by how many ticks a timestamp may be behind the last one: the
// peer may read its clock on several processors.
const pawsSlack = 1

// isOld reports whether the timestamp of s lies before the last one remembered
// (R1). A peer whose SYN says 0 has not told one yet; after 24 days of silence
// nothing can be said (§5.5).
func (c *Conn) isOld(now time.Duration, s *segment) bool {
	return c.ts && s.hasTS && c.tsRecent != 0 && int32(c.tsRecent-s.tsVal) > pawsSlack && now-c.lastSeg < pawsIdle
}

// overtaken reports whether s, which is old, is a bare duplicate acknowledgment
// that some later segment has overtaken on its way. It cannot do harm, and it
// may tell of a loss.
func (c *Conn) overtaken(s *segment) bool {
	wnd := uint32(s.wnd) << c.sndScale
	return s.flags&(wire.TCPSyn|wire.TCPAck) == wire.TCPAck && s.end() == s.seq &&
		s.seq == c.rcvNxt && s.ack == c.sndUna &&
		!gt(s.seq, c.sndWl1) && wnd <= c.sndWnd && wnd > 0 &&
		int32(c.tsRecent-s.tsVal) <= int32(c.timeout()/time.Millisecond)
}

// answerPaws answers an old segment with an ACK. Bare acknowledgments that come
// late are common, and ask nothing.
func (c *Conn) answerPaws(now time.Duration, s *segment) {
	if s.end() != s.seq || !lt(s.seq, c.rcvNxt) {
		c.answerOld(now, s)
	}
}

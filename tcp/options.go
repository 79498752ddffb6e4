package tcp

// A ChallengeLimiter is an [Output] that says how many challenges may go in all
// (RFC 5961 §10; Linux: tcp_challenge_ack_limit). MayChallenge is asked before
// each, and counts it.
type ChallengeLimiter interface {
	MayChallenge() bool
}

// TimeWaitLen is how long a connection is in TIME-WAIT.
const TimeWaitLen = timeWaitLen

// Timestamps reports whether the connection used them.
func (t *TimeWait) Timestamps() bool { return t.ts }

// AckPending reports whether Output has an acknowledgment or a window update to
// send.
func (c *Conn) AckPending() bool { return c.ackNow }

// Footprint is the memory that the connection's queues hold, in bytes.
func (c *Conn) Footprint() int { return c.rcvMem + int(c.q.len) }

// Expects reports whether a segment that begins at seq continues what has
// arrived in order.
func (c *Conn) Expects(seq uint32) bool { return seq == c.rcvNxt }

// SetRcvBuf sets the receive buffer in bytes and ends its growth. The right
// edge of the window that the peer knows of is kept.
func (c *Conn) SetRcvBuf(n int) {
	c.rcvBuf = uint32(clamp(n, bufMin, bufLimit))
	c.rcvMax = c.rcvBuf
}

// SetSndBuf sets the send buffer in bytes and ends its growth.
func (c *Conn) SetSndBuf(n int) {
	c.sndBuf = uint32(clamp(n, bufMin, bufLimit))
	c.sndMax = c.sndBuf
}

package hook

import (
	"net/netip"
	"time"
)

// streamBufferMax bounds what one judge can make a stream hold back, in bytes.
const streamBufferMax = 8 << 20

// A StreamVerdict is what a judge says of the data of a byte stream.
type StreamVerdict uint8

const (
	StreamPermit StreamVerdict = iota // let Count bytes go to the next judge
	StreamBlock                       // take Count bytes out, and put Replace in their place
	StreamMore                        // ask again when there are Need bytes more
	StreamDefer                       // ask again after Resume
	StreamAllow                       // ask this judge no more: all goes on to the next
	StreamAbort                       // end the connection
)

// A StreamContext is what a stream judge is told, and where it puts what
// belongs to its verdict.
type StreamContext struct {
	Now           time.Duration
	Local, Remote netip.AddrPort
	Outbound      bool // sent by the socket, not received

	// Data is lent: all bytes on which the judge has not decided yet.
	Data []byte
	// End: no more will come, so StreamMore is an answer no longer.
	End bool
	// Full: so much is held back that the judge must decide on all of it.
	Full bool

	// Count is how many leading bytes of Data the verdict is about; 0 means
	// all. The judge is asked again about the rest.
	Count int
	// Need is how many bytes StreamMore waits for, beyond those in Data.
	Need int
	// Replace are bytes for the next judge, with StreamBlock. They are copied.
	Replace []byte
}

// A StreamJudge looks at one direction of a stream. It sees only what the
// judges before it have let through, as they have edited it.
type StreamJudge interface {
	JudgeStream(c *StreamContext) StreamVerdict
}

// A Stream leads one direction of a byte stream past its judges, in order. It
// belongs to one connection, whose lock guards it.
type Stream struct {
	Local, Remote netip.AddrPort
	Outbound      bool

	stages []streamStage
	ended  bool
}

// A streamStage is a judge and what waits for it.
type streamStage struct {
	judge    StreamJudge
	buf      []byte
	need     int // do not ask before buf has so many bytes
	deferred bool
	allowed  bool
}

// NewStream makes a stream past the judges js.
func NewStream(js Judges[StreamJudge]) *Stream {
	s := &Stream{stages: make([]streamStage, len(js))}
	for i := range js {
		s.stages[i].judge = js[i].Judge
	}
	return s
}

// Write gives data to the first judge and appends to out what the last one lets
// go; end says that no more comes. It keeps no reference to data. The result is
// false if a judge ends the connection.
func (s *Stream) Write(now time.Duration, out, data []byte, end bool) ([]byte, bool) {
	s.ended = s.ended || end
	for i := range s.stages {
		st := &s.stages[i]
		st.buf = append(st.buf, data...)
		var ok bool
		if data, ok = s.judge(now, st, i); !ok {
			return out, false
		}
	}
	return append(out, data...), true
}

// Resume asks judges again that have deferred.
func (s *Stream) Resume(now time.Duration, out []byte) ([]byte, bool) {
	for i := range s.stages {
		s.stages[i].deferred = false
	}
	return s.Write(now, out, nil, false)
}

// Remove takes a judge away. What it holds back is let go with the next Write
// or Resume.
func (s *Stream) Remove(j StreamJudge) {
	for i := range s.stages {
		if s.stages[i].judge == j {
			s.stages[i].allowed, s.stages[i].deferred = true, false
		}
	}
}

// Held is how many bytes wait for judges: a receiver's window shrinks by them.
func (s *Stream) Held() (n int) {
	for i := range s.stages {
		n += len(s.stages[i].buf)
	}
	return n
}

// judge asks a stage's judge and returns what it lets go; false ends the
// connection.
func (s *Stream) judge(now time.Duration, st *streamStage, i int) (out []byte, ok bool) {
	end := s.ended && s.emptyBefore(i)
	for len(st.buf) > 0 && !st.allowed {
		full := len(st.buf) >= streamBufferMax
		if st.deferred || len(st.buf) < st.need && !end && !full {
			return out, !full || !st.deferred
		}
		c := StreamContext{
			Now: now, Local: s.Local, Remote: s.Remote, Outbound: s.Outbound,
			Data: st.buf, End: end, Full: full,
		}
		v := st.judge.JudgeStream(&c)
		n := c.Count
		if n <= 0 || n > len(st.buf) || full {
			n = len(st.buf)
		}
		st.need = 0
		switch v {
		case StreamPermit:
			out = append(out, st.buf[:n]...)
			st.buf = st.buf[n:]
		case StreamBlock:
			out = append(out, c.Replace...)
			st.buf = st.buf[n:]
		case StreamMore:
			if end || full {
				return out, false
			}
			st.need = len(st.buf) + min(max(c.Need, 1), streamBufferMax)
		case StreamDefer:
			if full || s.Outbound {
				return out, false
			}
			st.deferred = true
		case StreamAllow:
			st.allowed = true
		default:
			return out, false
		}
	}
	if st.allowed {
		out = append(out, st.buf...)
		st.buf = st.buf[len(st.buf):]
	}
	if len(st.buf) == 0 {
		st.buf = nil
	}
	return out, true
}

// emptyBefore reports whether nothing waits in front of stage i.
func (s *Stream) emptyBefore(i int) bool {
	for j := range s.stages[:i] {
		if len(s.stages[j].buf) > 0 {
			return false
		}
	}
	return true
}

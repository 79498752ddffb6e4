package host

import (
	"syscall"

	"github.com/towpath/towpath/packet"
)

// recvPiece is how much of a stream RecvTo takes at once, at most a packet more.
const recvPiece = 2 * packet.LargeChunk

// SendFrag is [Socket.Send] for bytes of a stream that lie in a chunk, which are
// then not copied again. It returns how many it took; if it kept the fragment, all
// of them, and the chunk is the connection's from then on.
func (s *Socket) SendFrag(f packet.Frag) (n int, kept bool, e syscall.Errno) {
	e = s.hold(func(ln *lane) syscall.Errno {
		if f.Len > packet.SmallChunk {
			if _, e := s.sendStream(ln, nil, 0); e != 0 {
				return e
			}
			c := &s.conn.conn
			if room := s.conn.allowance(ln, c.Space()); int(f.Len) <= room && c.Append([]packet.Frag{f}) > 0 {
				c.SetMore(false)
				s.conn.touch(ln)
				n, kept = int(f.Len), true
				return 0
			}
		}
		var e syscall.Errno
		n, e = s.sendStream(ln, f.Bytes(), 0)
		return e
	})
	return n, kept, e
}

// RecvTo is [Socket.Recv] for a stream whose bytes are given to write where they
// lie, in order and with no lock held, and lent until it returns; few of them are
// copied to small first. It returns how many there were; 0 with no error is the
// end. One goroutine receives at a time.
func (s *Socket) RecvTo(small []byte, write func(parts [][]byte)) (n int, e syscall.Errno) {
	var list packet.List
	e = s.hold(func(ln *lane) (e syscall.Errno) {
		if n, e = s.recvStream(ln, small, 0); e != 0 || n < len(small) {
			return e
		}
		c := s.conn // there may be more
		if before, skip := c.conn.Mark(); skip || before < c.left+c.conn.Readable() {
			return 0 // up to urgent data, which Recv knows how to read
		}
		c.rd.Take()
		defer c.rd.Give()
		more := c.left
		list.Append(&c.rq)
		c.left = 0
		if n+more < recvPiece {
			more += c.conn.Take(&list, recvPiece-n-more)
		}
		c.conn.Accept(ln.now, more)
		c.touchIf(ln)
		n += more
		return 0
	})
	if n == 0 {
		return 0, e
	}
	var room [16][]byte
	parts := append(room[:0], small[:min(n, len(small))])
	for p := list.First(); p != nil; p = p.Next() {
		if b := p.Head(); len(b) > 0 {
			parts = append(parts, b)
		}
		for _, f := range p.Frags() {
			parts = append(parts, f.Bytes())
		}
	}
	write(parts)
	list.Free()
	return n, e
}

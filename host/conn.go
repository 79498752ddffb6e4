package host

import (
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/towpath/towpath/clock"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/socket"
	"github.com/towpath/towpath/tcp"
	"github.com/towpath/towpath/tcp/cc"
)

const (
	// smallWrite is up to how many bytes are copied under the lane's lock.
	smallWrite = 2 << 10
	// smallRead likewise.
	smallRead = 2 << 10
	// writePiece is how much of a large write is copied and sent at once.
	writePiece = 2 * packet.LargeChunk
)

// A TCPConn is a TCP connection with the methods, deadlines and errors of
// [net.TCPConn].
type TCPConn tcpSocket

func (c *TCPConn) sock() *tcpSocket { return (*tcpSocket)(c) }

func (s *tcpSocket) local() netip.AddrPort {
	return netip.AddrPortFrom(s.entry.Tuple.Src, s.entry.Tuple.SrcPort)
}

func (s *tcpSocket) remote() netip.AddrPort {
	return netip.AddrPortFrom(s.entry.Tuple.Dst, s.entry.Tuple.DstPort)
}

// LocalAddr returns the local address, a *net.TCPAddr.
func (c *TCPConn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.sock().local()) }

// RemoteAddr returns the peer's address, a *net.TCPAddr.
func (c *TCPConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.sock().remote()) }

// fail wraps an error as package net does; io.EOF and nil stay as they are.
func (c *TCPConn) fail(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// failSet wraps an error of a setting, of which package net tells no more than
// the local address.
func (c *TCPConn) failSet(err error) error {
	return &net.OpError{Op: "set", Net: "tcp", Addr: c.LocalAddr(), Err: err}
}

// ---- reading

// readable says what a reader gets at this instant: an error, or nil with
// whether there is something to read.
func (c *TCPConn) readable(ln *lane) (ready bool, err error) {
	s := c.sock()
	switch {
	case s.detached:
		return false, errNetClosed
	case s.rd.HasDeadline() && s.rd.Expired(ln.host.clock.Now()):
		return false, errDeadline
	case s.rdClosed:
		return false, io.EOF
	case !s.rq.Empty() || s.conn.Readable() > 0:
		return true, nil
	case s.conn.EOF():
		return false, io.EOF
	case s.conn.State() == tcp.StateClosed:
		if err := s.takeError(); err != nil {
			return false, sysError("read", err)
		}
		return false, io.EOF
	}
	return false, nil
}

// takeError returns why the connection has ended, once.
func (s *tcpSocket) takeError() error {
	err := s.conn.Err()
	if s.errTaken {
		return nil
	}
	s.errTaken = true
	return err
}

// await takes the lane's lock when there is something to read. The caller has
// the read turn.
func (c *TCPConn) await(ln *lane) error {
	for {
		ln.lockOnly()
		ready, err := c.readable(ln)
		if ready {
			return nil
		}
		if err != nil {
			ln.unlock(nil)
			return err
		}
		c.sock().rd.Prepare()
		ln.unlock(nil)
		c.sock().rd.Sleep()
	}
}

// Read reads what has arrived, waiting for something.
func (c *TCPConn) Read(b []byte) (int, error) {
	n, err := c.read(b)
	return n, c.fail("read", err)
}

func (c *TCPConn) read(b []byte) (int, error) {
	s := c.sock()
	ln := s.lane
	s.rd.Take()
	defer c.giveRead()
	if len(b) == 0 {
		return 0, nil
	}
	if err := c.await(ln); err != nil {
		return 0, err
	}
	if s.rq.Empty() {
		s.left = s.conn.Take(&s.rq, len(b))
	}
	n := min(len(b), s.left)
	s.left -= n
	c.accept(ln, n)
	if n <= smallRead {
		for n := 0; n < len(b) && !s.rq.Empty(); {
			p := s.rq.First()
			m := p.CopyTo(b[n:], 0)
			n += m
			if p.TrimFront(m); p.Len() == 0 {
				ln.pool.Free(s.rq.Pop())
			}
		}
		ln.unlock(nil)
		return n, nil
	}
	ln.unlock(nil)
	c.copyOut(b[:n])
	return n, nil
}

// accept tells the connection that n bytes are being read. A few bytes are told
// without a look at the clock.
func (c *TCPConn) accept(ln *lane, n int) {
	s := c.sock()
	if n > smallRead {
		ln.tell()
	}
	s.conn.Accept(ln.now, n)
	if s.conn.AckPending() && !s.gone {
		ln.tell()
		s.touch(ln)
	}
}

// copyOut fills b from the taken packets, which have that many bytes.
func (c *TCPConn) copyOut(b []byte) {
	for n := 0; n < len(b); {
		p := c.sock().rq.First()
		m := p.CopyTo(b[n:], 0)
		n += m
		if m < p.Len() {
			p.TrimFront(m)
			return
		}
		packet.Free(c.sock().rq.Pop())
	}
}

// touchIf makes the end of the hold look after the connection while it is in
// the lane.
func (s *tcpSocket) touchIf(ln *lane) {
	if !s.gone {
		s.touch(ln)
	}
}

// giveRead ends a reader's turn. Packets that were taken and not read are
// freed by whoever has the turn after Close.
func (c *TCPConn) giveRead() {
	s := c.sock()
	s.rd.Give()
	if s.closed.Load() {
		s.purge()
	}
}

// purge frees what has been taken and not read, unless a reader has the turn,
// who then does it.
func (s *tcpSocket) purge() {
	s.closed.Store(true)
	if s.rd.TryTake() {
		s.rq.Free()
		s.left = 0
		s.rd.Give()
	}
}

// WriteTo implements [io.WriterTo]: w gets the received bytes where they lie.
func (c *TCPConn) WriteTo(w io.Writer) (int64, error) {
	s := c.sock()
	ln := s.lane
	s.rd.Take()
	defer c.giveRead()
	var total int64
	for {
		if err := c.await(ln); err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, c.fail("writeto", err)
		}
		if s.rq.Empty() {
			s.left = s.conn.Take(&s.rq, writePiece)
		}
		n := s.left
		s.left = 0
		c.accept(ln, n)
		ln.unlock(nil)
		for !s.rq.Empty() {
			n, err := writePacket(w, s.rq.First())
			total += int64(n)
			packet.Free(s.rq.Pop())
			if err != nil {
				s.rq.Free()
				return total, err
			}
		}
	}
}

// writePacket writes a packet's bytes to w.
func writePacket(w io.Writer, p *packet.Packet) (int, error) {
	total := 0
	write := func(b []byte) error {
		if len(b) == 0 {
			return nil
		}
		n, err := w.Write(b)
		total += n
		if err == nil && n < len(b) {
			err = io.ErrShortWrite
		}
		return err
	}
	if err := write(p.Head()); err != nil {
		return total, err
	}
	for _, f := range p.Frags() {
		if err := write(f.Bytes()); err != nil {
			return total, err
		}
	}
	return total, nil
}

// ---- writing

// room says what a writer gets at this instant: an error, or how many bytes.
func (c *TCPConn) room(ln *lane) (int, error) {
	s := c.sock()
	switch {
	case s.detached:
		return 0, errNetClosed
	case s.wr.HasDeadline() && s.wr.Expired(ln.now):
		return 0, errDeadline
	case s.wrClosed:
		return 0, sysError("write", syscall.EPIPE)
	case s.conn.State() == tcp.StateClosed || s.gone:
		if err := s.takeError(); err != nil {
			return 0, sysError("write", err)
		}
		return 0, sysError("write", syscall.EPIPE)
	}
	return s.allowance(ln, s.conn.Space()), nil
}

// awaitRoom takes the lane's lock when there is room to write.
func (c *TCPConn) awaitRoom(ln *lane) (int, error) {
	for {
		ln.lock()
		n, err := c.room(ln)
		if n > 0 {
			return n, nil
		}
		if err != nil {
			ln.unlock(nil)
			return 0, err
		}
		c.sock().wr.Prepare()
		ln.unlock(nil)
		c.sock().wr.Sleep()
	}
}

// Write queues b and returns when all of it is queued.
func (c *TCPConn) Write(b []byte) (int, error) {
	n, err := c.write(b)
	return n, c.fail("write", err)
}

func (c *TCPConn) write(b []byte) (int, error) {
	s := c.sock()
	ln := s.lane
	s.wr.Take()
	defer s.wr.Give()
	total := 0
	for {
		n, err := c.awaitRoom(ln)
		if err != nil {
			return total, err
		}
		if len(b) <= smallWrite {
			n = s.conn.Write(b)
			s.touch(ln)
			ln.unlock(nil)
		} else {
			ln.unlock(nil)
			n = min(n, len(b), writePiece)
			var frags [3]packet.Frag
			c.push(frags[:fill(&frags, b[:n])])
		}
		total += n
		if b = b[n:]; len(b) == 0 {
			return total, nil
		}
	}
}

// fill copies b, at most writePiece bytes, into chunks.
func fill(frags *[3]packet.Frag, b []byte) int {
	i := 0
	for ; len(b) > 0; i++ {
		ch := packet.GetChunk(len(b))
		n := copy(ch.Bytes(), b)
		frags[i] = packet.Frag{Chunk: ch, Len: uint32(n)}
		b = b[n:]
	}
	return i
}

// push queues filled chunks, for which there was room a moment ago; only the
// owner of the write turn uses room up. If the connection has ended meanwhile
// they are freed, and the next operation tells.
func (c *TCPConn) push(frags []packet.Frag) {
	s := c.sock()
	ln := s.lane
	ln.lock()
	for len(frags) > 0 {
		taken := s.conn.Append(frags)
		for taken > 0 {
			taken -= int(frags[0].Len)
			frags = frags[1:]
		}
		s.touchIf(ln)
		if len(frags) == 0 {
			break
		}
		if _, err := c.room(ln); err != nil || s.gone || s.conn.State() == tcp.StateClosed {
			for _, f := range frags {
				ln.pool.Release(f.Chunk)
			}
			break
		}
		// The queue has no slot left for references.
		s.wr.Prepare()
		ln.unlock(nil)
		s.wr.Sleep()
		ln.lock()
	}
	ln.unlock(nil)
}

// ReadFrom implements [io.ReaderFrom]: r reads straight into the buffers that
// are sent.
func (c *TCPConn) ReadFrom(r io.Reader) (int64, error) {
	s := c.sock()
	ln := s.lane
	s.wr.Take()
	defer s.wr.Give()
	var total int64
	for {
		n, err := c.awaitRoom(ln)
		if err != nil {
			return total, c.fail("readfrom", err)
		}
		ln.unlock(nil)
		ch := packet.GetChunk(packet.LargeChunk)
		n, err = r.Read(ch.Bytes()[:min(n, packet.LargeChunk)])
		if n > 0 {
			total += int64(n)
			c.push([]packet.Frag{{Chunk: ch, Len: uint32(n)}})
		} else {
			ch.Release()
		}
		switch {
		case err == io.EOF:
			return total, nil
		case err != nil:
			return total, err
		}
	}
}

// ---- closing

// Close closes the connection. What has been written is still sent; unread
// bytes, or SetLinger(0), reset it.
func (c *TCPConn) Close() error {
	s := c.sock()
	ln := s.lane
	ln.lock()
	if s.detached {
		ln.unlock(nil)
		return c.fail("close", errNetClosed)
	}
	delete(ln.sockets, s)
	s.detached = true
	ln.wheel.Cancel(&s.rd.Timer)
	ln.wheel.Cancel(&s.wr.Timer)
	ln.wake(s.rd.Wake())
	ln.wake(s.wr.Wake())
	if s.linger == 0 {
		s.conn.Abort(ln.now)
	} else {
		s.conn.Close(ln.now)
	}
	if s.gone {
		s.conn.FreeBuffers()
	} else {
		s.touch(ln)
	}
	ln.unlock(nil)
	s.purge()
	return nil
}

// CloseWrite ends our direction: the peer reads to the end (shutdown(SHUT_WR)).
func (c *TCPConn) CloseWrite() error {
	return c.shutdown(func(ln *lane, s *tcpSocket) {
		s.wrClosed = true
		ln.wake(s.wr.Wake())
		s.conn.Shutdown(ln.now)
		s.touch(ln)
	})
}

// CloseRead makes reads return io.EOF (shutdown(SHUT_RD)).
func (c *TCPConn) CloseRead() error {
	return c.shutdown(func(ln *lane, s *tcpSocket) {
		s.rdClosed = true
		ln.wake(s.rd.Wake())
	})
}

// shutdown ends a direction of a connection that is still one.
func (c *TCPConn) shutdown(end func(ln *lane, s *tcpSocket)) error {
	s := c.sock()
	ln := s.lane
	ln.lock()
	defer ln.unlock(nil)
	switch {
	case s.detached:
		return c.fail("close", errNetClosed)
	case s.gone || s.conn.State() == tcp.StateClosed:
		return c.fail("close", sysError("shutdown", syscall.ENOTCONN))
	}
	end(ln, s)
	return nil
}

// ---- deadlines and options

// instant converts a deadline of package net to one of the lane's clock.
func (ln *lane) instant(t time.Time) clockInstant {
	if t.IsZero() {
		return clock.Never
	}
	return ln.now + t.Sub(ln.host.clock.Wall(ln.now))
}

// setDeadline sets a deadline that the lane guards, and wakes who sleeps if it
// has come or when it does.
func (ln *lane) setDeadline(d *socket.Side, t time.Time) {
	at := ln.instant(t)
	d.SetDeadline(at)
	if d.Timer.Fire == nil {
		d.Timer.Fire = func(clockInstant) { ln.wake(d.Wake()) }
	}
	switch {
	case at == clock.Never:
		// Left on the wheel: waking once too often is cheaper than a search
		// for the next deadline.
	case at <= ln.now:
		ln.wake(d.Wake())
	default:
		ln.schedule(&d.Timer, at)
	}
}

func (c *TCPConn) deadlines(t time.Time, read, write bool) error {
	ln := c.sock().lane
	ln.lock()
	defer ln.unlock(nil)
	if c.sock().detached {
		return c.failSet(errNetClosed)
	}
	if read {
		ln.setDeadline(&c.sock().rd, t)
	}
	if write {
		ln.setDeadline(&c.sock().wr, t)
	}
	return nil
}

// SetDeadline sets both deadlines; see [net.Conn].
func (c *TCPConn) SetDeadline(t time.Time) error { return c.deadlines(t, true, true) }

// SetReadDeadline sets the instant from which on reads fail.
func (c *TCPConn) SetReadDeadline(t time.Time) error { return c.deadlines(t, true, false) }

// SetWriteDeadline sets the instant from which on writes fail.
func (c *TCPConn) SetWriteDeadline(t time.Time) error { return c.deadlines(t, false, true) }

// option runs set with the lane locked.
func (c *TCPConn) option(set func(s *tcpSocket)) error {
	ln := c.sock().lane
	ln.lock()
	defer ln.unlock(nil)
	if c.sock().detached {
		return c.fail("set", errNetClosed)
	}
	set(c.sock())
	c.sock().touchIf(ln)
	return nil
}

// SetNoDelay switches Nagle's algorithm off, as it is by default, or on.
func (c *TCPConn) SetNoDelay(noDelay bool) error {
	return c.option(func(s *tcpSocket) { s.conn.SetNoDelay(noDelay) })
}

// SetCongestion chooses the congestion control, one of cc.Names, from now on.
// It fails with ENOENT if there is none of that name, with EPERM if the host's
// settings do not allow it (Linux: TCP_CONGESTION).
func (c *TCPConn) SetCongestion(name string) error {
	var e syscall.Errno
	err := c.option(func(s *tcpSocket) {
		var ctl cc.Controller
		if ctl, e = s.lane.conf.set.congestion(name); e == 0 {
			s.conn.SetController(s.lane.now, ctl)
		}
	})
	if err == nil && e != 0 {
		return c.failSet(e)
	}
	return err
}

// SetMaxPacingRate bounds the rate of sending in bytes of payload per second,
// and has segments sent evenly; 0 is no bound (Linux: SO_MAX_PACING_RATE).
func (c *TCPConn) SetMaxPacingRate(rate uint64) error {
	return c.option(func(s *tcpSocket) { s.conn.SetMaxPacingRate(s.lane.now, rate) })
}

// SetLinger says what Close does with unsent data: sec < 0 sends it in the
// background (the default), 0 discards it and resets the connection. A
// positive sec is as the default: Close does not wait.
func (c *TCPConn) SetLinger(sec int) error {
	return c.option(func(s *tcpSocket) { s.linger = sec })
}

// SetReadBuffer sets the receive buffer in bytes and ends its growth.
func (c *TCPConn) SetReadBuffer(bytes int) error {
	return c.option(func(s *tcpSocket) { s.conn.SetRcvBuf(bytes) })
}

// SetWriteBuffer sets the send buffer in bytes and ends its growth.
func (c *TCPConn) SetWriteBuffer(bytes int) error {
	return c.option(func(s *tcpSocket) { s.conn.SetSndBuf(bytes) })
}

// SetKeepAlive switches keepalive probes on or off.
func (c *TCPConn) SetKeepAlive(keepalive bool) error {
	return c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: keepalive})
}

// SetKeepAlivePeriod sets how long an idle connection waits before it probes,
// and between its probes.
func (c *TCPConn) SetKeepAlivePeriod(d time.Duration) error {
	return c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: d, Interval: d})
}

// What package net uses where a KeepAliveConfig says zero.
const (
	keepAliveTime  = 15 * time.Second
	keepAliveCount = 9
)

// SetKeepAliveConfig sets whether and how an idle connection is probed. Zero
// and negative values mean package net's defaults: 15 s, 15 s and 9 probes.
func (c *TCPConn) SetKeepAliveConfig(config net.KeepAliveConfig) error {
	return c.option(func(s *tcpSocket) {
		idle, interval, count := config.Idle, config.Interval, config.Count
		if idle <= 0 {
			idle = keepAliveTime
		}
		if interval <= 0 {
			interval = keepAliveTime
		}
		if count <= 0 {
			count = keepAliveCount
		}
		if !config.Enable {
			idle = 0
		}
		s.conn.SetKeepAlive(s.lane.now, idle, interval, count)
	})
}

// Info returns what the connection knows of itself.
func (c *TCPConn) Info() tcp.Info {
	ln := c.sock().lane
	ln.lock()
	defer ln.unlock(nil)
	return c.sock().conn.Info()
}

// ---- listening

// A TCPListener is a TCP listener with the methods, deadlines and errors of
// [net.TCPListener].
type TCPListener struct{ l *tcpListener }

// Addr returns the address listened on, a *net.TCPAddr.
func (l *TCPListener) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.l.binding.addr, l.l.binding.port))
}

func (l *TCPListener) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return &net.OpError{Op: op, Net: "tcp", Addr: l.Addr(), Err: err}
}

// Accept waits for the next connection, a *TCPConn.
func (l *TCPListener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptTCP waits for the next connection.
func (l *TCPListener) AcceptTCP() (*TCPConn, error) {
	s, err := l.l.accept()
	if err != nil {
		return nil, l.fail("accept", err)
	}
	return (*TCPConn)(s), nil
}

// Close stops listening. Connections that nobody has accepted are reset.
func (l *TCPListener) Close() error { return l.fail("close", l.l.close()) }

// SetDeadline sets the instant from which on Accept fails.
func (l *TCPListener) SetDeadline(t time.Time) error {
	ln := l.l.lane
	ln.lock()
	defer ln.unlock(nil)
	if l.l.closed {
		return l.fail("set", errNetClosed)
	}
	ln.setDeadline(&l.l.rd, t)
	return nil
}

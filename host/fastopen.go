package host

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/tcp"
	"github.com/towpath/towpath/wire"
)

// TCP Fast Open (RFC 7413), the part that is not a connection's: who may open
// with data, and with which cookie. The machine of [tcp.Conn] carries both.

// Bits of Settings.TCPFastOpen, as of Linux's tcp_fastopen.
const (
	FastOpenClient         = 0x1   // data may be sent with a SYN
	FastOpenServer         = 0x2   // listeners that ask for it take data of SYNs
	FastOpenClientNoCookie = 0x4   // data is sent without a cookie
	FastOpenServerNoCookie = 0x200 // data is taken without a cookie
	FastOpenAllListeners   = 0x400 // listeners need not ask
)

// A FastOpenKey is a secret that cookies are made with.
type FastOpenKey [16]byte

// fastOpenKeysMax: the one in use, and one that was, whose cookies are good yet.
const fastOpenKeysMax = 2

// cookie is what who sends from src to dst is given: the hash of both addresses
// as they stand in the IP header (Linux: fastopen_cookie_gen).
func (k *FastOpenKey) cookie(src, dst netip.Addr) (c [8]byte) {
	var b []byte
	if src.Is4() {
		s, d := src.As4(), dst.As4()
		b = append(s[:], d[:]...)
	} else {
		s, d := src.As16(), dst.As16()
		b = append(s[:], d[:]...)
	}
	key := [2]uint64{binary.LittleEndian.Uint64(k[:]), binary.LittleEndian.Uint64(k[8:])}
	binary.LittleEndian.PutUint64(c[:], sipHash(key, b))
	return c
}

// String is the key as tcp_fastopen_key has it: four words of 32 bits, the
// first byte last.
func (k *FastOpenKey) String() string {
	w := func(i int) uint32 { return binary.LittleEndian.Uint32(k[4*i:]) }
	return fmt.Sprintf("%08x-%08x-%08x-%08x", w(0), w(1), w(2), w(3))
}

// parseFastOpenKey reads what String writes.
func parseFastOpenKey(s string) (k FastOpenKey, ok bool) {
	words := strings.Split(s, "-")
	if len(words) != 4 {
		return k, false
	}
	for i, w := range words {
		b, err := hex.DecodeString(fmt.Sprintf("%08s", w))
		if err != nil || len(b) != 4 {
			return k, false
		}
		binary.LittleEndian.PutUint32(k[4*i:], binary.BigEndian.Uint32(b))
	}
	return k, true
}

func getFastOpen(s *Settings) string { return strconv.Itoa(max(s.TCPFastOpen, 0)) }

func setFastOpen(s *Settings, v string) bool {
	n, err := strconv.Atoi(v)
	if s.TCPFastOpen = n; n <= 0 {
		s.TCPFastOpen = -1
	}
	return err == nil && n >= 0
}

func getFastOpenKeys(s *Settings) string {
	var words []string
	for _, k := range s.TCPFastOpenKeys {
		words = append(words, k.String())
	}
	return strings.Join(words, ",")
}

func setFastOpenKeys(s *Settings, v string) bool {
	words := strings.Split(v, ",")
	if len(words) > fastOpenKeysMax {
		return false
	}
	s.TCPFastOpenKeys = nil
	for _, w := range words {
		k, ok := parseFastOpenKey(strings.TrimSpace(w))
		if !ok {
			return false
		}
		s.TCPFastOpenKeys = append(s.TCPFastOpenKeys, k)
	}
	return true
}

// fillFastOpen makes a key up if there is none.
func (s *Settings) fillFastOpen(seed [2]uint64) {
	if len(s.TCPFastOpenKeys) == 0 {
		var k FastOpenKey
		binary.LittleEndian.PutUint64(k[:], sipHash(seed, k[:8]))
		binary.LittleEndian.PutUint64(k[8:], sipHash(seed, k[:]))
		s.TCPFastOpenKeys = []FastOpenKey{k}
	}
}

// FastOpen reports whether bits of TCPFastOpen are set.
func (s *Settings) FastOpen(bits int) bool { return s.TCPFastOpen > 0 && s.TCPFastOpen&bits == bits }

// ---- who is asked

// fastOpenResetFor is for how long a connection that was reset before its
// handshake was complete counts as one that waits for it: who sends SYNs with
// somebody else's address provokes such resets (RFC 7413 §5.1).
const fastOpenResetFor = 60 * time.Second

// A fastQueue bounds a listener's connections that take data before the
// handshake is complete.
type fastQueue struct {
	max    int // 0: there shall be none
	n      int // of them now
	resets []time.Duration
}

// hasRoom reports whether one more may begin.
func (q *fastQueue) hasRoom(now time.Duration) bool {
	for len(q.resets) > 0 && now >= q.resets[0]+fastOpenResetFor {
		q.resets = q.resets[1:]
	}
	return q.n+len(q.resets) < q.max
}

// end is told that a handshake is complete, or will not be.
func (q *fastQueue) end(now time.Duration, reset bool) {
	if q.n--; reset {
		q.resets = append(q.resets, now)
	}
}

// fastOpenSYN looks what a SYN to a listener wants of Fast Open: which cookie it
// is to be given, if one, and whether its data is to be taken (Linux:
// tcp_try_fastopen).
func (ln *lane) fastOpenSYN(l *tcpListener, p *packet.Packet) (give []byte, take bool) {
	if l.fast.max == 0 || !ln.conf.set.FastOpen(FastOpenServer) {
		return nil, false
	}
	got, has := tcp.FastOpenCookie(wire.TCP(p.From(p.Transport)))
	if !has && p.LenFrom(p.Data) == 0 {
		return nil, false
	}
	if !l.fast.hasRoom(ln.now) {
		ln.stats.FastOpenOverflow++
		return nil, false
	}
	keys := ln.conf.set.TCPFastOpenKeys
	free := ln.conf.set.FastOpen(FastOpenServerNoCookie)
	if o := l.options(); o != nil {
		if free = free || o.FastOpenNoCookie; len(o.FastOpenKeys) > 0 {
			keys = o.FastOpenKeys
		}
	}
	if free || !has {
		return nil, free
	}
	for i := range keys {
		c := keys[i].cookie(p.Src, p.Dst)
		if i == 0 {
			give = c[:]
		}
		if subtle.ConstantTimeCompare(c[:], got) == 1 {
			if i == 0 {
				give = nil // it has the right one
			}
			return give, true
		}
	}
	if len(got) > 0 {
		ln.stats.FastOpenRefused++
	}
	return give, false
}

// acceptEarly lets a connection be accepted whose handshake is not complete.
func (s *tcpSocket) acceptEarly(ln *lane) {
	ln.stats.FastOpenTaken++
	s.early = &s.listener.fast
	s.early.n++
	s.established(ln)
}

// SetFastOpen lets peers that have been here before open a connection with data
// (RFC 7413): Accept returns it before the handshake is complete, and what is
// written goes out at once. Of these there are at most n at a time; 0 turns it
// off. The host's settings must allow it too ([Settings.TCPFastOpen];
// Linux: TCP_FASTOPEN). A SYN with data may arrive twice: what its data asks
// for must do no harm then.
func (l *TCPListener) SetFastOpen(n int) error {
	ln := l.l.lane
	ln.lock()
	defer ln.unlock(nil)
	if l.l.closed {
		return l.fail("set", errNetClosed)
	}
	l.l.fast.max = min(max(n, 0), ln.conf.set.Somaxconn)
	return nil
}

// ---- who begins

// fastPeersMax bounds the peers that are remembered.
const fastPeersMax = 1024

// A fastPeer is what is known of a peer.
type fastPeer struct {
	cookie   []byte
	mss      int
	losses   int           // of SYNs with data, one after the other
	lastLoss time.Duration // instant
}

// fastPeers remembers cookies by the peer's address (RFC 7413 §4.1.3). The
// oldest gives way.
type fastPeers struct {
	m    map[netip.Addr]*fastPeer
	ring []netip.Addr
	next int
}

// entry is a peer's, a new one if there is none.
func (f *fastPeers) entry(a netip.Addr) *fastPeer {
	if e := f.m[a]; e != nil {
		return e
	}
	if f.m == nil {
		f.m = make(map[netip.Addr]*fastPeer)
	}
	if len(f.ring) < fastPeersMax {
		f.ring = append(f.ring, a)
	} else {
		delete(f.m, f.ring[f.next])
		f.ring[f.next] = a
		f.next = (f.next + 1) % fastPeersMax
	}
	e := new(fastPeer)
	f.m[a] = e
	return e
}

// fastOpenTo is what is known for a connection to a peer. ok is false while it
// shall not be tried: SYNs with data got lost again and again, which puts the
// next off by a minute times two for each (RFC 7413 §4.1.3.1).
func (ln *lane) fastOpenTo(peer netip.Addr, opt *sockOptions) (o tcp.FastOpen, ok bool) {
	o.NoCookie = ln.conf.set.FastOpen(FastOpenClientNoCookie) || opt != nil && opt.FastOpenNoCookie
	e := ln.fastPeers.m[peer]
	if e == nil {
		return o, true
	}
	if e.losses > 1 && ln.now < e.lastLoss+time.Minute<<min(e.losses, 10) {
		return o, false
	}
	if o.MSS = e.mss; !o.NoCookie {
		o.Cookie = e.cookie
	}
	return o, true
}

// fastOpenLearn keeps what a connection that was opened with Fast Open has
// learned of its peer.
func (s *tcpSocket) fastOpenLearn(ln *lane) {
	peer, cookie, lost := s.entry.Tuple.Dst, s.conn.CookieGiven(), s.conn.SynDataLost()
	if cookie == nil && !lost && ln.fastPeers.m[peer] == nil {
		return
	}
	e := ln.fastPeers.entry(peer)
	if e.mss = s.conn.PeerMSS(); cookie != nil {
		e.cookie = cookie
	}
	if e.losses++; lost {
		e.lastLoss = ln.now
	} else {
		e.losses = 0
	}
	if s.conn.SynData() {
		ln.stats.FastOpenSent++
	}
}

// DialFastOpen connects as [Host.DialContext] does and sends data, with the
// first packet if the peer has given a cookie to this host before (RFC 7413;
// Linux: MSG_FASTOPEN). The networks are those of TCP. Data may arrive twice:
// what it asks for must do no harm then.
func (h *Host) DialFastOpen(ctx context.Context, network, address string, data []byte) (net.Conn, error) {
	return h.dialNames(ctx, network, address, &data)
}

// sendSyn begins the handshake.
func (s *tcpSocket) sendSyn(ln *lane) {
	s.conn.Connect(ln.now)
	s.touch(ln)
}

// sendFast begins the handshake with as much of data on the SYN as may be, and
// returns how much that is.
func (s *tcpSocket) sendFast(ln *lane, data []byte, opt *sockOptions) (n int) {
	o, ok := ln.fastOpenTo(s.entry.Tuple.Dst, opt)
	if !ok || !ln.conf.set.FastOpen(FastOpenClient) {
		s.sendSyn(ln)
		return 0
	}
	s.fast = true
	n = s.conn.ConnectData(ln.now, &o, data[:min(len(data), s.conn.Fits(&o))])
	s.touch(ln)
	return n
}

// defers reports whether a connection's SYN waits for the first write, with
// which it will go (TCP_FASTOPEN_CONNECT).
func (s *tcpSocket) defers(ln *lane, opt *sockOptions) bool {
	o, ok := ln.fastOpenTo(s.entry.Tuple.Dst, opt)
	return ok && ln.conf.set.FastOpen(FastOpenClient) && s.conn.Fits(&o) > 0
}

// SendFastOpen connects a stream socket to an address and sends what of b fits
// the first packet (MSG_FASTOPEN). It returns how many bytes that are, and
// EINPROGRESS as [Socket.Connect] does. A socket that has put off connecting
// until now has its address.
func (s *Socket) SendFastOpen(b []byte, to netip.AddrPort) (n int, e syscall.Errno) {
	e = s.hold(func(ln *lane) (e syscall.Errno) {
		switch {
		case !ln.conf.set.FastOpen(FastOpenClient):
			return syscall.EOPNOTSUPP
		case s.deferred && !s.conn.over():
			s.deferred = false
			n = s.conn.sendFast(ln, b, &s.opt)
			return syscall.EINPROGRESS
		case s.state == sockUnconnected && s.live():
			return syscall.EISCONN
		case s.state == sockUnconnected && !to.IsValid():
			return syscall.EINVAL
		}
		n, e = s.connect(ln, to, &b)
		return e
	})
	return n, e
}

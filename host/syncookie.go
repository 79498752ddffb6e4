package host

import (
	"net/netip"
	"time"

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/tcp"
	"github.com/towpath/towpath/wire"
)

// A listener whose handshakes fill their queue answers further SYNs with
// cookies (RFC 4987 §3.6; Linux: tcp_syncookies): nothing is kept, and who
// acknowledges the answer's sequence number has received it.
//
//	 31      27 26  24 23                     0
//	+----------+------+------------------------+
//	|  minute  | MSS  | keyed hash of the rest |
//	+----------+------+------------------------+

// cookieMSS are the segment sizes that a cookie can tell, the usual ones.
var cookieMSS = [8]uint16{88, 536, 1220, 1300, 1400, 1440, 1460, 8940}

const (
	cookieAge    = 2 // minutes for which a cookie is good
	cookieMinute = 27
	cookieSize   = 24
)

// cookie makes the sequence number that answers a SYN with the number seq.
func (ln *lane) cookie(local, remote netip.AddrPort, seq, minute, size uint32) uint32 {
	top := minute<<cookieMinute | size<<cookieSize
	// The number of the SYN is added, so that it need not be hashed.
	h := ln.secret(local.Addr(), remote.Addr(), local.Port(), remote.Port(), top|1)
	return top | (uint32(h>>32)+seq)&(1<<cookieSize-1)
}

// sendCookie answers a SYN without keeping it.
func (ln *lane) sendCookie(l *tcpListener, a *link.Adapter, p *packet.Packet) {
	syn := wire.TCP(p.From(p.Transport))
	s := tcpSocket{lane: ln}
	local, remote := netip.AddrPortFrom(p.Dst, syn.DstPort()), netip.AddrPortFrom(p.Src, syn.SrcPort())
	if ln.routeFor(&s.way, p.Src, a.Index(), p.Dst, l.options()) != 0 {
		ln.drop(p, packet.ReasonTCPCookieRoute)
		return
	}
	s.entry.Tuple = packet.Tuple{Src: p.Dst, Dst: p.Src, SrcPort: syn.DstPort(), DstPort: syn.SrcPort(), Proto: wire.ProtoTCP}
	cfg := s.config(0, false, l.options())
	offer, ok := tcp.ReadSYN(syn, &cfg)
	if !ok {
		ln.drop(p, packet.ReasonTCPCookieOptions)
		return
	}
	size := uint32(0)
	for i, n := range cookieMSS {
		if n <= offer.PeerMSS {
			size = uint32(i)
		}
	}
	cfg.ISN = ln.cookie(local, remote, syn.Seq(), uint32(ln.now/time.Minute), size)
	r := tcp.CookieSynAck(ln.now, syn, &offer, &cfg, &ln.pool)
	r.Src, r.Dst = p.Dst, p.Src
	ln.stats.SynCookiesSent++
	l.cookies = ln.now + (cookieAge+1)*time.Minute
	ln.segmentOut(r, &s.way)
	ln.pool.Free(p)
}

// cookieIn looks whether a segment to a listener acknowledges a cookie. It
// returns the cookie and the segment size that it has kept.
func (ln *lane) cookieIn(l *tcpListener, p *packet.Packet) (isn uint32, mss uint16, ok bool) {
	seg := wire.TCP(p.From(p.Transport))
	if ln.now > l.cookies || seg.Flags()&(wire.TCPSyn|wire.TCPAck|wire.TCPRst) != wire.TCPAck {
		return 0, 0, false
	}
	isn = seg.Ack() - 1
	minute, size := isn>>cookieMinute, isn>>cookieSize&7
	age := (uint32(ln.now/time.Minute) - minute) & 31
	local, remote := netip.AddrPortFrom(p.Dst, seg.DstPort()), netip.AddrPortFrom(p.Src, seg.SrcPort())
	ok = age <= cookieAge && ln.cookie(local, remote, seg.Seq()-1, minute, size) == isn
	return isn, cookieMSS[size], ok
}

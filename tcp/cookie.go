package tcp

import (
	"math"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// SYN cookies (RFC 4987 §3.6): a SYN is answered without keeping anything of
// it. What must be known of it later is in the answer's sequence number, whose
// making is the host's, and in its timestamp, which the peer gives back.

// A CookieSYN is what a SYN offers, as far as a cookie can keep it. PeerMSS
// goes into the sequence number, the rest into the timestamp.
type CookieSYN struct {
	PeerMSS   uint16
	SACK, ECN bool
	WScale    uint8 // the peer's shift; wscaleNone: no scaling
	TS        bool
	TSVal     uint32
}

const (
	wscaleNone    = 15
	cookieTSBits  = 6 // SACK, ECN, four bits of shift
	cookieTSSack  = 1 << 4
	cookieTSECN   = 1 << 5
	cookieTSShift = 15
)

// ReadSYN reads a SYN's offers, less those that cfg does not want. It reports
// false if its options are malformed.
func ReadSYN(syn wire.TCP, cfg *Config) (s CookieSYN, ok bool) {
	var o wire.TCPOptions
	if !o.Parse(syn.Options()) {
		return s, false
	}
	if s.PeerMSS = uint16(or(cfg.MSSDefault, mssDefault)); o.HasMSS {
		s.PeerMSS = o.MSS
	}
	s.WScale = wscaleNone
	if s.TS = cfg.Timestamps && o.HasTS; !s.TS {
		return s, true // there is nowhere to keep the others
	}
	s.TSVal = o.TSVal
	s.SACK = cfg.SACK && o.SACKPermitted
	s.ECN = cfg.ECN != ECNOff && syn.Flags()&ecnSetup == ecnSetup
	if cfg.WindowScaling && o.HasWScale {
		s.WScale = min(o.WScale, wscaleMax)
	}
	return s, true
}

// CookieSynAck makes the answer to a SYN, whose sequence number is cfg.ISN. The
// packet begins with the TCP header, without a checksum.
func CookieSynAck(now time.Duration, syn wire.TCP, s *CookieSYN, cfg *Config, pool *packet.Pool) *packet.Packet {
	f := wire.TCPFields{
		SrcPort: syn.DstPort(), DstPort: syn.SrcPort(), Seq: cfg.ISN, Ack: syn.Seq() + 1,
		Flags: wire.TCPSyn | wire.TCPAck, Window: uint16(min(or(cfg.RcvBuf, bufDefault), math.MaxUint16)),
	}
	o := wire.TCPOptions{MSS: uint16(or(cfg.MSS, mssDefault)), HasMSS: true, SACKPermitted: s.SACK}
	if s.WScale != wscaleNone {
		o.HasWScale, o.WScale = true, receiveScale(cfg)
	}
	if s.ECN {
		f.Flags |= wire.TCPEce
	}
	if s.TS {
		o.HasTS, o.TSEcr = true, s.TSVal
		ts := uint32(now/time.Millisecond) + cfg.TSOffset
		o.TSVal = ts&^(1<<cookieTSBits-1) | s.bits()
		if gt(o.TSVal, ts) {
			o.TSVal -= 1 << cookieTSBits // not ahead of the clock
		}
	}
	p := pool.Get()
	p.Data = p.Start()
	pushHeader(p, &f, &o, cfg.Signature)
	p.Transport, p.Proto = p.Start(), wire.ProtoTCP
	return p
}

func (s *CookieSYN) bits() (v uint32) {
	v = uint32(s.WScale)
	if s.SACK {
		v |= cookieTSSack
	}
	if s.ECN {
		v |= cookieTSECN
	}
	return v
}

// receiveScale is the shift that a connection of cfg offers.
func receiveScale(cfg *Config) (shift uint8) {
	most := max(or(cfg.RcvBuf, bufDefault), cfg.RcvBufMax)
	for most>>shift > math.MaxUint16 && shift < wscaleMax {
		shift++
	}
	return shift
}

// Resume makes of the acknowledgment of a cookie the connection that it stands
// for: c, fresh from Init with the cookie as Config.ISN, is in SYN-RECEIVED as
// if the SYN had been kept. The segment, which remains the caller's, is
// Receive's next. peerMSS is what the host's cookie has kept.
func (c *Conn) Resume(now time.Duration, p *packet.Packet, peerMSS uint16) packet.Reason {
	ack := wire.TCP(p.From(p.Transport))
	var o wire.TCPOptions
	if !o.Parse(ack.Options()) {
		return packet.ReasonTCPCookieAck
	}
	syn := wire.TCPOptions{HasMSS: true, MSS: peerMSS}
	var flags wire.TCPFlags
	if o.HasTS {
		bits := o.TSEcr & (1<<cookieTSBits - 1)
		syn.HasTS, syn.TSVal = true, o.TSVal
		syn.SACKPermitted = bits&cookieTSSack != 0
		if shift := uint8(bits & cookieTSShift); shift != wscaleNone {
			syn.HasWScale, syn.WScale = true, shift
		}
		if bits&cookieTSECN != 0 {
			flags = ecnSetup
		}
	}
	c.state = StateSynReceived
	c.sndNxt = c.iss + 1
	c.ecnSynIn(flags)
	c.synIn(now, ack.Seq()-1, ack.Window(), &syn)
	c.rcvAdv = c.rcvNxt + min(c.rcvBuf, math.MaxUint16)
	c.rtxAt = now + c.timeout()
	return packet.NotDropped
}

package tcp

import "time"

// Info is what ss(8) shows of a connection.
type Info struct {
	State        State
	Congestion   string // the controller's name
	Recovery     bool   // fast recovery
	Loss         bool   // recovering from a timeout
	Disorder     bool   // duplicate acknowledgments, but no loss believed yet
	Reduced      bool   // an ECN-Echo has been heeded in this window
	SynData      bool   // data on a SYN was taken
	Timestamps   bool
	SACK         bool
	ECN          bool
	WindowScale  bool
	SndWScale    uint8 // the peer's shift
	RcvWScale    uint8 // ours
	Backoff      uint8
	Retransmits  uint8 // timeouts since the peer last made progress
	DupAcks      uint8
	RTT, RTTVar  time.Duration
	MinRTT, RTO  time.Duration
	SndMSS       int
	RcvMSS       int
	AdvMSS       int
	Cwnd         int    // bytes
	Ssthresh     int    // bytes
	PacingRate   uint64 // bytes per second; 0: any
	PacingMax    uint64 // bytes per second; 0: any
	DeliveryRate uint64 // bytes per second; 0: not measured
	AppLimited   bool   // DeliveryRate is what the application had to send
	SndWnd       int    // bytes
	RcvWnd       int    // bytes
	SndBuf       int
	RcvBuf       int
	Unacked      int // bytes in flight
	NotSent      int // bytes
	Sacked       int // bytes of those that have arrived out of order
	Lost         int // bytes of those thought lost
	Retrans      int // segments sent again
	BytesAcked   uint64
	BytesIn      uint64
	BytesOut     uint64 // of data, repetitions included
	BytesRetrans uint64
	SegsIn       int // of a super-segment each
	SegsOut      int
	DataSegsIn   int
	DataSegsOut  int
	AckedMarked  int           // segments acknowledged with an ECN-Echo
	DSACKs       int           // the peer got something twice
	Reorders     int           // the network was seen to change the order
	Reordering   int           // segments behind a hole that prove a loss
	OutOfOrderIn int           // packets that came behind a hole
	ATO          time.Duration // delay of acknowledgments
	RcvMemory    int           // footprint of queued packets
	RcvOutOfOrd  int           // packets behind a hole
	LastDataSent time.Duration // instants, since the host clock's origin
	LastDataRcvd time.Duration
	LastRcvd     time.Duration
}

// Info describes the connection.
func (c *Conn) Info() Info {
	i := Info{
		State: c.state, Congestion: c.cc.Name(),
		Recovery: c.ca == caRecovery, Loss: c.ca == caLoss,
		Timestamps: c.ts, WindowScale: c.wscale, ECN: c.ecn,
		Backoff: c.backoff, Retransmits: c.retries, DupAcks: c.dupAcks,
		RTT: dur(c.srtt), RTTVar: dur(c.rttvar), MinRTT: dur(c.minRTT), RTO: c.timeout(),
		SndMSS: int(c.mss), RcvMSS: int(c.rcvMSS), AdvMSS: int(c.ourMSS),
		Cwnd: c.cc.Cwnd(), Ssthresh: c.cc.Ssthresh(),
		SndWnd: int(c.sndWnd), RcvWnd: int(c.rcvAdv - c.rcvNxt),
		SndBuf: int(c.sndBuf), RcvBuf: int(c.rcvBuf),
		Unacked: int(c.sndNxt - c.sndUna), NotSent: c.Unsent(),
		Retrans: int(c.retransOut), BytesAcked: c.bytesAcked, BytesIn: c.bytesIn,
		SegsIn: int(c.segsIn), SegsOut: int(c.segsOut),
		RcvMemory: c.rcvMem, RcvOutOfOrd: c.ooo.Len(),
		LastDataSent: c.lastSend, LastDataRcvd: c.lastData, LastRcvd: c.lastSeg,
	}
	i.Disorder = c.ca == caOpen && (c.dupAcks > 0 || c.sb != nil && c.sb.sacked > 0)
	i.Reduced = c.ca == caOpen && c.ecn && lt(c.sndUna, c.ecnEnd)
	i.SynData = c.SynData()
	if x := c.rare; x != nil {
		i.PacingMax = x.paceMax
		if f := x.flow; f != nil {
			i.PacingRate, i.DeliveryRate, i.AppLimited = f.rate, f.shown, f.shownLimited
		}
	}
	i.DataSegsIn, i.DataSegsOut, i.ATO = int(c.dataSegsIn), int(c.dataSegsOut), dur(c.delack)
	i.BytesOut = c.bytesAcked + uint64(int(c.q.len)-c.Unsent())
	if x := c.rare; x != nil {
		i.BytesOut += x.bytesAgain
		i.BytesRetrans = x.bytesAgain
		i.AckedMarked, i.DSACKs = int(x.ackedMarked), int(x.dsacks)
		i.Reorders, i.OutOfOrderIn = int(x.disorders), int(x.outOfOrder)
	}
	i.Reordering = int(c.degree())
	i.SACK = c.sack
	if c.sb != nil {
		i.Sacked, i.Lost = int(c.sb.sacked), int(c.sb.lost)
	}
	if c.wscale {
		i.SndWScale, i.RcvWScale = c.sndScale, c.rcvScale
	}
	return i
}

// FINReceived reports whether the peer's FIN has arrived in order.
func (c *Conn) FINReceived() bool { return c.finRcvd }

// FINQueued reports whether our direction has been ended: a FIN follows what
// is queued.
func (c *Conn) FINQueued() bool { return c.finQueued }

// SndBuf is the size of the send buffer now, in bytes.
func (c *Conn) SndBuf() int { return int(c.sndBuf) }

package cc

import (
	"math"
	"slices"
	"time"
)

// New makes a controller by its name; nil if there is none of that name.
func New(name string) Controller {
	switch name {
	case "bbr":
		return new(BBR)
	case "cubic":
		return new(Cubic)
	case "dctcp":
		return new(DCTCP)
	case "reno":
		return new(Reno)
	}
	return nil
}

// names are all that New knows, in order.
var names = []string{"bbr", "cubic", "dctcp", "reno"}

// Names are the names that [New] knows, in order.
func Names() []string { return slices.Clone(names) }

// Default is the controller of connections that ask for none.
const Default = "cubic"

// An Ack tells a controller that new data was acknowledged.
type Ack struct {
	Now      time.Duration
	Acked    int           // bytes newly acknowledged
	InFlight int           // bytes in flight before this acknowledgment
	RTT      time.Duration // a fresh measurement, 0 if there is none
	Limited  bool          // the flight filled the window: it was what held the sender back
	Lossy    bool          // data lost to a timeout is still being sent again
}

// Saved is what a controller wants to have back if a reduction proves needless;
// only it knows what the numbers are.
type Saved [8]uint32

// A Controller decides how much a connection may have in flight. All sizes are
// in bytes. OnAck is called for every acknowledgment of new data except during
// fast recovery.
type Controller interface {
	// Name is the word by which people choose it, as in ss(8).
	Name() string
	// Init is called once, when the segment size is known, with the first
	// window: [InitialWindow], or one segment if the handshake was troubled. A
	// controller that takes over from another gets its window and threshold;
	// at the start that is [Unset].
	Init(mss, window, ssthresh int)
	// SetMSS says that the segment size has changed.
	SetMSS(mss int)
	// OnAck may open the window.
	OnAck(a Ack)
	// OnLoss reports a loss found by duplicate acknowledgments, once for each
	// window of data.
	OnLoss(now time.Duration, inFlight int)
	// OnRecovered reports that everything in flight at the last OnLoss has
	// arrived.
	OnRecovered(now time.Duration, inFlight int)
	// OnRTO reports a retransmission timeout. again is true if the same data
	// has timed out before.
	OnRTO(now time.Duration, inFlight int, again bool)
	// Save returns what Undo needs to take back a reduction that follows.
	Save() Saved
	// Undo takes back what OnLoss or OnRTO have done since Save: nothing was
	// lost (RFC 9438 §4.9, RFC 5682 §5).
	Undo(s Saved)
	// OnIdle is called before sending after a pause longer than rto.
	OnIdle(idle, rto time.Duration)
	// Cwnd is the congestion window.
	Cwnd() int
	// Ssthresh is the slow start threshold; Unset if there is none.
	Ssthresh() int
	// PacingRate is in bytes per second; 0 means that segments need no pacing.
	// What paces says so from Init on.
	PacingRate() uint64
}

// Unset is a slow start threshold beyond all windows.
const Unset = math.MaxInt32

// A Sampler is a controller that goes by the rate at which data arrives. Its
// window holds in recovery too.
type Sampler interface {
	Controller
	// OnLost reports a stretch of data that is thought lost.
	OnLost(l Lost)
	// OnSample is called for every acknowledgment that says that data has
	// arrived, after everything else that it has to say.
	OnSample(s Sample)
}

// A Marker is a controller that wants to know how much is marked by routers. The
// connection asks for explicit congestion notification, and as a receiver
// echoes each mark once (RFC 8257 §3.2).
type Marker interface {
	Controller
	ECN
	// OnMarked says that of the bytes of the next OnAck n have been marked.
	OnMarked(n int)
}

// ECN is what a controller has that tells congestion notification from loss.
type ECN interface {
	// OnECN is called instead of OnLoss for marks, once for each window of
	// data.
	OnECN(now time.Duration)
}

// A Sample is what an acknowledgment tells of the path (draft-cheng-iccrg-
// delivery-rate-estimation). Of the data that it acknowledges, what was sent
// last is meant by "the packet".
type Sample struct {
	Now            time.Duration
	Delivered      uint64        // bytes that have arrived, ever
	PriorDelivered uint64        // the same when the packet was sent
	Rate           uint64        // bytes per second; 0 if there is no saying
	RTT            time.Duration // the packet's; 0 if it was sent again
	Acked          int           // bytes newly arrived
	Lost           int           // bytes newly lost
	InFlight       int           // bytes, now
	TxInFlight     int           // bytes in flight when the packet was sent, itself included
	LostSince      int           // bytes lost since then
	AppLimited     bool          // the application had too little to send then
	Recovering     bool          // something is missing
}

// Lost is a stretch of data that is thought lost: parts of one packet.
type Lost struct {
	Bytes      int
	TxInFlight int // as in [Sample]
	LostSince  int // this included
	AppLimited bool
}

// InitialWindow is the first congestion window: ten segments (RFC 6928).
func InitialWindow(mss int) int { return min(10*mss, max(2*mss, 14600)) }

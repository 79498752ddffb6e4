package tcp

// A State is one of the eleven states of RFC 9293 §3.3.2.
type State uint8

const (
	StateClosed State = iota
	StateListen
	StateSynSent
	StateSynReceived
	StateEstablished
	StateFinWait1
	StateFinWait2
	StateCloseWait
	StateClosing
	StateLastAck
	StateTimeWait
)

var stateText = [...]string{
	"CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1",
	"FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT",
}

// String is the state's name in the RFC.
func (s State) String() string {
	if int(s) < len(stateText) {
		return stateText[s]
	}
	return "UNKNOWN"
}

// A set of states.
type stateSet uint16

func states(list ...State) (m stateSet) {
	for _, s := range list {
		m |= 1 << s
	}
	return m
}

func (m stateSet) has(s State) bool { return m>>s&1 != 0 }

var (
	// The application may still give data to be sent.
	canQueue = states(StateSynSent, StateSynReceived, StateEstablished, StateCloseWait)
	// There may be data or a FIN to send.
	canSend = states(StateEstablished, StateCloseWait, StateFinWait1, StateClosing, StateLastAck)
	// The peer may still send data.
	canReceive = states(StateEstablished, StateFinWait1, StateFinWait2)
	// The peer has ended its direction, and we wait for the end of ours.
	afterFin = states(StateCloseWait, StateClosing, StateLastAck)
	// An abort is told to the peer (RFC 9293 §3.10.5).
	needsReset = states(StateSynReceived, StateEstablished, StateFinWait1, StateFinWait2, StateCloseWait)
)

// Events is what has happened to a connection since it was last asked: whom
// the host should wake.
type Events uint8

const (
	// EventEstablished: the handshake is complete.
	EventEstablished Events = 1 << iota
	// EventReadable: data has arrived in order.
	EventReadable
	// EventWritable: somebody found too little room, and now a third of the
	// buffer is free.
	EventWritable
	// EventRemoteClosed: the peer's FIN has arrived in order.
	EventRemoteClosed
	// EventClosed: the connection is over, with or without an error.
	EventClosed
	// EventUrgent: the peer has told of urgent data, or it has arrived.
	EventUrgent
)

package posix

import (
	"time"

	"github.com/towpath/towpath/tcp"
)

// TCPState is Linux's number of a state (net/tcp_states.h).
func TCPState(s tcp.State) uint8 { return tcpStates[s] }

// TCPInfo is struct tcp_info of an Info at the instant now of the host's clock.
func TCPInfo(i *tcp.Info, now time.Duration) []byte { return tcpInfo(i, now) }

package posix

import (
	"encoding/binary"
	"time"

	"github.com/towpath/towpath/socket"
)

// TCP_DEFER_ACCEPT is told in seconds and counts timeouts of the SYN-ACK, which
// double: of a second at first, of two minutes at most.
const (
	deferFirst = time.Second
	deferMost  = 2 * time.Minute
)

// deferTimeouts is how many timeouts so many seconds take.
func deferTimeouts(seconds int32) (n int) {
	if seconds <= 0 {
		return 0
	}
	next, sum := deferFirst, deferFirst
	for n = 1; sum < time.Duration(seconds)*time.Second && n < 255; n++ {
		next = min(2*next, deferMost)
		sum += next
	}
	return n
}

// deferSeconds is how long so many timeouts take.
func deferSeconds(n int) int32 {
	next, sum := deferFirst, time.Duration(0)
	for ; n > 0; n-- {
		sum += next
		next = min(2*next, deferMost)
	}
	return int32(sum / time.Second)
}

func (f *file) wantsInq() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.recv[optName{IPPROTO_TCP, TCP_INQ}]
}

// inq is the control message that tells how many bytes are left to read, if it
// is wanted (TCP_INQ). The end of the stream counts as one, so that it is read.
func (f *file) inq() []Cmsg {
	if !f.wantsInq() {
		return nil
	}
	n, _, _, e := f.sock.Queued()
	if e != 0 {
		return nil
	}
	if f.sock.Ready()&socket.EventRdHup != 0 {
		n++
	}
	return []Cmsg{{IPPROTO_TCP, TCP_INQ, binary.LittleEndian.AppendUint32(nil, uint32(n))}}
}

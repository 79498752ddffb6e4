package host_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/wire"
)

// TestISN: initial sequence numbers are a clock of 4 microseconds on top of what
// only the host knows of the addresses (RFC 6528 §3).
func TestISN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ask := func(r *raw, port uint16) uint32 {
			t.Helper()
			syn := wire.TCPFields{SrcPort: port, DstPort: 80, Seq: 1, Flags: wire.TCPSyn, Window: 1000}
			ans, _ := r.exchange(false, syn, nil)
			if ans == nil {
				t.Fatal("no answer to a SYN")
			}
			seq := ans.Seq()
			r.send(eth4(wire.IPv4Fields{}, tcp(wire.TCPFields{SrcPort: port, DstPort: 80, Seq: 2, Flags: wire.TCPRst})))
			return seq
		}
		open := func() *raw {
			r := rawHost(t, host.Config{})
			r.meet()
			_, err := r.host.Listen("tcp", ":80")
			must(t, err)
			return r
		}
		r := open()
		first := ask(r, 5000)
		const later = 3 * time.Second
		time.Sleep(later)
		if gap := ask(r, 5000) - first; gap != uint32(later/(4*time.Microsecond)) {
			t.Errorf("%v later a number is larger by %d", later, gap)
		}
		seen := make(map[uint32]bool)
		for port := uint16(6000); port < 6100; port++ {
			seen[ask(r, port)>>20] = true
		}
		if len(seen) < 80 { // of 4096; half as many by chance: never
			t.Errorf("the numbers of 100 ports lie in %d places", len(seen))
		}
		other := open()
		if ask(other, 5000)>>12 == ask(r, 5000)>>12 {
			t.Error("two hosts have the same secret")
		}
		must(t, r.host.Close(context.Background()))
		must(t, other.host.Close(context.Background()))
	})
}

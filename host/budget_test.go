package host_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/packet"
)

// TestMemoryBudget uses a host's memory up by streams that nobody reads: it
// stays within its budget, refuses more with a reason, goes on serving those it
// has, and gives everything back.
func TestMemoryBudget(t *testing.T) {
	a, b := pair(t, cable.Config{})
	const limit = 2 << 20
	s := b.Settings()
	s.MemoryMax = limit
	must(t, b.SetSettings(s))
	l, err := b.Listen("tcp", ":80")
	must(t, err)
	u, err := b.ListenPacket("udp", ":53")
	must(t, err)
	var conns, peers []net.Conn
	for range 20 {
		c, err := a.Dial("tcp", "10.0.0.2:80")
		must(t, err)
		p, err := l.Accept()
		must(t, err)
		conns, peers = append(conns, c), append(peers, p)
	}
	var wg sync.WaitGroup
	payload := make([]byte, 1<<20)
	for _, c := range conns {
		wg.Go(func() { c.Write(payload) })
	}
	time.Sleep(300 * time.Millisecond)
	used := b.Stats().MemoryUsed
	// Each of the 20 may have its floor and one more packet.
	if used > limit+20*(64<<10+4<<10) || used < limit/2 {
		t.Errorf("%d bytes used of %d", used, limit)
	}
	// Beyond it everything new is refused.
	for i := 0; ; i++ {
		c, err := b.ListenPacket("udp", ":54")
		if errors.Is(err, syscall.ENOBUFS) {
			break
		}
		must(t, err)
		c.Close()
		if now := b.Stats().MemoryUsed; i == 100 && now+2000 > limit {
			t.Errorf("a socket beyond the budget: %d bytes used of %d", now, limit)
		}
		if i == 100 {
			break
		}
		time.Sleep(10 * time.Millisecond) // connections let go of some, and take it again
	}
	w, err := a.Dial("udp", "10.0.0.2:53")
	must(t, err)
	for range 100 {
		w.Write(make([]byte, 1400))
	}
	w.Close()
	go func() {
		if c, err := a.Dial("tcp", "10.0.0.2:80"); err == nil {
			c.Close()
		}
	}()
	time.Sleep(100 * time.Millisecond)
	d := b.Drops()
	for _, r := range []packet.Reason{packet.ReasonTCPMemory, packet.ReasonUDPMemory, packet.ReasonTCPSynMemory} {
		if d[r] == 0 {
			t.Errorf("nothing dropped for %v", r)
		}
	}
	// Those it has are served in the end.
	for _, p := range peers {
		wg.Go(func() {
			p.SetReadDeadline(time.Now().Add(60 * time.Second))
			if _, err := io.ReadFull(p, make([]byte, len(payload))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range conns {
		conns[i].Close()
		peers[i].Close()
	}
	l.Close()
	u.Close()
	for i := 0; b.Stats().MemoryUsed != 0; i++ {
		if i == 1000 {
			t.Fatalf("%d bytes are still counted", b.Stats().MemoryUsed)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestMemoryBudgetWriters blocks writers on a host without memory: each still
// gets on.
func TestMemoryBudgetWriters(t *testing.T) {
	a, b := pair(t, cable.Config{})
	s := a.Settings()
	s.MemoryMax = 64 << 10
	must(t, a.SetSettings(s))
	c, p := connected(t, a, b, "10.0.0.2")
	exchange(t, c, p, 1<<20)
}

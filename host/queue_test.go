package host_test

import (
	"context"
	"net/netip"
	"runtime"
	"testing"

	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/packet"
)

// A waiting judge has the packets of one number queued.
type waiting struct{}

func (waiting) JudgePacket(c *hook.Context, _ *packet.Packet) hook.Verdict {
	c.QueueNumber = 7
	return hook.Queue
}

// A decider lets go on what is queued.
type decider chan func()

func (d decider) Queue(c *hook.Context, after hook.PacketJudge, p *packet.Packet) bool {
	at, env := c.Point, c.Env
	if c.QueueNumber != 7 {
		return false
	}
	d <- func() { env.Inject(at, after, p) }
	return true
}

// TestQueue has a ping decided outside the walk, and dropped when nobody
// decides.
func TestQueue(t *testing.T) {
	a, b := pair(t, cableConfig())
	d := make(decider, 4)
	must(t, b.SetQueuer(d))
	must(t, b.AddJudge(hook.Input, hook.PriorityFilter, waiting{}))
	done := make(chan error, 1)
	go func() {
		_, err := a.Ping(context.Background(), netip.MustParseAddr("10.0.0.2"), host.PingOptions{})
		done <- err
	}()
	(<-d)()
	must(t, <-done)

	must(t, b.SetQueuer(nil))
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		a.Ping(ctx, netip.MustParseAddr("10.0.0.2"), host.PingOptions{})
		close(done)
	}()
	for b.Drops()[packet.ReasonRule] == 0 {
		runtime.Gosched()
	}
	cancel()
	<-done
}

package host_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/link/netem"
	"github.com/towpath/towpath/packet"
)

// TestImpairedStreams sends streams both ways over paths that lose, double,
// delay, mix up and damage packets, on virtual time, with MTUs of all sizes.
func TestImpairedStreams(t *testing.T) {
	n := *soakBytes / 16
	for i, c := range []struct {
		impair string
		mtus   []int
	}{
		{"delay 10ms, loss 1%", []int{1500}},
		{"delay 10ms, loss 5%", []int{1500, 1280, 9000}},
		{"delay 5ms, loss 20%", []int{65535, 1500}},
		{"delay 10ms jitter 5ms, reorder 25%, duplicate 5%, corrupt 1%, loss 1%", []int{1400, 576, 1500}},
	} {
		for _, v6 := range []bool{false, true} {
			if v6 && c.mtus[len(c.mtus)/2] < 1280 {
				continue
			}
			t.Run(fmt.Sprintf("%s/v6=%v", c.impair, v6), func(t *testing.T) {
				packet.Account(true)
				defer packet.Account(false)
				synctest.Test(t, func(t *testing.T) {
					var cables []cable.Config
					for _, mtu := range c.mtus {
						cables = append(cables, cable.Config{MTU: mtu})
					}
					hosts := lineOf(t, cables...)
					im, err := netem.Parse(c.impair)
					must(t, err)
					f := netem.New(netem.Config{Clock: hosts[0].Clock(), Seed: uint64(i + 1), Out: im, In: im})
					_, err = hosts[0].Adapter("right").Attach(f)
					must(t, err)
					last := len(hosts) - 1
					to := fmt.Sprintf("10.0.%d.2", last-1)
					if v6 {
						to = fmt.Sprintf("fd00:0:0:%d::2", last-1)
					}
					began := time.Now()
					a, b := connected(t, hosts[0], hosts[last], to)
					exchange(t, a, b, n)
					t.Logf("%d KiB each way in %v of virtual time", n>>10, time.Since(began).Round(time.Millisecond))
					for _, h := range hosts {
						must(t, h.Close(context.Background()))
					}
				})
				if packets, chunks := packet.Live(); packets != 0 || chunks != 0 {
					t.Errorf("%d packets and %d chunks were not given back", packets, chunks)
				}
			})
		}
	}
}

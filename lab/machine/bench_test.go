//go:build linux

package machine

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/afpacket"
)

// BenchmarkStream is TCP between two machines whose ports are joined here,
// beside TCP over one machine's own loopback: what the same programs reach
// without us.
func BenchmarkStream(b *testing.B) {
	testenv.NeedsUserNS(b)
	testenv.NeedsTool(b, "iperf3")
	for _, veth := range []bool{false, true} {
		name := "tap"
		if veth {
			name = "veth"
		}
		b.Run(name, func(b *testing.B) {
			m := [2]*Machine{}
			for i, addr := range []string{"10.1.0.1/24", "10.1.0.2/24"} {
				var err error
				m[i], err = Start(b.Context(), Config{Name: "m", Veth: veth, Interfaces: []Interface{{Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix(addr)}}}})
				if err != nil {
					b.Fatal(err)
				}
				defer m[i].Close(b.Context())
			}
			left, right := link.NewAdapter("left", 1, m[0].Ports()[0]), link.NewAdapter("right", 2, m[1].Ports()[0])
			left.Bind(pump{right})
			right.Bind(pump{left})
			for _, a := range []*link.Adapter{left, right} {
				if err := a.Open(); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := m[1].Exec(b.Context(), Cmd{Args: []string{"iperf3", "-s"}}); err != nil {
				b.Fatal(err)
			}
			var joined, alone float64
			for b.Loop() {
				joined += iperf(b, m[0], "10.1.0.2")
				alone += iperf(b, m[1], "127.0.0.1")
			}
			for i := range m {
				if p, ok := m[i].Ports()[0].(*afpacket.Port); ok {
					b.Logf("port %d: %d packets missed", i, p.Missed())
				}
			}
			s := right.Stats()
			b.ReportMetric(joined/float64(b.N), "Gbit/s")
			b.ReportMetric(joined/alone, "of-loopback")
			b.ReportMetric(float64(s.TxBytes)/float64(s.TxPackets), "B/packet")
			b.ReportMetric(float64(s.Dropped+left.Stats().Dropped), "drops")
		})
	}
}

// iperf runs a client for a second and returns what the server received.
func iperf(b *testing.B, m *Machine, server string) float64 {
	for try := 0; ; try++ {
		var out bytes.Buffer
		p, err := m.Exec(b.Context(), Cmd{Args: []string{"iperf3", "-J", "-t", "1", "-c", server}, Stdout: &out})
		if err != nil {
			b.Fatal(err)
		}
		if err := p.Wait(); err != nil {
			if try < 20 && strings.Contains(out.String(), "refused") {
				time.Sleep(50 * time.Millisecond)
				continue
			}
			b.Fatalf("%v: %s", err, out.String())
		}
		var r struct {
			End struct {
				Received struct {
					Rate float64 `json:"bits_per_second"`
				} `json:"sum_received"`
				Sent struct {
					Retransmits int
				} `json:"sum_sent"`
			}
		}
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			b.Fatal(err)
		}
		b.Logf("%s: %d retransmissions", server, r.End.Sent.Retransmits)
		return r.End.Received.Rate / 1e9
	}
}

// BenchmarkStart is a machine's life.
func BenchmarkStart(b *testing.B) {
	testenv.NeedsUserNS(b)
	for _, veth := range []bool{false, true} {
		name := "tap"
		if veth {
			name = "veth"
		}
		b.Run(name, func(b *testing.B) {
			var up time.Duration
			for b.Loop() {
				begun := time.Now()
				m, err := Start(b.Context(), Config{Name: "m", Veth: veth, Interfaces: []Interface{{Name: "eth0"}}})
				if err != nil {
					b.Fatal(err)
				}
				up += time.Since(begun)
				if err := m.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(up.Seconds()*1e3/float64(b.N), "ms-to-start")
		})
	}
}

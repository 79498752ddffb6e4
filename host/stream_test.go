package host_test

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link/cable"
)

var soakBytes = flag.Int64("soak.bytes", 16<<20, "bytes that stream tests send each way")

// noise is a deterministic stream of bytes.
type noise struct{ *rand.ChaCha8 }

func newNoise(seed byte) noise { return noise{rand.NewChaCha8([32]byte{seed})} }

// pump writes n bytes of noise to c in pieces of all sizes and returns their
// hash.
func pump(c *host.TCPConn, seed byte, n int64) ([]byte, error) {
	src, h := newNoise(seed), sha256.New()
	sizes := rand.New(rand.NewPCG(uint64(seed), 1))
	buf := make([]byte, 256<<10)
	for n > 0 {
		k := min(int64(1+sizes.IntN(1<<(1+sizes.IntN(18)))), n)
		src.Read(buf[:k])
		h.Write(buf[:k])
		if _, err := c.Write(buf[:k]); err != nil {
			return nil, err
		}
		n -= k
	}
	return h.Sum(nil), c.CloseWrite()
}

// drain reads c to its end in pieces of all sizes.
func drain(c *host.TCPConn, seed byte) (h hash.Hash, n int64, err error) {
	h = sha256.New()
	sizes := rand.New(rand.NewPCG(uint64(seed), 2))
	buf := make([]byte, 256<<10)
	for {
		k, err := c.Read(buf[:1+sizes.IntN(1<<(1+sizes.IntN(17)))])
		h.Write(buf[:k])
		n += int64(k)
		if err == io.EOF {
			return h, n, nil
		}
		if err != nil {
			return h, n, err
		}
	}
}

// exchange sends n bytes each way at the same time and compares.
func exchange(t *testing.T, a, b *host.TCPConn, n int64) {
	t.Helper()
	var wg sync.WaitGroup
	var sent, got [2][]byte
	for i, c := range []*host.TCPConn{a, b} {
		wg.Go(func() {
			sum, err := pump(c, byte(i), n)
			if err != nil {
				t.Errorf("end %d: write: %v", i, err)
				c.SetLinger(0)
				c.Close()
			}
			sent[i] = sum
		})
		wg.Go(func() {
			h, k, err := drain(c, byte(i))
			if err != nil || k != n {
				t.Errorf("end %d: read %d of %d bytes: %v", i, k, n, err)
			}
			got[1-i] = h.Sum(nil)
		})
	}
	wg.Wait()
	for i := range 2 {
		if string(sent[i]) != string(got[i]) {
			t.Errorf("stream from end %d differs at the other", i)
		}
	}
	a.Close()
	b.Close()
}

func TestStreams(t *testing.T) {
	for _, routers := range []int{0, 1, 3} {
		for _, plain := range []bool{false, true} {
			for _, v6 := range []bool{false, true} {
				t.Run(fmt.Sprintf("routers=%d/plain=%v/v6=%v", routers, plain, v6), func(t *testing.T) {
					hosts := line(t, routers, cable.Config{Plain: plain})
					to := fmt.Sprintf("10.0.%d.2", routers)
					if v6 {
						to = fmt.Sprintf("fd00:0:0:%d::2", routers)
					}
					last := hosts[len(hosts)-1]
					a, b := connected(t, hosts[0], last, to)
					exchange(t, a, b, *soakBytes)
					for _, h := range hosts {
						for r, n := range h.Drops() {
							if n > 0 {
								t.Logf("%s: %d × %v", h.Name(), n, reason(r))
							}
						}
					}
				})
			}
		}
	}
}

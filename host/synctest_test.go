package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/packet"
)

func reason(r int) packet.Reason { return packet.Reason(r) }

// TestVirtualTime runs whole hosts inside a bubble: an HTTP exchange, an hour
// of idleness on a kept connection, and a connect to an address where nobody
// is, all in no time.
func TestVirtualTime(t *testing.T) {
	start := time.Now()
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, cable.Config{})
		l, err := b.Listen("tcp", ":80")
		must(t, err)
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "hello at ", time.Now().Unix())
		})}
		go srv.Serve(l)
		tr := &http.Transport{DialContext: a.DialContext}
		c := http.Client{Transport: tr}
		get := func() string {
			resp, err := c.Get("http://10.0.0.2/")
			must(t, err)
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			must(t, err)
			return string(b)
		}
		first := get()
		time.Sleep(time.Hour)
		if second := get(); second == first {
			t.Errorf("an hour later the answer is the same: %q", second)
		}
		if n := b.Stats().Established; n != 1 {
			t.Errorf("%d connections, want the one kept open", n)
		}

		// Nobody at 10.0.0.9: no neighbour, EHOSTUNREACH after 3 s, as on Linux.
		began := time.Now()
		_, err = a.Dial("tcp", "10.0.0.9:80")
		if !errors.Is(err, syscall.EHOSTUNREACH) || time.Since(began) > 5*time.Second {
			t.Errorf("dial 10.0.0.9: %v after %v", err, time.Since(began))
		}
		// A neighbour that drops everything: ETIMEDOUT after the SYN's retries.
		b.Adapter("eth0").SetUp(false)
		began = time.Now()
		_, err = a.Dial("tcp", "10.0.0.2:80")
		took := time.Since(began)
		if !errors.Is(err, syscall.ETIMEDOUT) && !errors.Is(err, syscall.EHOSTUNREACH) {
			t.Errorf("dial a dead host: %v after %v", err, took)
		}
		b.Adapter("eth0").SetUp(true)
		// A deadline.
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		_, err = a.DialContext(ctx, "tcp", "10.0.0.8:80")
		cancel()
		var ne net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) && !(errors.As(err, &ne) && ne.Timeout()) {
			t.Errorf("dial with a deadline: %v", err)
		}
		tr.CloseIdleConnections()
		srv.Close()
		must(t, a.Close(context.Background()))
		must(t, b.Close(context.Background()))
	})
	if d := time.Since(start); d > 5*time.Second {
		t.Logf("virtual hours took %v of real time", d)
	}
}

package netem_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/link/netem"
)

// TestStreams sends streams of TCP both ways between hosts on a bad cable, in
// virtual time.
func TestStreams(t *testing.T) {
	for _, c := range []struct {
		text string
		size int
	}{
		{"delay 5ms 1ms normal, loss 1%, reorder 1%, duplicate 0.5%, corrupt 0.5%", 8 << 20},
		{"delay 5ms 1ms paretonormal, loss 5%, reorder 5%, duplicate 1%, corrupt 1%", 8 << 20},
		{"delay 5ms, loss gemodel 0.5% 30%, rate 100mbit, limit 200", 2 << 20},
	} {
		t.Run(c.text, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { stream(t, c.text, c.size) })
		})
	}
}

func stream(t *testing.T, text string, size int) {
	balanced(t)
	pa, pb := cable.New(cable.Config{})
	var hosts [2]*host.Host
	var filters [2]*netem.Filter
	for i, p := range []*cable.Port{pa, pb} {
		h := host.New(host.Config{Name: string(rune('a' + i))})
		hosts[i] = h
		a, err := h.AddAdapter("eth0", p)
		must(t, err)
		must(t, h.AddAddress("eth0", netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)}), 24)))
		filters[i] = netem.New(netem.Config{Clock: h.Clock(), Seed: uint64(i), Out: parse(t, text)})
		_, err = a.Attach(filters[i])
		must(t, err)
	}
	l, err := hosts[1].Listen("tcp", ":7")
	must(t, err)
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := hosts[0].DialContext(ctx, "tcp", "10.0.0.2:7")
	must(t, err)
	s := <-accepted
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(data)
	want := sha256.Sum256(data)
	done := make(chan bool, 4)
	for _, x := range []net.Conn{c, s} {
		go func() {
			if _, err := io.Copy(x, bytes.NewReader(data)); err != nil {
				t.Errorf("write: %v", err)
			}
			x.(*host.TCPConn).CloseWrite()
			done <- true
		}()
		go func() {
			h := sha256.New()
			n, err := io.Copy(h, x)
			if err != nil || n != int64(size) || [32]byte(h.Sum(nil)) != want {
				t.Errorf("read %d of %d bytes, the same: %v; %v", n, size, [32]byte(h.Sum(nil)) == want, err)
			}
			done <- true
		}()
	}
	for range 4 {
		<-done
	}
	took := time.Since(began)
	c.Close()
	s.Close()
	l.Close()
	for i, h := range hosts {
		st := filters[i].Stats(link.Out)
		t.Logf("%s: %+v", h.Name(), st)
		must(t, h.Close(context.Background()))
		conserved(t, filters[i].Stats(link.Out))
	}
	t.Logf("%d bytes each way in %v", size, took)
}

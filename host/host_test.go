package host_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link/cable"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pair is two hosts on one cable: a has 10.0.0.1 and fd00::1, b 10.0.0.2 and
// fd00::2.
func pair(t testing.TB, cfg cable.Config) (a, b *host.Host) {
	t.Helper()
	a, b = host.New(host.Config{Name: "a"}), host.New(host.Config{Name: "b"})
	pa, pb := cable.New(cfg)
	for i, h := range []*host.Host{a, b} {
		_, err := h.AddAdapter("eth0", []*cable.Port{pa, pb}[i])
		must(t, err)
		must(t, h.AddAddress("eth0", pfx(fmt.Sprintf("10.0.0.%d/24", i+1))))
		must(t, h.AddAddress("eth0", pfx(fmt.Sprintf("fd00::%d/64", i+1))))
		t.Cleanup(func() { must(t, h.Close(context.Background())) })
	}
	return a, b
}

// line is hosts in a row: the first and the last are hosts, those between are
// routers. Cable i has network 10.0.i.0/24 and fd00:0:0:i::/64; its left end is
// .1, its right end .2.
func line(t testing.TB, routers int, cfg cable.Config) []*host.Host {
	t.Helper()
	cables := make([]cable.Config, routers+1)
	for i := range cables {
		cables[i] = cfg
	}
	return lineOf(t, cables...)
}

// lineOf is line with a cable of each kind.
func lineOf(t testing.TB, cables ...cable.Config) []*host.Host {
	t.Helper()
	n := len(cables) + 1
	hosts := make([]*host.Host, n)
	for i := range hosts {
		hosts[i] = host.New(host.Config{Name: fmt.Sprintf("h%d", i), Forward: i > 0 && i < n-1})
		t.Cleanup(func() { must(t, hosts[i].Close(context.Background())) })
	}
	for i := range n - 1 {
		l, r := cable.New(cables[i])
		_, err := hosts[i].AddAdapter("right", l)
		must(t, err)
		_, err = hosts[i+1].AddAdapter("left", r)
		must(t, err)
		must(t, hosts[i].AddAddress("right", pfx(fmt.Sprintf("10.0.%d.1/24", i))))
		must(t, hosts[i+1].AddAddress("left", pfx(fmt.Sprintf("10.0.%d.2/24", i))))
		must(t, hosts[i].AddAddress("right", pfx(fmt.Sprintf("fd00:0:0:%d::1/64", i))))
		must(t, hosts[i+1].AddAddress("left", pfx(fmt.Sprintf("fd00:0:0:%d::2/64", i))))
	}
	for i, h := range hosts {
		for j := range n - 1 {
			dst4, dst6 := pfx(fmt.Sprintf("10.0.%d.0/24", j)), pfx(fmt.Sprintf("fd00:0:0:%d::/64", j))
			switch {
			case j < i-1:
				must(t, h.AddRoute(route.Route{Dst: dst4, Via: netip.MustParseAddr(fmt.Sprintf("10.0.%d.1", i-1))}))
				must(t, h.AddRoute(route.Route{Dst: dst6, Via: netip.MustParseAddr(fmt.Sprintf("fd00:0:0:%d::1", i-1))}))
			case j > i:
				must(t, h.AddRoute(route.Route{Dst: dst4, Via: netip.MustParseAddr(fmt.Sprintf("10.0.%d.2", i))}))
				must(t, h.AddRoute(route.Route{Dst: dst6, Via: netip.MustParseAddr(fmt.Sprintf("fd00:0:0:%d::2", i))}))
			}
		}
	}
	return hosts
}

func TestPing(t *testing.T) {
	a, _ := pair(t, cable.Config{})
	for _, to := range []string{"10.0.0.2", "fd00::2", "127.0.0.1", "::1", "10.0.0.1"} {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		r, err := a.Ping(ctx, netip.MustParseAddr(to), host.PingOptions{})
		cancel()
		if err != nil || r.From != netip.MustParseAddr(to) || r.Bytes != 64 || r.TTL != 64 {
			t.Errorf("ping %s: %+v, %v", to, r, err)
		}
	}
}

func TestHTTP(t *testing.T) {
	a, b := pair(t, cable.Config{})
	l, err := b.Listen("tcp", ":80")
	must(t, err)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	})}
	go srv.Serve(l)
	defer srv.Close()
	tr := &http.Transport{DialContext: a.DialContext}
	defer tr.CloseIdleConnections()
	c := http.Client{Transport: tr, Timeout: 20 * time.Second}
	body := bytes.Repeat([]byte("towpath "), 1<<17)
	for _, url := range []string{"http://10.0.0.2/", "http://[fd00::2]/"} {
		resp, err := c.Post(url, "text/plain", bytes.NewReader(body))
		must(t, err)
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		must(t, err)
		if !bytes.Equal(got, body) {
			t.Errorf("%s: body differs: %d bytes, want %d", url, len(got), len(body))
		}
	}
}

func TestUDP(t *testing.T) {
	a, b := pair(t, cable.Config{})
	s, err := b.ListenPacket("udp", ":5353")
	must(t, err)
	defer s.Close()
	go func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := s.ReadFrom(buf)
			if err != nil {
				return
			}
			s.WriteTo(buf[:n], from)
		}
	}()
	for _, to := range []string{"10.0.0.2:5353", "[fd00::2]:5353"} {
		c, err := a.Dial("udp", to)
		must(t, err)
		c.SetDeadline(time.Now().Add(3 * time.Second))
		for _, size := range []int{0, 1, 100, 191, 192, 193, 1000, 1400} {
			msg := bytes.Repeat([]byte{byte(size)}, size)
			_, err = c.Write(msg)
			must(t, err)
			buf := make([]byte, 2000)
			n, err := c.Read(buf)
			must(t, err)
			if !bytes.Equal(buf[:n], msg) {
				t.Errorf("%s: %d bytes came back as %d", to, size, n)
			}
		}
		c.Close()
	}
	c, err := a.Dial("udp", "10.0.0.2:9")
	must(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(3 * time.Second))
	c.Write([]byte("x"))
	if _, err := c.Read(make([]byte, 1)); err == nil || err.Error() == "" {
		t.Errorf("read from a closed port: %v", err)
	} else {
		t.Log(err)
	}
}

func TestRefused(t *testing.T) {
	a, _ := pair(t, cable.Config{})
	_, err := a.Dial("tcp", "10.0.0.2:81")
	var op *net.OpError
	t.Log(err, op)
	if err == nil {
		t.Fatal("connected")
	}
}

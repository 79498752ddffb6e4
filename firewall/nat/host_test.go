package nat_test

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

	"github.com/towpath/towpath/firewall/classify"
	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/firewall/nat"
	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/packet"
)

// A ruleJudge walks packets through a chain: the least that a face does.
type ruleJudge struct {
	table *classify.Table
	chain *classify.Chain
	w     classify.Walker
	ct    conntrack.Reading
	in    classify.Input
}

func (j *ruleJudge) JudgePacket(c *hook.Context, p *packet.Packet) hook.Verdict {
	j.ct.Packet, j.ct.Now = p, c.Now
	j.in = classify.Input{Packet: p, Now: c.Now, Conn: &j.ct, Context: c}
	if c.In != nil {
		j.in.Iif, j.in.IifName = c.In.Index(), c.In.Name()
	}
	if c.Out != nil {
		j.in.Oif, j.in.OifName = c.Out.Index(), c.Out.Name()
	}
	if r := j.table.Run(&j.w, j.chain, &j.in); r.Verdict.Code == classify.Drop {
		c.Rule = r.Rule
		return hook.Drop
	}
	return hook.Accept
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A gateway is a host between a client and a server, which masquerades the
// client, lets nobody in but answers, and forwards one port to the client.
type gateway struct {
	client, gw, server *host.Host
	flows              *conntrack.Table
}

func newGateway(t testing.TB) *gateway {
	g := &gateway{host.New(host.Config{Name: "client"}), host.New(host.Config{Name: "gw"}), host.New(host.Config{Name: "server"}),
		conntrack.NewTable(conntrack.Settings{})}
	t.Cleanup(func() {
		for _, h := range []*host.Host{g.client, g.gw, g.server} {
			h.Close(context.Background())
		}
	})
	a, b := cable.New(cable.Config{})
	c, d := cable.New(cable.Config{})
	for _, x := range []struct {
		h     *host.Host
		name  string
		add   func() error
		addrs []string
	}{
		{g.client, "eth0", func() error { _, err := g.client.AddAdapter("eth0", a); return err }, []string{"10.0.0.1/24", "fd00::1/64"}},
		{g.gw, "lan", func() error { _, err := g.gw.AddAdapter("lan", b); return err }, []string{"10.0.0.254/24", "fd00::fe/64"}},
		{g.gw, "wan", func() error { _, err := g.gw.AddAdapter("wan", c); return err }, []string{"203.0.113.1/24", "2001:db8::1/64"}},
		{g.server, "eth0", func() error { _, err := g.server.AddAdapter("eth0", d); return err }, []string{"203.0.113.2/24", "2001:db8::2/64"}},
	} {
		must(t, x.add())
		for _, p := range x.addrs {
			must(t, x.h.AddAddress(x.name, netip.MustParsePrefix(p)))
		}
	}
	must(t, g.client.AddRoute(route.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.0.0.254")}))
	must(t, g.client.AddRoute(route.Route{Dst: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("fd00::fe")}))
	must(t, g.gw.SetForwarding(true))

	n := nat.New(g.flows)
	masquerade, err := n.Translate(conntrack.Source, nat.Range{Masquerade: true})
	must(t, err)
	forward, err := n.Translate(conntrack.Destination, nat.Range{Min: netip.MustParseAddr("10.0.0.1"), PortMin: 8080})
	must(t, err)
	table := classify.NewTable("nat")
	chain := func(name string, exprs ...[]classify.Expr) *ruleJudge {
		ch := table.NewChain(name, classify.Accept)
		must(t, table.Edit(func(e *classify.Edit) error {
			for _, x := range exprs {
				if err := e.Append(ch, &classify.Rule{Exprs: x}); err != nil {
					return err
				}
			}
			return nil
		}))
		return &ruleJudge{table: table, chain: ch, ct: conntrack.Reading{Table: g.flows}}
	}
	ifName := func(key classify.MetaKey, name string) []classify.Expr {
		var b [16]byte
		copy(b[:], name)
		return []classify.Expr{classify.Meta{Key: key, Dst: 1}, classify.Cmp{Op: classify.Equal, Reg: 1, Data: b[:]}}
	}
	n.AddChain(hook.Postrouting, hook.PriorityNATSrc, chain("post", append(ifName(classify.MetaOifName, "wan"), masquerade)))
	n.AddChain(hook.Prerouting, hook.PriorityNATDst, chain("pre", append(ifName(classify.MetaIifName, "wan"),
		classify.Meta{Key: classify.MetaL4Proto, Dst: 1}, classify.Cmp{Op: classify.Equal, Reg: 1, Data: []byte{6}},
		classify.Payload{Base: classify.Transport, Offset: 2, Len: 2, Dst: 1}, classify.Cmp{Op: classify.Equal, Reg: 1, Data: []byte{0, 80}},
		forward)))
	state := func(bits classify.CtStateBits) []classify.Expr {
		return []classify.Expr{classify.Ct{Key: classify.CtState, Dst: 1},
			classify.Bitwise{Src: 1, Dst: 1, Mask: []byte{0, 0, 0, byte(bits)}, Xor: make([]byte, 4)},
			classify.Cmp{Op: classify.NotEqual, Reg: 1, Data: make([]byte, 4)}}
	}
	filter := chain("forward",
		append(state(classify.CtEstablished|classify.CtRelated), classify.Verdict{Code: classify.Accept}),
		append(ifName(classify.MetaIifName, "lan"), classify.Verdict{Code: classify.Accept}),
		[]classify.Expr{classify.Ct{Key: classify.CtStatus, Dst: 1}, // those that are forwarded to a port
			classify.Bitwise{Src: 1, Dst: 1, Mask: []byte{0, 0, 0, byte(conntrack.DstNAT)}, Xor: make([]byte, 4)},
			classify.Cmp{Op: classify.NotEqual, Reg: 1, Data: make([]byte, 4)}, classify.Verdict{Code: classify.Accept}},
		[]classify.Expr{classify.Verdict{Code: classify.Drop}})
	must(t, g.gw.AddJudge(hook.Forward, hook.PriorityFilter, filter))
	must(t, g.flows.Attach(g.gw.AddJudge))
	must(t, n.Attach(g.gw.AddJudge))
	return g
}

// TestGateway has net/http work through a gateway of two hosts, in both
// directions, and datagrams that come in fragments.
func TestGateway(t *testing.T) {
	g := newGateway(t)
	body := bytes.Repeat([]byte("towpath "), 100000)
	serve := func(h *host.Host, addr string) {
		l, err := h.Listen("tcp", addr)
		must(t, err)
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Peer", r.RemoteAddr)
			w.Write(body)
		})}
		go s.Serve(l)
		t.Cleanup(func() { s.Close() })
	}
	get := func(h *host.Host, url string) string {
		t.Helper()
		tr := &http.Transport{DialContext: h.DialContext, DisableKeepAlives: true}
		r, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Get(url)
		must(t, err)
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		must(t, err)
		if !bytes.Equal(b, body) {
			t.Errorf("%s: %d bytes", url, len(b))
		}
		peer, _, _ := net.SplitHostPort(r.Header.Get("Peer"))
		return peer
	}
	serve(g.server, ":80")
	serve(g.client, ":8080")
	if peer := get(g.client, "http://203.0.113.2/"); peer != "203.0.113.1" {
		t.Errorf("the server sees %s", peer)
	}
	if peer := get(g.client, "http://[2001:db8::2]/"); peer != "2001:db8::1" {
		t.Errorf("the server sees %s", peer)
	}
	if peer := get(g.server, "http://203.0.113.1/"); peer != "203.0.113.2" {
		t.Errorf("the client sees %s", peer)
	}
	for _, server := range []string{"203.0.113.2", "2001:db8::2"} {
		echo, err := g.server.ListenPacket("udp", net.JoinHostPort(server, "7"))
		must(t, err)
		defer echo.Close()
		go func() {
			b := make([]byte, 65536)
			for {
				n, from, err := echo.ReadFrom(b)
				if err != nil {
					return
				}
				echo.WriteTo(b[:n], from)
			}
		}()
		c, err := g.client.Dial("udp", net.JoinHostPort(server, "7"))
		must(t, err)
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		for _, n := range []int{10, 1472, 1473, 5000, 60000} {
			_, err := c.Write(body[:n])
			must(t, err)
			b := make([]byte, 65536)
			m, err := c.Read(b)
			must(t, err)
			if !bytes.Equal(b[:m], body[:n]) {
				t.Errorf("%d bytes came back of %d", m, n)
			}
		}
	}
	// Nobody is let in who was not asked for.
	c, err := g.server.Dial("udp", "203.0.113.1:9999")
	must(t, err)
	defer c.Close()
	assured := 0
	for _, f := range g.flows.List(0) {
		if f.Assured {
			assured++
		}
		if f.Original.Src == netip.MustParseAddr("10.0.0.1") && f.Reply.Dst != netip.MustParseAddr("203.0.113.1") {
			t.Errorf("%v", f)
		}
	}
	if assured < 3 {
		t.Errorf("%d assured flows:\n%s", assured, fmt.Sprint(g.flows.List(0)))
	}
}

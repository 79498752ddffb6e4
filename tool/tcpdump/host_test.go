package tcpdump_test

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/tool"
	"github.com/towpath/towpath/tool/tcpdump"
)

// hosts are two on a cable.
func hosts(t *testing.T) (a, b *host.Host) {
	p, q := cable.New(cable.Config{})
	all := make([]*host.Host, 2)
	for i, end := range []*cable.Port{p, q} {
		h := host.New(host.Config{Name: fmt.Sprint("host", i+1)})
		t.Cleanup(func() { h.Close(context.Background()) })
		_, err := h.AddAdapter("eth0", end)
		if err == nil {
			err = h.AddAddress("eth0", netip.MustParsePrefix(fmt.Sprintf("10.0.0.%d/24", i+1)))
		}
		if err != nil {
			t.Fatal(err)
		}
		all[i] = h
	}
	return all[0], all[1]
}

// onHost runs tcpdump on a host until it has seen enough, while datagrams come
// to it.
func onHost(t *testing.T, to, from *host.Host, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	run, err := tcpdump.Tool.Parse(args)
	if err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	done := make(chan struct{})
	defer func() { cancel(); <-done }()
	go func() {
		defer close(done)
		c, err := from.Dial("udp", "10.0.0.2:9")
		if err != nil {
			return
		}
		defer c.Close()
		for ctx.Err() == nil {
			c.Write([]byte("datagram"))
			time.Sleep(time.Millisecond)
		}
	}()
	var out, errs strings.Builder
	err = run(ctx, &tool.Env{Host: to, Stdout: &out, Stderr: &errs})
	return out.String(), errs.String(), err
}

func TestHost(t *testing.T) {
	a, b := hosts(t)
	for _, c := range []struct{ args, stdout, stderr string }{
		{"-tc1 udp port 9", "IP 10.0.0.1.", "listening on eth0, link-type EN10MB (Ethernet), snapshot length 262144 bytes\n1 packet captured\n"},
		{"-tnec1 -i eth0 icmp", ", ethertype IPv4 (0x0800), length 78: 10.0.0.2 > 10.0.0.1: ICMP 10.0.0.2 udp port 9 unreachable, length 44\n", "listening on eth0"},
		{"-tnc1 -i 1 -Q out", "IP 10.0.0.2 > 10.0.0.1: ICMP", "listening on eth0"},
		{"-tnc1 -i any udp", "eth0  In  IP 10.0.0.1.", "tcpdump: data link type LINUX_SLL2\n"},
		{"-tnc1 -i any outbound and icmp", "eth0  Out IP 10.0.0.2 > 10.0.0.1: ICMP", "listening on any, link-type LINUX_SLL2 (Linux cooked v2)"},
		{"-h", "tcpdump of towpath", ""},
		{"-L", "", "  EN10MB (Ethernet)\n"},
	} {
		stdout, stderr, err := onHost(t, b, a, strings.Fields(c.args)...)
		if err != nil || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
			t.Errorf("%s: %v\n%s%s", c.args, err, stdout, stderr)
		}
	}
	stdout, _, err := onHost(t, b, a, "-D")
	const want = "1.eth0 [Up, Running]\n2.any (Pseudo-device that captures on all interfaces) [Up, Running]\n3.lo [Up, Running, Loopback]\n"
	if err != nil || stdout != want {
		t.Errorf("-D: %q, %v", stdout, err)
	}
	for args, want := range map[string]string{
		"-i eth9":     "eth9: no such adapter; write one of lo, eth0, any",
		"-Z root":     "a host has no users; leave -Z out",
		"-k":          "invalid option -- 'k'",
		"-i eth0 foo": "can't parse filter expression: ",
	} {
		if _, _, err := onHost(t, b, a, strings.Fields(args)...); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestOnNode(t *testing.T) {
	for _, c := range []struct{ args, node, there string }{
		{"-i alice:eth0", "alice", "-i alice:eth0 -i eth0"},
		{"-nialice:any udp -c 3", "alice", "-nialice:any udp -c 3 -i any"},
		{"--interface=alice:eth0 -w -- -- udp", "alice", "--interface=alice:eth0 -w -- -i eth0 -- udp"},
		{"-i eth0", "", ""},
		{"-i :eth0", "", ""},
		{"-i alice:", "", ""},
		{"-i alice:eth0 -r file", "", ""},
		{"-i alice:eth0 -k", "", ""},
	} {
		d, ok := tcpdump.OnNode(strings.Fields(c.args))
		if d.Node != c.node || strings.Join(d.Args, " ") != c.there || ok != (c.node != "") {
			t.Errorf("%s: %+v, %v", c.args, d, ok)
		}
	}
}

// TestHostFiles: names of files begin at the tool's directory, and an end from
// outside is none in error.
func TestHostFiles(t *testing.T) {
	a, b := hosts(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	run, err := tcpdump.Tool.Parse([]string{"-U", "-w", "a.pcap", "udp"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Dial("udp", "10.0.0.2:9")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	done := make(chan error)
	go func() { done <- run(ctx, &tool.Env{Host: b, Dir: dir, Stdout: io.Discard, Stderr: io.Discard}) }()
	const fileHeader = 24
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		c.Write([]byte("datagram"))
		if fi, err := os.Stat(filepath.Join(dir, "a.pcap")); err == nil && fi.Size() > fileHeader {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing has been written")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	run, err = tcpdump.Tool.Parse([]string{"-ntc1", "-r", "a.pcap"})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(t.Context(), &tool.Env{Host: b, Dir: dir, Stdout: &out, Stderr: io.Discard}); err != nil || !strings.HasSuffix(out.String(), ": UDP, length 8\n") {
		t.Errorf("%q, %v", &out, err)
	}
}

package lab

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// bring brings up a lab of hosts and takes it down at the end.
func bring(t *testing.T, file string, out *buffer) *Net {
	t.Helper()
	spec, err := Parse("lab.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	n, err := Up(t.Context(), spec, Options{Output: out})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
		goleak.VerifyNone(t)
	})
	return n
}

const trio = `
nodes:
  a: {addresses: {eth0: 10.0.0.1/24}}
  b: {addresses: {eth0: 10.0.0.2/24}, serve: [echo]}
  c: {addresses: {eth0: 10.0.0.3/24}}
links:
  - {switch: lan, endpoints: ["a:eth0", {end: "b:eth0", impair: delay 1ms}, "c:eth0"]}
`

// TestEvents: what a file says shall happen happens, at its time.
func TestEvents(t *testing.T) {
	var out buffer
	n := bring(t, trio+`
events:
  - {at: 0s, do: "link down c:eth0"}
  - {at: 400ms, do: ["link up c:eth0", "stop b echo"]}
  - {at: 800ms, do: ["start b echo", "crash a"]}
  - {at: 1200ms, do: ["restart a"]}
  - {every: 450ms, do: "start c ping -c 1 -W 0.1 b"}
expect:
  - {from: b, ping: c, at: 100ms, within: 150ms, fails: true}
  - {from: a, udp: "b:7", send: x, receive: x, within: 200ms}
  - {from: a, ping: c, at: 500ms}
  - {from: c, udp: "b:7", send: x, refused: true, within: 200ms}
  - {from: c, ping: a, at: 900ms, within: 200ms, fails: true}
  - {from: c, udp: "b:7", send: x, receive: x, within: 200ms}
  - {from: c, ping: a, at: 1300ms}
  - {from: a, udp: "b:7", send: x, receive: x}
`, &out)
	all, err := n.Expect(t.Context())
	if err != nil {
		var b bytes.Buffer
		PrintOutcomes(&b, all)
		t.Errorf("%v\n%s\n%s", err, b.String(), out.String())
	}
	if !strings.Contains(out.String(), "lab | crash a\n") || !strings.Contains(out.String(), "c   | 64 bytes from 10.0.0.2") {
		t.Errorf("output is\n%s", out.String())
	}
	var kinds []string
	for e := range n.Events(t.Context(), 0, false) {
		if e.Kind != KindOutput {
			kinds = append(kinds, e.Kind+" "+e.Text+e.Error)
		}
	}
	if text := strings.Join(kinds, "\n"); !strings.HasPrefix(text, "up lab\n") || !strings.Contains(text, "\naction restart a\n") {
		t.Errorf("events are\n%s", text)
	}
}

// TestEventFails: an event that cannot be makes the lab fail.
func TestEventFails(t *testing.T) {
	var out buffer
	n := bring(t, trio+`
events:
  - {at: 0s, do: "stop b ping"}
expect:
  - {from: a, ping: b, at: 50ms}
`, &out)
	const want = `lab.yaml:10: stop b ping: nothing called "ping" runs on b`
	if _, err := n.Expect(t.Context()); err == nil || err.Error() != want {
		t.Errorf("error is %v", err)
	}
}

// TestActions does to a lab what can be done to it.
func TestActions(t *testing.T) {
	var out buffer
	n := bring(t, trio, &out)
	for _, c := range []struct{ action, want string }{
		{"route add a 10.9.0.0/16 via 10.0.0.2", ""},
		{"route del a 10.9.0.0/16", ""},
		{"route del a 10.9.0.0/16", "a has no route to 10.9.0.0/16"},
		{"sysctl a net.ipv4.ip_default_ttl=9", ""},
		{"sysctl a net.ipv4.ip_default_ttl=never", "net.ipv4.ip_default_ttl=never: invalid argument"},
		{"impair a->lan delay 5ms", ""},
		{"impair b:eth0 none", ""},
		{"impair lan:p2 loss 1%", ""},
		{"crash a", ""},
		{"impair a:eth0 delay 20ms", ""},
		{"crash a", "node a has crashed; restart it"},
		{"start a echo", "node a has crashed; restart it"},
		{"restart a", ""},
		{"restart a", ""},
	} {
		a, err := n.spec.ParseAction(c.action)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Do(t.Context(), a); (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%s: %v, want %q", c.action, err, c.want)
		}
	}
	begin := time.Now()
	if err := n.Exec(t.Context(), Exec{Node: "a", Args: []string{"ping", "-c", "1", "c"}, Stdout: &out, Stderr: &out}); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if took := time.Since(begin); took < 40*time.Millisecond {
		t.Errorf("a ping took %v; the impairment went with the crash", took)
	}
}

// TestExec runs programs on a node.
func TestExec(t *testing.T) {
	var out buffer
	n := bring(t, trio, &out)
	for _, c := range []struct {
		args   string
		status int
		want   string
	}{
		{"ping -c 1 b", 0, "64 bytes from 10.0.0.2"},
		{"ping", 2, "ping: one address is wanted, there are 0\nusage: ping [-c"},
		{"ping -c 1 -W 0.05 10.0.0.9", 1, "ping: no answer from 10.0.0.9"},
		{"no-such", -1, ""},
	} {
		var b buffer
		err := n.Exec(t.Context(), Exec{Node: "a", Args: strings.Fields(c.args), Stdout: &b, Stderr: &b})
		if got := ExitStatus(err); got != c.status || !strings.Contains(b.String(), c.want) {
			t.Errorf("%s: status %d, %v, printed %q", c.args, got, err, b.String())
		}
	}
	err := n.Exec(t.Context(), Exec{Node: "d", Args: []string{"ping"}, Stdout: &out, Stderr: &out})
	if err == nil || err.Error() != `there is no node "d"; did you mean "a"?` {
		t.Errorf("on no node: %v", err)
	}
}

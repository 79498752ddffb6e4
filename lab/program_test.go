package lab

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/run"
)

// TestHostPrograms: real programs on hosts reach other hosts by name.
func TestHostPrograms(t *testing.T) {
	if err := run.Probe(); err != nil {
		t.Skipf("programs cannot be run on hosts: %v", err)
	}
	testenv.NeedsTool(t, "curl", "sh")
	s, err := Parse("lab.yaml", []byte(`
nodes:
  a: {addresses: {eth0: 10.0.0.1/24}, run: ["curl -sS -o /dev/null -w 'status %{http_code} from %{remote_ip} at %{local_ip}' http://b/", "sh -c 'exit 3'"]}
  b: {addresses: {eth0: 10.0.0.2/24}, serve: [http .]}
links:
  - {endpoints: ["a:eth0", "b:eth0"], impair: delay 2ms}
`))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out buffer
	n, err := Up(ctx, s, Options{Output: &out})
	if err != nil {
		t.Fatal(err)
	}
	err = n.Run(ctx)
	var exit *run.ExitError
	if !errors.As(err, &exit) || exit.Code != 3 {
		t.Errorf("run: %v", err)
	}
	if err := n.Close(ctx); err != nil {
		t.Error(err)
	}
	if want := "status 200 from 10.0.0.2 at 10.0.0.1"; !strings.Contains(out.String(), want) {
		t.Errorf("%q is not in\n%s", want, out.String())
	}
}

// TestHostProgramEnds: a program that goes on is ended with the lab.
func TestHostProgramEnds(t *testing.T) {
	if err := run.Probe(); err != nil {
		t.Skipf("programs cannot be run on hosts: %v", err)
	}
	s, err := Parse("lab.yaml", []byte(`
nodes:
  a: {addresses: {eth0: 10.0.0.1/24}, run: ["sleep 1000", "/bin/sleep 1000"]}
  b: {addresses: {eth0: 10.0.0.2/24}, run: ["/bin/sleep 1000"]}
links:
  - {endpoints: ["a:eth0", "b:eth0"]}
`))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	n, err := Up(context.Background(), s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := n.Run(ctx); err == nil {
		t.Error("it ended well")
	}
	if took := time.Since(begin); took > graceMax {
		t.Errorf("the end took %v: a signal was not enough", took)
	}
	if err := n.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

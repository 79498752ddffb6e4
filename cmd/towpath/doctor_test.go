package main

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/towpath/towpath/lab/machine"
)

func TestDiagnose(t *testing.T) {
	all := []machine.Check{{Name: "user namespaces", OK: true, Detail: "made"}, {Name: "tap devices", Detail: "open /dev/net/tun: permission denied"},
		{Name: "veth and packet sockets", OK: true, Detail: "made"}, {Name: "mounts", OK: true}, {Name: "own /proc", OK: true}}
	only := func(name string) (string, error) {
		if name == "curl" {
			return "/usr/bin/curl", nil
		}
		return "", exec.ErrNotFound
	}
	d := diagnose(all, nil, only)
	var b bytes.Buffer
	d.print(&b)
	for _, want := range []string{
		"ok       user namespaces          made\n",
		"missing  tap devices              open /dev/net/tun: permission denied; to do: nothing, if veth pairs work; else chmod 666 /dev/net/tun, or modprobe tun\n",
		"ok       curl                     /usr/bin/curl\n",
		"missing  tcpdump                  not in PATH; it reads captures; to do: on Debian: apt-get install tcpdump\n",
		"labs with machines can run\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	d = diagnose([]machine.Check{{Name: "user namespaces", Detail: "switched off"}}, errors.New("no"), only)
	if d.Machines || d.Why != "user namespaces: switched off" || d.Findings[0].Do == "" {
		t.Errorf("diagnosis is %+v", d)
	}
	for _, f := range d.Findings {
		if !f.OK && f.Do == "" {
			t.Errorf("%s: nothing to do", f.Name)
		}
	}
}

// TestRemedies: there is one for each of package machine's checks.
func TestRemedies(t *testing.T) {
	for _, c := range machine.Probe() {
		if remedies[c.Name] == "" {
			t.Errorf("no remedy for %q", c.Name)
		}
	}
}

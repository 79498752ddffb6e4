//go:build linux && (amd64 || arm64)

package unotify

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	Init()
	os.Exit(m.Run())
}

// needsNotify skips the test where programs cannot be started.
func needsNotify(t *testing.T) {
	t.Helper()
	if err := Probe(); err != nil {
		t.Skipf("needs seccomp notifications: %v", err)
	}
}

// serve answers all notifications with f.
func serve(p *Process, f func(n *Notification)) {
	var n Notification
	for p.Listener.Recv(&n) == nil {
		f(&n)
	}
}

func TestContinue(t *testing.T) {
	needsNotify(t)
	var out bytes.Buffer
	p, err := Start(Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", "echo hello; exit 7"}, Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	go serve(p, func(n *Notification) { p.Listener.Continue(n.ID) })
	status, err := p.Wait()
	if err != nil || !status.Exited() || status.ExitStatus() != 7 || out.String() != "hello\n" {
		t.Fatalf("status %#x, error %v, output %q", uint32(status), err, out.String())
	}
}

// TestReturnFD: socket returns the lowest free descriptor, never 0, however
// often it is called.
func TestReturnFD(t *testing.T) {
	needsNotify(t)
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skipf("needs the program python3: %v", err)
	}
	var out, errs bytes.Buffer
	p, err := Start(Cmd{Path: python, Args: []string{"python3", "-c", `
import socket
fds = set()
for i in range(2000):
    s = socket.socket()
    fds.add(s.fileno())
    s.close()
print(len(fds), min(fds) > 2)`}, Stdout: &out, Stderr: &errs})
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve(p, func(n *Notification) {
			if n.Nr != unix.SYS_SOCKET {
				p.Listener.Continue(n.ID)
				return
			}
			made++
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err == nil {
				p.Listener.ReturnFD(n.ID, fd, true)
				unix.Close(fd)
			}
		})
	}()
	p.Wait()
	<-done
	if out.String() != "1 True\n" || made < 2000 {
		t.Fatalf("%d sockets made, output %q %s", made, out.String(), errs.String())
	}
}

// TestTree: what a program leaves behind is killed with it, or with us.
func TestTree(t *testing.T) {
	needsNotify(t)
	for _, kill := range []bool{false, true} {
		script := "setsid sleep 1000 & echo $!"
		if kill {
			script += "; sleep 1000"
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		p, err := Start(Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Stdout: w})
		w.Close()
		if err != nil {
			t.Fatal(err)
		}
		go serve(p, func(n *Notification) { p.Listener.Continue(n.ID) })
		line, err := readLine(r)
		if err != nil {
			t.Fatal(err)
		}
		if kill {
			p.Kill()
		}
		if status, err := p.Wait(); err != nil || kill != status.Signaled() {
			t.Fatalf("status %#x, error %v", uint32(status), err)
		}
		if _, err := os.Stat("/proc/" + line); err == nil {
			t.Errorf("kill %v: process %s lives on", kill, line)
		}
		r.Close()
	}
}

// TestListenerGone: without a listener calls fail, and nobody hangs.
func TestListenerGone(t *testing.T) {
	needsNotify(t)
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skipf("needs the program python3: %v", err)
	}
	var out bytes.Buffer
	p, err := Start(Cmd{Path: python, Args: []string{"python3", "-c", `
import socket
try: socket.socket()
except OSError as e: print(e.errno)`}, Stdout: &out, Stderr: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() {
		serve(p, func(n *Notification) {
			if n.Nr == unix.SYS_SOCKET && n.Args[0] == unix.AF_INET {
				p.Listener.Stop()
				return
			}
			p.Listener.Continue(n.ID)
		})
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-time.After(20 * time.Second):
		t.Fatal("the program did not ask for a socket")
	}
	p.Listener.Close()
	p.Wait()
	if got := strings.TrimSpace(out.String()); got != "38" { // ENOSYS
		t.Fatalf("output %q", got)
	}
}

func TestNotFound(t *testing.T) {
	needsNotify(t)
	var errs bytes.Buffer
	p, err := Start(Cmd{Path: "/nonexistent/program", Args: []string{"program"}, Stderr: &errs})
	if err != nil {
		t.Fatal(err)
	}
	status, _ := p.Wait()
	p.Listener.Close()
	if status.ExitStatus() != 126 || !strings.Contains(errs.String(), "/nonexistent/program") {
		t.Fatalf("status %#x, %q", uint32(status), errs.String())
	}
}

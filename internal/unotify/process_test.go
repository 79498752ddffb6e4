//go:build linux && (amd64 || arm64)

package unotify

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// denied makes the test binary say what Probe finds where a system call, by its
// number, fails with an error, by its own.
const denied = "TOWPATH_TEST_DENIED"

func TestMain(m *testing.M) {
	Init()
	if what := os.Getenv(denied); what != "" {
		var nr, e uint32
		fmt.Sscan(what, &nr, &e)
		os.Unsetenv(denied)
		if err := deny(nr, e); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(Probe())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// deny makes a system call fail in this process and its children.
func deny(nr, e uint32) error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	code := []unix.SockFilter{
		load(offNr), jump(unix.BPF_JEQ, nr, 0, 1), ret(unix.SECCOMP_RET_ERRNO | e), ret(retAllow),
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog))); e != 0 {
		return e
	}
	return nil
}

// TestRefusals: what a system does not allow is said in one line.
func TestRefusals(t *testing.T) {
	needsNotify(t)
	for _, c := range []struct {
		nr   uint32
		e    unix.Errno
		want string
	}{
		{unix.SYS_SECCOMP, unix.EPERM, "this system forbids seccomp filters; in a container, run it with --security-opt seccomp=unconfined"},
		{unix.SYS_SECCOMP, unix.EINVAL, "this kernel has no seccomp notifications; Linux 5.14 with CONFIG_SECCOMP_FILTER is needed"},
		{unix.SYS_SECCOMP, unix.EBUSY, "another process answers this one's system calls already: towpath run does not work inside towpath run, nor in containers whose runtime listens"},
		{unix.SYS_PIDFD_GETFD, unix.ENOSYS, "this kernel has no pidfd_getfd; Linux 5.14 is needed"},
		{unix.SYS_PIDFD_GETFD, unix.EPERM, "this system forbids to look into one's own processes (pidfd_getfd); in a container, run it with --cap-add SYS_PTRACE"},
	} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", denied, c.nr, c.e))
		out, err := cmd.CombinedOutput()
		got := strings.TrimSuffix(string(out), "\n")
		if scope, _ := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); c.nr == unix.SYS_PIDFD_GETFD && c.e == unix.EPERM && string(scope) > "1\n" {
			continue // that is said instead
		}
		if err != nil || got != c.want {
			t.Errorf("system call %d fails with %v: %q, want %q (%v)", c.nr, c.e, got, c.want, err)
		}
	}
}

func TestTooOld(t *testing.T) {
	for release, want := range map[string]bool{
		"5.13.0": true, "4.19.0-27-amd64": true, "5.14.0-70.el9": false, "6.1.0": false, "10.0": false, "odd": false,
	} {
		if got := tooOld(release); got != want {
			t.Errorf("tooOld(%q) = %v", release, got)
		}
	}
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

//go:build amd64 || arm64

package run

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/internal/unotify"
)

// Init must be the first thing that main, or TestMain, calls. It does not return
// in the processes that Start makes, and does nothing in others.
func Init() { unotify.Init() }

// Probe finds out whether programs can be run on hosts here. Its error is one
// line that says what is missing and what to do.
var Probe = sync.OnceValue(unotify.Probe)

// A Process is a program that runs on a host, with all that it starts.
type Process struct {
	p      *unotify.Process
	done   chan struct{} // closed when status and err are set
	status syscall.WaitStatus
	err    error
}

// Start starts a program whose sockets are h's. Whoever starts a program waits
// for it, before the host is closed.
func Start(h *host.Host, c Cmd) (*Process, error) {
	if len(c.Args) == 0 || c.Args[0] == "" {
		return nil, errors.New("no program given")
	}
	path, err := lookPath(c.Args[0], c.Dir)
	if err != nil {
		return nil, err
	}
	if err := refuse(path); err != nil {
		return nil, err
	}
	p, err := unotify.Start(unotify.Cmd{
		Path: path, Args: c.Args, Env: c.Env, Dir: c.Dir,
		Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr, OwnGroup: c.OwnGroup,
	})
	if err != nil {
		return nil, err
	}
	r := &Process{p: p, done: make(chan struct{})}
	s := newServer(h, p.Listener, c.Warn)
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.serve()
	}()
	go func() {
		defer close(r.done)
		r.status, r.err = p.Wait()
		p.Listener.Stop()
		<-served
		s.end()
		p.Listener.Close()
	}()
	return r, nil
}

// lookPath finds a program as a shell in the directory dir would.
func lookPath(name, dir string) (string, error) {
	if !strings.Contains(name, "/") {
		return exec.LookPath(name)
	}
	path := name
	if !filepath.IsAbs(path) && dir != "" {
		path = filepath.Join(dir, path)
	}
	fi, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if fi.IsDir() || fi.Mode()&0o111 == 0 {
		return "", &os.PathError{Op: "exec", Path: name, Err: syscall.EACCES}
	}
	return filepath.Abs(path)
}

// Wait waits until the program has ended, everything that it had started too,
// and what they had written to their sockets is the host's. It returns nil if
// the exit status was 0, else an [*ExitError]. It may be called more than once.
func (p *Process) Wait() error {
	<-p.done
	switch {
	case p.err != nil:
		return p.err
	case p.status.Signaled():
		return &ExitError{Code: -1, Signal: p.status.Signal()}
	case p.status.ExitStatus() != 0:
		return &ExitError{Code: p.status.ExitStatus()}
	}
	return nil
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal to the program, and to its group if that is its own.
func (p *Process) Signal(sig syscall.Signal) error { return p.p.Signal(sig) }

// Kill kills the program and all that it has started. It may be called at any
// time.
func (p *Process) Kill() { p.p.Kill() }

package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

// Process is a program running on a machine. It is the leader of a session and
// a process group of its own.
type Process struct {
	m   *Machine
	id  uint64
	pid int

	started  chan struct{} // closed when it runs or startErr is set
	startErr error

	exited chan struct{} // closed when status is set
	status syscall.WaitStatus

	ctx    context.Context
	unhook func() bool    // from ctx
	copies sync.WaitGroup // copying of output
}

// Exec starts a program. When ctx ends, the program and its process group are
// killed. Whoever starts a program waits for it.
func (m *Machine) Exec(ctx context.Context, c Cmd) (*Process, error) {
	p, err := m.exec(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", m.name, err)
	}
	return p, nil
}

func (m *Machine) exec(ctx context.Context, c Cmd) (*Process, error) {
	if len(c.Args) == 0 || c.Args[0] == "" {
		return nil, errors.New("no program given")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.Env == nil {
		c.Env = os.Environ()
	}
	if c.Dir == "" {
		dir, err := os.Getwd()
		if err != nil {
			return nil, err
		}
		c.Dir = dir
	}
	var s stdio
	if err := s.open(&c); err != nil {
		s.fail()
		return nil, err
	}
	p := &Process{m: m, ctx: ctx, started: make(chan struct{}), exited: make(chan struct{})}
	if err := m.register(p); err != nil {
		s.fail()
		return nil, err
	}
	err := s.send(m.ctl, message{
		Kind: kindExec, ID: p.id, Args: c.Args, Env: c.Env, Dir: c.Dir, Terminal: c.Terminal,
	})
	if err != nil {
		m.forget(p)
		s.fail()
		return nil, fmt.Errorf("%s: %w", c.Args[0], err)
	}
	<-p.started
	if p.startErr != nil {
		s.fail()
		return nil, p.startErr
	}
	s.copy(&p.copies)
	p.unhook = context.AfterFunc(ctx, func() { p.Signal(os.Kill) })
	return p, nil
}

func (m *Machine) register(p *Process) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	m.lastID++
	p.id = m.lastID
	m.programs[p.id] = p
	return nil
}

func (m *Machine) forget(p *Process) {
	m.mu.Lock()
	delete(m.programs, p.id)
	m.mu.Unlock()
}

// exit records the end of the program.
func (p *Process) exit(s syscall.WaitStatus) {
	p.status = s
	close(p.exited)
}

// lose records the end of the machine.
func (p *Process) lose() {
	select {
	case <-p.started:
	default:
		p.startErr = ErrClosed
		close(p.started)
	}
	p.exit(syscall.WaitStatus(syscall.SIGKILL))
}

// PID is the program's process number on the machine.
func (p *Process) PID() int { return p.pid }

// Signal sends a signal to the program's process group, as a terminal does. It
// returns os.ErrProcessDone if the program has ended.
func (p *Process) Signal(sig os.Signal) error {
	s, ok := sig.(syscall.Signal)
	if !ok {
		return fmt.Errorf("machine %s: signal %v: not one of this system", p.m.name, sig)
	}
	select {
	case <-p.exited:
		return os.ErrProcessDone
	default:
	}
	if err := p.m.ctl.send(message{Kind: kindSignal, ID: p.id, Signal: int(s)}); err != nil {
		return fmt.Errorf("machine %s: signal: %w", p.m.name, err)
	}
	return nil
}

// Wait waits until the program has ended and its output has been copied, which
// children of it that live on with it delay. It returns nil if its exit status was 0, else the context's error if that ended
// the program, else an [*ExitError]. It may be called more than once.
func (p *Process) Wait() error {
	<-p.exited
	stopped := p.unhook()
	p.copies.Wait()
	switch {
	case p.status.Exited() && p.status.ExitStatus() == 0:
		return nil
	case !stopped && p.ctx.Err() != nil && p.status.Signaled():
		return p.ctx.Err()
	case p.status.Signaled():
		return &ExitError{Code: -1, Signal: p.status.Signal()}
	}
	return &ExitError{Code: p.status.ExitStatus()}
}

// Done is closed when the program has ended; its output may still be on the
// way.
func (p *Process) Done() <-chan struct{} { return p.exited }

// stdio is a program's three files and what is to be copied from and to them.
type stdio struct {
	files [3]*os.File // for the program
	close []*os.File  // of files, those we opened
	pipes []*os.File  // our ends
	start []func()    // copies of output
	feed  func()      // copy of input
}

func (s *stdio) open(c *Cmd) (err error) {
	if s.files[0], err = s.input(c.Stdin); err != nil {
		return err
	}
	if s.files[1], err = s.output(c.Stdout); err != nil {
		return err
	}
	if c.Stderr != nil && same(c.Stdout, c.Stderr) {
		s.files[2] = s.files[1]
		return nil
	}
	s.files[2], err = s.output(c.Stderr)
	return err
}

// same compares two writers, whose type may not be comparable.
func same(a, b io.Writer) bool {
	defer func() { _ = recover() }()
	return a == b
}

func (s *stdio) input(r io.Reader) (*os.File, error) {
	switch r := r.(type) {
	case nil:
		return s.null(os.O_RDONLY)
	case *os.File:
		return r, nil
	}
	pr, pw, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.close, s.pipes = append(s.close, pr), append(s.pipes, pw)
	s.feed = func() {
		io.Copy(pw, r) // EPIPE: the program has ended
		pw.Close()
	}
	return pr, nil
}

func (s *stdio) output(w io.Writer) (*os.File, error) {
	switch w := w.(type) {
	case nil:
		return s.null(os.O_WRONLY)
	case *os.File:
		return w, nil
	}
	pr, pw, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.close, s.pipes = append(s.close, pw), append(s.pipes, pr)
	s.start = append(s.start, func() {
		if _, err := io.Copy(w, pr); err != nil {
			io.Copy(io.Discard, pr) // do not block the program
		}
		pr.Close()
	})
	return pw, nil
}

func (s *stdio) null(mode int) (*os.File, error) {
	f, err := os.OpenFile(os.DevNull, mode, 0)
	if err == nil {
		s.close = append(s.close, f)
	}
	return f, err
}

// send sends the message with the files and closes our copies of these.
func (s *stdio) send(ctl *control, m message) error {
	var fds [3]int
	for i, f := range s.files {
		conn, err := f.SyscallConn()
		if err != nil {
			return err
		}
		err = conn.Control(func(fd uintptr) {
			fds[i] = int(fd)
			syscall.SetNonblock(fds[i], false) // as programs expect
		})
		if err != nil {
			return err
		}
	}
	err := ctl.send(m, fds[:]...)
	closeFiles(s.close)
	s.close = nil
	return err
}

// copy starts copying. Nobody waits for the input, whose reader may never
// return.
func (s *stdio) copy(wg *sync.WaitGroup) {
	for _, f := range s.start {
		wg.Go(f)
	}
	if s.feed != nil {
		go s.feed()
	}
}

// fail closes everything.
func (s *stdio) fail() {
	closeFiles(s.close)
	closeFiles(s.pipes)
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

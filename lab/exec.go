package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/lab/machine"
	"github.com/towpath/towpath/run"
	"github.com/towpath/towpath/tool"
)

// ErrClosed is returned once a lab is being taken down.
var ErrClosed = errors.New("the lab is being taken down")

// An Exec is a program to be run on a node.
type Exec struct {
	Node string
	// Args are the program and its arguments. On a host that is a tool built in
	// here, or a real program whose sockets are the host's; on a machine always
	// a real one.
	Args []string
	Dir  string // where it is started; empty: the lab file's directory
	// Stdin is what it reads; nil: nothing. It is closed, if it can be, when a
	// real program has ended, for somebody may still be reading it.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Exec runs a program on a node until it ends or ctx does. The error is nil if
// it ended well; see [ExitStatus].
func (n *Net) Exec(ctx context.Context, e Exec) error {
	node := n.spec.Node(e.Node)
	switch {
	case node == nil:
		return fmt.Errorf("there is no node %q; %s", e.Node, suggest(e.Node, n.spec.nodeNames()))
	case len(e.Args) == 0 || e.Args[0] == "":
		return errors.New("there is no program to be run")
	case e.Stdout == nil || e.Stderr == nil:
		return errors.New("lab: Exec needs Stdout and Stderr")
	}
	if !n.enter() {
		return ErrClosed
	}
	defer n.programs.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.stop, cancel)()
	if e.Dir == "" {
		e.Dir = n.spec.Dir
	}
	text := strings.Join(e.Args, " ")
	n.note(KindCommand, e.Node, "$ "+text, nil)
	err := n.execOn(ctx, node, &e)
	n.note(KindCommand, e.Node, text, err)
	return err
}

// enter makes Close wait for a program; it is false if the lab is being taken
// down.
func (n *Net) enter() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.programs.Add(1)
	return true
}

func (n *Net) execOn(ctx context.Context, node *Node, e *Exec) error {
	if node.Kind == Machine {
		return n.execMachine(ctx, n.machines[node.Name], e)
	}
	h := n.Host(node.Name)
	if h == nil {
		return fmt.Errorf("node %s has crashed; restart it", node.Name)
	}
	for _, x := range tools {
		if x.Name != e.Args[0] {
			continue
		}
		r, err := x.Parse(e.Args[1:])
		if forOriginal(x.Name, err) {
			break
		}
		if err != nil {
			fmt.Fprintf(e.Stderr, "%s: %v\nusage: %s\n", x.Name, err, x.Usage)
			return tool.ExitStatus(2)
		}
		err = r(ctx, &tool.Env{Host: h, Dir: e.Dir, Stdin: e.Stdin, Stdout: e.Stdout, Stderr: e.Stderr})
		var told tool.ExitStatus
		if err != nil && ctx.Err() == nil && !errors.As(err, &told) {
			fmt.Fprintf(e.Stderr, "%s: %v\n", x.Name, err)
			return tool.ExitStatus(1)
		}
		return err
	}
	return n.execHost(ctx, h, e)
}

// execHost runs a real program on a host.
func (n *Net) execHost(ctx context.Context, h *host.Host, e *Exec) error {
	if !strings.Contains(e.Args[0], "/") {
		if _, err := exec.LookPath(e.Args[0]); err != nil {
			var known []string
			for _, x := range tools {
				known = append(known, x.Name)
			}
			return fmt.Errorf("a host has no tool %q, and there is no such program; %s", e.Args[0], suggest(e.Args[0], known))
		}
	}
	if err := run.Probe(); err != nil {
		return fmt.Errorf("%s is a program, and this system lets none run on a host: %w", e.Args[0], err)
	}
	p, err := run.Start(h, run.Cmd{
		Args: e.Args, Dir: e.Dir, Env: environment(), Stdin: e.Stdin, Stdout: e.Stdout, Stderr: e.Stderr, OwnGroup: true,
	})
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Signal(syscall.SIGTERM)
		t := time.AfterFunc(graceMax, p.Kill)
		<-p.Done()
		t.Stop()
	}
	e.closeStdin()
	return p.Wait()
}

// closeStdin ends the wait for input that nobody will read.
func (e *Exec) closeStdin() {
	if c, ok := e.Stdin.(io.Closer); ok {
		c.Close()
	}
}

// execMachine runs a program on a machine.
func (n *Net) execMachine(ctx context.Context, m *machine.Machine, e *Exec) error {
	free, cancel := context.WithCancel(context.Background())
	defer cancel()
	p, err := m.Exec(free, machine.Cmd{
		Args: e.Args, Dir: e.Dir, Env: environment(), Stdin: e.Stdin, Stdout: e.Stdout, Stderr: e.Stderr,
	})
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		(&program{Process: p, free: cancel}).end()
	}
	e.closeStdin()
	return p.Wait()
}

// ExitStatus is the status that a program run by [Net.Exec] has exited with, as
// shells tell it: 128 and the signal's number if one ended it. It is -1 if err
// does not tell the end of a program.
func ExitStatus(err error) int {
	var told tool.ExitStatus
	var onHost *run.ExitError
	var onMachine *machine.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &told):
		return int(told)
	case errors.As(err, &onHost):
		return shellStatus(onHost.Code, onHost.Signal)
	case errors.As(err, &onMachine):
		return shellStatus(onMachine.Code, onMachine.Signal)
	}
	return -1
}

func shellStatus(code int, sig syscall.Signal) int {
	if code < 0 {
		return 128 + int(sig)
	}
	return code
}

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/towpath/towpath/lab/machine"
	"github.com/towpath/towpath/service"
	"github.com/towpath/towpath/tool"
)

const (
	readyPoll = 20 * time.Millisecond  // between looks at its port
	graceMax  = 2 * time.Second        // between SIGTERM and SIGKILL
	flushMax  = 500 * time.Millisecond // for the last output of a program that has ended
)

// readyMax is how long a service may take to be ready.
var readyMax = 10 * time.Second

// A Result is how a command of a run list has ended.
type Result struct {
	Node    string
	Command string
	Took    time.Duration
	Err     error // nil: well
}

// Run runs the programs of all nodes' run lists, nodes side by side and each
// list in its order, and returns when they have ended. A command that fails
// ends its node's list. Without any run list Run waits for ctx. When ctx ends,
// or a service has ended by itself, the programs are told to end too.
//
// The error is nil if every command ended well. It is called once.
func (n *Net) Run(ctx context.Context) error {
	stop, cancel := context.WithCancelCause(n.stop)
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
	done := make(chan struct{})
	n.programs.Go(func() {
		defer close(done)
		var lists sync.WaitGroup
		some := false
		for _, node := range n.spec.Nodes {
			if len(node.Run) > 0 {
				some = true
				lists.Go(func() { n.runList(stop, node) })
			}
		}
		lists.Wait()
		if !some {
			<-stop.Done()
		}
	})
	select {
	case <-done:
	case err := <-n.failed:
		cancel(err)
		<-done
	}
	if err := context.Cause(stop); err != nil {
		return err
	}
	return errors.Join(n.failures(), n.mishap())
}

// mishap joins what went wrong with events since it was asked last.
func (n *Net) mishap() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := errors.Join(n.mishaps...)
	n.mishaps = nil
	return err
}

// failures joins what went wrong in the run lists.
func (n *Net) failures() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var errs []error
	for _, r := range n.results {
		if r.Err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", r.Node, r.Command, r.Err))
		}
	}
	return errors.Join(errs...)
}

func (n *Net) runList(ctx context.Context, node *Node) {
	for i := range node.Run {
		c := &node.Run[i]
		n.output.printf(node.Name, "$ %s", c.Text)
		begin := time.Now()
		err := n.run(ctx, node, c)
		n.note(KindCommand, node.Name, c.Text, err)
		n.mu.Lock()
		n.results = append(n.results, Result{node.Name, c.Text, time.Since(begin), err})
		n.mu.Unlock()
		if err != nil {
			if ctx.Err() == nil {
				n.output.printf(node.Name, "failed: %v", err)
			}
			return
		}
	}
}

// run runs one command.
func (n *Net) run(ctx context.Context, node *Node, c *Command) error {
	out := n.output.command(node.Name, c)
	defer out.Close()
	if node.Kind == Host {
		h := n.Host(node.Name)
		switch {
		case h == nil:
			return errCrashed(node)
		case c.tool != nil:
			return c.tool(ctx, &tool.Env{Host: h, Dir: n.spec.Dir, Stdout: out, Stderr: out})
		}
		return n.execHost(ctx, h, &Exec{Args: c.Args, Dir: n.spec.Dir, Stdout: out, Stderr: out})
	}
	p, err := n.start(node, c, out)
	if err != nil {
		return err
	}
	defer p.free()
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.end()
	}
	return p.Wait()
}

// program is one that runs on a machine.
type program struct {
	*machine.Process
	free     context.CancelFunc
	finished chan struct{} // closed when a service has ended and its output is here
}

func (n *Net) start(node *Node, c *Command, out *lines) (*program, error) {
	ctx, cancel := context.WithCancel(context.Background())
	p, err := n.machines[node.Name].Exec(ctx, machine.Cmd{
		Args: c.Args, Dir: n.spec.Dir, Env: environment(), Stdout: out, Stderr: out,
	})
	if err != nil {
		cancel()
		return nil, err
	}
	return &program{p, cancel, make(chan struct{})}, nil
}

// environment is this process's without the proxies that it is to use, for
// they are on another network, and with Python's output unbuffered, for it is
// to be seen.
func environment() []string {
	env := slices.DeleteFunc(os.Environ(), isProxy)
	if os.Getenv("PYTHONUNBUFFERED") == "" {
		env = append(env, "PYTHONUNBUFFERED=1")
	}
	return env
}

// isProxy reports whether an environment entry names a proxy.
func isProxy(entry string) bool {
	name, _, _ := strings.Cut(entry, "=")
	return strings.HasSuffix(strings.ToLower(name), "_proxy")
}

// end asks the program to end, and then makes it.
func (p *program) end() {
	p.Signal(syscall.SIGTERM)
	t := time.AfterFunc(graceMax, p.free)
	<-p.Done()
	t.Stop()
}

// serve starts a service and returns when it can be used.
func (n *Net) serve(ctx context.Context, node *Node, c *Command) error {
	out := n.output.command(node.Name, c)
	fail := func(err error) error {
		return fmt.Errorf("%s:%d: service %q on %s: %w", n.spec.File, c.Line, c.Text, node.Name, err)
	}
	if h := n.Host(node.Name); h != nil {
		s, err := c.start(&service.Env{Host: h, Log: out})
		if err != nil {
			return fail(err)
		}
		n.addTask(node, c.Args[0], s.Close)
		return nil
	}
	p, err := n.start(node, c, out)
	if err != nil {
		return fail(err)
	}
	stop, cancel := context.WithCancel(n.stop)
	done := n.addTask(node, c.Args[0], func() error { cancel(); <-p.finished; return nil })
	n.programs.Go(func() {
		defer cancel()
		defer done()
		defer out.Close()
		defer p.free()
		defer close(p.finished)
		select {
		case <-stop.Done():
			p.end()
			p.Wait()
		case <-p.Done():
			err := p.Wait()
			if err == nil {
				err = errors.New("it ended")
			}
			select {
			case n.failed <- fail(err):
			default: // another has failed already
			}
		}
	})
	if err := n.ready(ctx, n.machines[node.Name], c, p, out); err != nil {
		return fail(err)
	}
	return nil
}

// ready waits until a service can be used: a program of its machine listens on
// its port, and it has printed what it was to print.
func (n *Net) ready(ctx context.Context, m *machine.Machine, c *Command, p *program, out *lines) error {
	late := errors.New("")
	ctx, cancel := context.WithTimeoutCause(ctx, readyMax, late)
	defer cancel()
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	seen, port := out.seen, c.Port
	for seen != nil || port != 0 {
		if port != 0 {
			ok, err := listens(m.PID(), port)
			if err != nil {
				return err
			}
			if ok {
				port = 0
				continue
			}
		}
		select {
		case <-seen:
			seen = nil
		case <-tick.C:
		case <-p.Done():
			return p.ended(out)
		case <-ctx.Done():
			if context.Cause(ctx) != late {
				return context.Cause(ctx)
			}
			why := fmt.Sprintf("nothing listens on port %d", port)
			if port == 0 {
				why = fmt.Sprintf("it has not printed %q", c.Ready)
			}
			return fmt.Errorf("%s after %v; %s", why, readyMax, out.last())
		}
	}
	return nil
}

// ended is the error of a service that has ended before it was ready.
func (p *program) ended(out *lines) error {
	how := "it ended"
	select {
	case <-p.finished:
		if err := p.Wait(); err != nil {
			how += " (" + err.Error() + ")"
		}
	case <-time.After(flushMax): // children of it live on, with its output
	}
	return fmt.Errorf("%s before it was ready; %s", how, out.last())
}

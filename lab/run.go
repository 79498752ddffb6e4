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
	readyMax  = 20 * time.Second      // for a service to listen
	readyPoll = 20 * time.Millisecond // between looks at its port
	graceMax  = 2 * time.Second       // between SIGTERM and SIGKILL
)

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
	return n.failures()
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
	out := n.output.of(node.Name)
	defer out.Close()
	if h := n.hosts[node.Name]; h != nil {
		return c.tool(ctx, &tool.Env{Host: h, Stdout: out, Stderr: out})
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
	free context.CancelFunc
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
	return &program{p, cancel}, nil
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
	out := n.output.of(node.Name)
	fail := func(err error) error {
		return fmt.Errorf("%s:%d: service %q on %s: %w", n.spec.File, c.Line, c.Text, node.Name, err)
	}
	if h := n.hosts[node.Name]; h != nil {
		s, err := c.start(&service.Env{Host: h, Log: out})
		if err != nil {
			return fail(err)
		}
		n.services = append(n.services, s)
		return nil
	}
	p, err := n.start(node, c, out)
	if err != nil {
		return fail(err)
	}
	n.programs.Go(func() {
		defer out.Close()
		defer p.free()
		select {
		case <-n.stop.Done():
			p.end()
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
	if c.Port != 0 {
		if err := n.listening(ctx, n.machines[node.Name], c.Port, p); err != nil {
			return fail(err)
		}
	}
	return nil
}

// listening waits until some program of a machine listens on a TCP port.
func (n *Net) listening(ctx context.Context, m *machine.Machine, port int, p *program) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyMax, fmt.Errorf("nothing listens on port %d after %v; correct its port", port, readyMax))
	defer cancel()
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		if ok, err := listens(m.PID(), port); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-p.Done():
			return errors.New("it ended before it listened; see what it printed")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
